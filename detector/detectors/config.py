"""Every number of the detector in one place, with the thesis's value as its default.

``LightHeadRCNN`` takes these fields as keyword arguments and builds its parts from them; nothing
else in the model holds a number of its own. A checkpoint stores them, so that the same detector can
be built again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np

from detector.parts.anchors import THESIS_RATIOS, THESIS_SIZES
from nn.table import did_you_mean

# What the two settings of the thesis (section 3.2.3) stand for.
SETTINGS = {"S": {"separable_channels": 64}, "L": {"separable_channels": 256}}

CHOICES = {
    "thin_map_from": ("stage4", "conv5", "stage3", "fused"),
    "rpn_norm": ("none", "batch"),
    "thin_map_norm": ("none", "batch"),
    "init": ("gaussian", "he"),
    "rpn_outputs": (1, 2),
    "rpn_balance": ("anchor", "object"),
    "box_normalizer": ("sampled", "positive"),
    "pooling_mode": ("avg", "max"),
}


@dataclass(frozen=True)
class DetectorConfig:
    """All constructor options of ``LightHeadRCNN`` but the classes, the backbone and the setting.

    Image
        short_side, max_side: ``predict`` makes the shorter side so long, unless the longer one
            would exceed max_side. (``loss`` takes images as they are.)
        image_mean, image_std: of RGB values in 0..1; what the backbone was trained with.
    Thin feature map
        thin_map_from: "stage4" (stride 32, no atrous: the thesis), "conv5" (the backbone's last
            1x1 convolution, stride 32), "stage3" (stride 16), or "fused" (stage 3 plus stage 4
            brought to stride 16 by a 1x1 convolution and nearest-neighbour upsampling).
        separable_kernel, separable_channels: k and C_mid of the large separable convolution.
        thin_map_norm: normalisation before its ReLU.
    Anchors
        anchor_sizes, anchor_ratios: square roots of areas in pixels, and heights over widths.
        anchor_shapes: (width, height) pairs used instead, see ``detector.parts.anchor_fitting``.
    Region proposal network
        rpn_channels, rpn_norm: of its 3x3 convolution.
        rpn_outputs: of each anchor, 2 with a softmax (the papers) or 1 with a sigmoid.
        rpn_positive_iou, rpn_negative_iou, rpn_anchors_per_box, rpn_extra_iou, rpn_inside_only: see
            ``matching.AnchorMatcher``.
        rpn_samples, rpn_positive_fraction: see ``sampling.AnchorSampler``.
        rpn_balance: "anchor", or "object" to let each object weigh the same.
        rpn_prior: the objectness an untrained network gives every anchor; 0.5 is a bias of 0.
        rpn_beta: where its smooth L1 loss turns from quadratic to linear.
    Proposals
        pre_nms_train, post_nms_train, pre_nms_test, post_nms_test, proposal_nms, proposal_min_size:
            see ``proposals.ProposalSelector``.
    Head
        pooled_size, pooled_channels: p and C_out / p^2 of position-sensitive RoI align.
        pooling_mode, sampling_ratio: how it combines its sampling_ratio^2 samples of each bin. The
            official code takes their maximum.
        head_channels: of the fully connected layer.
        class_specific_boxes: False for the thesis's 4 box outputs, True for 4 for each class.
        box_stds: what typical box deltas measure.
        roi_foreground_iou, roi_background_iou, roi_samples, roi_foreground_fraction: see
            ``sampling.RoISampler``.
        hard_examples: how many RoIs per image online hard example mining keeps; None turns it off.
        head_beta: where its smooth L1 loss turns from quadratic to linear.
    Losses
        box_normalizer: box losses are divided by the number of "sampled" examples, background
            included, or of "positive" ones.
        rpn_objectness_weight, rpn_box_weight, head_class_weight, head_box_weight: what each loss is
            multiplied with. (The official code has 2 for the last.)
    Detections
        score_threshold, detection_nms, max_detections: see ``postprocess.DetectionSelector``.
    Initial weights
        init: of hidden layers, "gaussian" for N(0, 0.01^2) (the official code) or "he".
    """

    short_side: int = 800
    max_side: int = 1200
    image_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    image_std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    thin_map_from: str = "stage4"
    separable_kernel: int = 15
    separable_channels: int = 64
    thin_map_norm: str = "none"

    anchor_sizes: tuple[float, ...] = THESIS_SIZES
    anchor_ratios: tuple[float, ...] = THESIS_RATIOS
    anchor_shapes: tuple[tuple[float, float], ...] | None = None

    rpn_channels: int = 256
    rpn_norm: str = "none"
    rpn_outputs: int = 2
    rpn_positive_iou: float = 0.7
    rpn_negative_iou: float = 0.3
    rpn_anchors_per_box: int = 1
    rpn_extra_iou: float = 0.3
    rpn_inside_only: bool = True
    rpn_samples: int = 256
    rpn_positive_fraction: float = 0.5
    rpn_balance: str = "anchor"
    rpn_prior: float = 0.5
    rpn_beta: float = 1 / 9

    pre_nms_train: int = 12000
    post_nms_train: int = 2000
    pre_nms_test: int = 6000
    post_nms_test: int = 1000
    proposal_nms: float = 0.7
    proposal_min_size: float = 0.0

    pooled_size: int = 7
    pooled_channels: int = 10
    pooling_mode: str = "avg"
    sampling_ratio: int = 2
    head_channels: int = 2048
    class_specific_boxes: bool = False
    box_stds: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2)
    roi_foreground_iou: float = 0.5
    roi_background_iou: float = 0.0
    roi_samples: int = -1
    roi_foreground_fraction: float = 0.25
    hard_examples: int | None = 256
    head_beta: float = 1.0

    box_normalizer: str = "sampled"
    rpn_objectness_weight: float = 1.0
    rpn_box_weight: float = 1.0
    head_class_weight: float = 1.0
    head_box_weight: float = 1.0

    score_threshold: float = 0.0
    detection_nms: float = 0.5
    max_detections: int = 100

    init: str = "gaussian"

    def __post_init__(self):
        # Lists, which is what JSON makes of tuples, become tuples again.
        for field in fields(self):
            object.__setattr__(self, field.name, _as_tuple(getattr(self, field.name)))
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(str, known))}, not {value!r}"
                    f"{did_you_mean(str(value), map(str, known))}"
                )

    @classmethod
    def of(cls, setting: str = "S", **options) -> DetectorConfig:
        """The thesis's setting "S" or "L" with some fields changed.

        Raises:
            ValueError: there is no such setting or field; suggests the nearest.
        """
        if setting not in SETTINGS:
            raise ValueError(f"setting must be 'S' or 'L', not {setting!r}")
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                raise ValueError(f"the detector has no option {name!r}{did_you_mean(name, known)}")
        return cls(**{**SETTINGS[setting], **options})

    def as_dict(self) -> dict:
        """The fields by name, in plain Python types."""
        return asdict(self)


def _as_tuple(value):
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(_as_tuple(part) for part in value) if isinstance(value, list | tuple) else value
