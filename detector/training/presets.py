"""Named recipes: every number of a training run, with the reason for it.

``tiny`` is the demo, ``laptop`` trains on photographs in half an hour on two cores, ``thesis-s``
and ``thesis-l`` are the thesis's own settings. The command line's options change single numbers;
what a run really used stands in its ``config.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace

from detector.errors import UserError
from nn import optim
from nn.table import did_you_mean


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Network
        backbone: name of a network in ``nn.models``.
        setting: "S" or "L" of the thesis.
        model: options of ``DetectorConfig`` that differ from its defaults.
        fit_anchors: (sizes, ratios): that many anchor sizes and shapes fitted to the boxes of the
            training images; None for the anchors of ``model``.
        frozen_stages: how many parts of the backbone stay as loaded: 1 the stem, 2 also stage 2.
        frozen_batch_norm: whether the backbone's batch norm keeps to the statistics it was loaded
            with. Without loaded weights there is nothing to keep and both are ignored.
    Pictures
        short_sides: the shorter side of a training picture, one of these at random for each batch.
            The middle one is also used for detection.
        max_side: no picture is longer.
        horizontal_flip, vertical_flip: probability of mirroring a picture.
        colour_jitter: the most by which brightness, contrast and saturation change.
    Crops (before detection, and only without loaded weights)
        crop_iterations: so long the backbone learns to classify crops of the objects; 0 skips it.
        crop_size: pixels of a crop's side.
        crop_batch: crops an iteration.
        crop_lr: highest learning rate; it warms up and falls to 0 along a cosine.
    Steps
        batch: pictures a step.
        epochs: how often every picture is seen.
        least_iterations: a small set is seen more often, until there are about so many iterations.
        lr_per_image: learning rate of a step = this * batch (Goyal et al. 2017: linear scaling).
        momentum, weight_decay: of MomentumSGD; biases and batch norm do not decay.
        backbone_lr_scale: the loaded backbone learns at this part of the rate.
        warmup: iterations from a third of the rate to all of it, at most a quarter of the run.
        schedule: "cosine" to 0, or "steps".
        milestones: for "steps", the parts of the run after which the rate becomes a tenth.
        clip_norm: the joint length to which longer gradients are cut; None leaves them.
        evaluate_every: epochs between two validations.
    """

    backbone: str
    setting: str = "S"
    model: dict = field(default_factory=dict)
    fit_anchors: tuple[int, int] | None = None
    frozen_stages: int = 0
    frozen_batch_norm: bool = False

    short_sides: tuple[int, ...] = (800,)
    max_side: int = 1200
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    colour_jitter: float = 0.0

    crop_iterations: int = 0
    crop_size: int = 64
    crop_batch: int = 32
    crop_lr: float = 0.1

    batch: int = 2
    epochs: int = 30
    least_iterations: int = 0
    lr_per_image: float = 0.00125
    momentum: float = 0.9
    weight_decay: float = 1e-4
    backbone_lr_scale: float = 1.0
    warmup: int = 1000
    schedule: str = "steps"
    milestones: tuple[float, ...] = ()
    clip_norm: float | None = None
    evaluate_every: int = 1

    def __post_init__(self):
        for name in ("short_sides", "milestones", "fit_anchors"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if self.schedule not in ("cosine", "steps"):
            raise ValueError(f"schedule must be 'cosine' or 'steps', not {self.schedule!r}")
        for name in ("batch", "epochs", "lr_per_image", "evaluate_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0, not {getattr(self, name)}")
        if self.crop_iterations < 0:
            raise ValueError(f"crop_iterations must be 0 or more, not {self.crop_iterations}")

    @property
    def lr(self) -> float:
        """The highest learning rate of the run."""
        return self.lr_per_image * self.batch

    @property
    def short_side(self) -> int:
        """The shorter side of a picture in detection."""
        return sorted(self.short_sides)[len(self.short_sides) // 2]

    def fitted(self, batches_per_epoch: int) -> Recipe:
        """A copy for a set of this size: more epochs if ``least_iterations`` asks for them.

        Validations become as much rarer, so that there are as many of them.
        """
        times = max(1, round(self.least_iterations / (self.epochs * batches_per_epoch)))
        return replace(self, epochs=self.epochs * times, evaluate_every=self.evaluate_every * times)

    def learning_rates(self, iterations: int) -> Callable[[int], float]:
        """The function from the iteration (0, 1, ...) to the learning rate of a run this long."""
        warmup = optim.warmup(min(self.warmup, iterations // 4))
        if self.schedule == "cosine":
            decay = optim.cosine_decay(iterations)
        else:
            decay = optim.step_decay(round(part * iterations) for part in self.milestones)
        factor = optim.product(warmup, decay)
        return lambda iteration: self.lr * factor(iteration)

    def as_dict(self) -> dict:
        """The fields by name, as JSON keeps them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> Recipe:
        """What ``as_dict`` returned, also after a way through JSON.

        Raises:
            ValueError: a field is unknown: the run is of another version.
        """
        unknown = set(values) - {entry.name for entry in fields(cls)}
        if unknown:
            raise ValueError(f"unknown training options {', '.join(sorted(unknown))}")
        return cls(**values)

    def resized(self, short_side: int) -> Recipe:
        """A copy for pictures of another size: all sides change by the same factor."""
        if short_side < 32:
            raise ValueError(f"the short side must be at least 32 pixels, not {short_side}")
        factor = short_side / self.short_side
        return replace(
            self,
            short_sides=tuple(round(side * factor) for side in self.short_sides),
            max_side=round(self.max_side * factor),
        )

    def changed(self, **changes) -> Recipe:
        """A copy with other values; those given as None stay."""
        return replace(self, **{name: v for name, v in changes.items() if v is not None})


# What makes so small a network learn in minutes instead of days; docs/training-notes.md has each
# choice measured alone.
FAST_MODEL = {
    "init": "he",  # with batch norm no better than N(0, 0.01^2), without it much
    "rpn_outputs": 1,  # one logit and a sigmoid say what two and a softmax do
    "rpn_norm": "batch",  # batch norm, trained, lets the learning rate be ten times as high
    "thin_map_norm": "batch",
    "rpn_anchors_per_box": 9,  # small objects get more than the one anchor that fits best
    "rpn_inside_only": False,
    "pre_nms_train": 1000,
    "post_nms_train": 128,  # the head costs more than a million multiply-adds for each
    "pre_nms_test": 1000,
    "post_nms_test": 300,
    "roi_samples": 64,
    "roi_foreground_fraction": 0.33,
    "hard_examples": None,  # mining gains nothing here and runs the head twice
    "score_threshold": 0.01,
}

THESIS = Recipe(
    backbone="shufflenet_v2_x1_5",  # the thesis's 31.8 mmAP are those of 1.5x, 300 M multiply-adds
    setting="S",
    short_sides=(800,),
    max_side=1200,
    batch=2,  # images of one of its 8 GPUs
    epochs=30,
    lr_per_image=0.00125,  # 0.02 for 16 images
    weight_decay=1e-4,
    warmup=1000,
    schedule="steps",
    milestones=(19 / 30, 25 / 30),  # the official code's epochs 19 and 25 of 30
    frozen_stages=1,
    frozen_batch_norm=True,
    model={"head_box_weight": 2.0},
)

PRESETS = {
    "tiny": Recipe(
        backbone="shufflenet_v2_x0_5",
        model=FAST_MODEL
        | {
            "thin_map_from": "fused",  # a 5 x 5 map cannot tell apart shapes of 24 to 80 pixels
            "separable_kernel": 7,
            "head_channels": 1024,
            "post_nms_train": 48,
            "post_nms_test": 100,
            "roi_samples": 24,
        },
        fit_anchors=(5, 3),
        short_sides=(160,),
        max_side=320,
        vertical_flip=0.5,  # a shape upside down is a shape
        crop_iterations=1600,
        crop_size=48,
        crop_batch=32,
        crop_lr=0.1,
        batch=8,
        epochs=8,  # of 2,400 pictures: 2,400 iterations
        lr_per_image=0.1 / 8,
        warmup=50,
        schedule="cosine",
        clip_norm=10.0,
        evaluate_every=2,
    ),
    "laptop": Recipe(
        backbone="shufflenet_v2_x0_5",
        model=FAST_MODEL,
        fit_anchors=(5, 3),
        short_sides=(480,),
        max_side=800,
        batch=4,
        epochs=10,  # twice as many gain nothing on 205 pictures
        least_iterations=500,
        lr_per_image=0.05 / 4,
        warmup=100,
        schedule="cosine",
        clip_norm=10.0,
    ),
    "thesis-s": THESIS,
    "thesis-l": replace(THESIS, setting="L"),
}


def preset(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: there is none; suggests the nearest.
    """
    if name not in PRESETS:
        raise UserError(
            f"there is no preset {name!r}{did_you_mean(name, PRESETS)}: choose one of "
            f"{', '.join(PRESETS)}"
        )
    return PRESETS[name]
