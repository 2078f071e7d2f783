"""Named recipes: every number of a training run, with the reason for it.

``tiny`` is the demo, ``laptop`` trains on photographs in half an hour on two cores, ``thesis-s``
and ``thesis-l`` are the thesis's own settings; ``one_stage_presets`` has the other detectors'. The
command line's options change single numbers; what a run really used stands in its ``config.json``.
"""

from __future__ import annotations

from detector.datasets.crops import CropLessons
from detector.datasets.transforms import Augmentation
from detector.detectors.light_head_rcnn import MID_CHANNELS, LightHeadRCNNSettings
from detector.errors import UserError
from detector.heads.light_head import LightHeadSettings
from detector.heads.rpn import RPNSettings
from detector.necks.thin_map import ThinMapSettings
from detector.parts.matching import AnchorMatcher
from detector.parts.proposals import ProposalSelector
from detector.parts.sampling import RoISampler
from detector.parts.selection import DetectionSelector
from detector.training.one_stage_presets import CHANGES, one_stage
from detector.training.recipe import Recipe
from detector.training.steps import Steps
from detector.training.two_stage_presets import CHANGES as TWO_STAGE
from detector.training.two_stage_presets import two_stage
from nn.table import did_you_mean

# What makes so small a network learn in minutes instead of days; docs/training-notes.md has each
# choice measured alone.
FAST = LightHeadRCNNSettings(
    backbone="shufflenet_v2_x0_5",
    rpn=RPNSettings(
        init="he",  # with batch norm no better than N(0, 0.01^2), without it much
        outputs=1,  # one logit and a sigmoid say what two and a softmax do
        norm="batch",  # batch norm, trained, lets the learning rate be ten times as high
        # Small objects get more than the one anchor that fits best.
        matcher=AnchorMatcher(anchors_per_box=9, inside_only=False),
        # The head costs more than a million multiply-adds for each proposal.
        train_selector=ProposalSelector(pre_nms=1000, post_nms=128),
        test_selector=ProposalSelector(pre_nms=1000, post_nms=300),
    ),
    thin_map=ThinMapSettings(norm="batch", init="he"),
    head=LightHeadSettings(
        init="he",
        sampler=RoISampler(count=64, foreground_fraction=0.33),
        hard_examples=None,  # mining gains nothing here and runs the head twice
        selector=DetectionSelector(score_threshold=0.01),
    ),
)

THESIS = Recipe(
    model=LightHeadRCNNSettings(
        backbone="shufflenet_v2_x1_5",  # the thesis's 31.8 mmAP: 1.5x, 300 M multiply-adds
        head=LightHeadSettings(box_weight=2.0),
    ),
    frozen_parts=1,
    frozen_batch_norm=True,
    steps=Steps(
        batch=2,  # images of one of its 8 GPUs
        epochs=30,
        lr_per_image=0.00125,  # 0.02 for 16 images
        weight_decay=1e-4,
        warmup=1000,
        schedule="steps",
        milestones=(19 / 30, 25 / 30),  # the official code's epochs 19 and 25 of 30
    ),
)

TINY = FAST.updated(
    {
        # Drawn at 160 pixels and seen at 224: what tells apart shapes of 24 pixels gets more cells.
        "image": {"short_side": 224, "max_side": 448},
        "rpn": {
            "source": "fused",  # what sees a large shape whole proposes it better
            "train_selector": {"post_nms": 48},
            "test_selector": {"post_nms": 100},
        },
        # A map at stride 32 cannot tell apart shapes of two or three cells.
        "thin_map": {"source": "fused", "kernel_size": 7},
        "head": {"hidden_channels": 1024, "sampler": {"count": 24}, "objectness_share": 0.5},
    }
)

PRESETS = {
    "tiny": Recipe(
        model=TINY,
        fit_anchors=(5, 3),
        # A shape upside down is a shape.
        augmentation=Augmentation(vertical_flip=0.5, zoom=(0.75, 1.33)),
        crops=CropLessons(iterations=1600, size=48, batch=32, lr=0.1),
        steps=Steps(
            batch=8,
            epochs=5,  # of 2,400 pictures: 1,500 iterations
            lr_per_image=0.1 / 8,
            warmup=50,
            schedule="cosine",
            clip_norm=10.0,
            evaluate_every=3,
        ),
    ),
    "laptop": Recipe(
        model=FAST.updated(
            {
                "image": {"short_side": 480, "max_side": 800},
                "thin_map": {"source": "fused", "kernel_size": 7},
                # What sees a large object whole proposes it better.
                "rpn": {"source": "fused"},
                "head": {"objectness_share": 0.5},
            }
        ),
        fit_anchors=(5, 3),
        fit_side=(256, 200.0),
        augmentation=Augmentation(colour_jitter=0.3, zoom=(0.6, 1.7)),
        steps=Steps(
            batch=4,
            epochs=10,
            least_iterations=1500,
            lr_per_image=0.05 / 4,
            backbone_lr_scale=0.1,  # what was loaded is better than what few pictures can teach
            warmup=100,
            schedule="cosine",
            clip_norm=10.0,
        ),
    ),
    "thesis-s": THESIS,
    "thesis-l": THESIS.changed("thin_map.mid_channels", MID_CHANNELS["L"]),
}
PRESETS |= one_stage(PRESETS["tiny"], PRESETS["laptop"])
PRESETS |= two_stage(PRESETS["tiny"], PRESETS["laptop"])

# Those for photographs: they start from ImageNet's weights if nothing else is said.
INITIAL_WEIGHTS = dict.fromkeys(("laptop", *CHANGES, *TWO_STAGE), "imagenet")
# What a preset changes when it starts from random weights instead.
FROM_RANDOM_WEIGHTS = dict.fromkeys(
    INITIAL_WEIGHTS,
    {
        "steps": {"backbone_lr_scale": 1.0},
        "crops": {"iterations": 1600, "size": 48, "batch": 32, "lr": 0.1},
    },
)


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
