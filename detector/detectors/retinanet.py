"""RetinaNet: a feature pyramid, two towers on each of its maps, and the focal loss.

What differs from ``ssd``: the neck is a feature pyramid, whose maps all have the same channels, so
that one head serves them all; and nothing is mined, the loss weighs.

Paper: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017. The defaults are its network
on ResNet-50: pyramid maps of strides 8 to 128, 9 anchors a cell; its heads have 6,463,220
parameters for 80 classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.detectors.backbones import backbone_of
from detector.detectors.detector import DetectorSettings
from detector.detectors.limits import check_pyramid_size
from detector.detectors.one_stage import OneStageDetector
from detector.heads.retina import RetinaHead, RetinaHeadSettings
from detector.necks.fpn import FPN, FPNSettings
from detector.parts.anchor_fitting import spread_anchors
from detector.parts.preprocess import ImageSettings


@dataclass(frozen=True)
class RetinaNetSettings(DetectorSettings):
    """
    Attributes:
        backbone: a name in ``nn.models.NETWORKS`` with maps of strides 8 to 32.
        image, neck, head: see the settings of the parts.
    """

    detector = "retinanet"
    anchors = "head.anchors"

    backbone: str = "resnet50"
    image: ImageSettings = ImageSettings()
    neck: FPNSettings = FPNSettings(finest=8, extra="convs")
    head: RetinaHeadSettings = RetinaHeadSettings()

    def fitted(self, widths_heights: np.ndarray, sizes: int, ratios: int) -> RetinaNetSettings:
        """See ``DetectorSettings``: anchors of ``sizes`` within an octave, and of fitted ratios.

        The sizes repeat from map to map, so that they fit any data set within its range.
        """
        shapes = spread_anchors(widths_heights, 1, ratios)
        shapes *= 32 / np.sqrt(shapes.prod(axis=1, keepdims=True))
        octave = 2 ** (np.arange(sizes) / sizes)
        return self.changed(
            "head.anchors.shapes", np.concatenate(shapes[:, None] * octave[:, None])
        )


class RetinaNet(OneStageDetector):
    """
    Args:
        num_classes: without background.
        **settings: by name, of the parts each an object or a dict of what differs from its
            defaults: ``RetinaNet(3, backbone="resnet18", head={"channels": 64})``.

    Raises:
        ValueError: there is no such backbone or option; suggests the nearest.
    """

    Settings = RetinaNetSettings

    def __init__(self, num_classes: int, **settings):
        numbers = self.Settings().updated(settings)
        backbone = backbone_of(numbers.backbone, num_classes)
        check_pyramid_size(numbers, num_classes, backbone.maps)
        neck = FPN(backbone.maps, numbers.neck)
        head = RetinaHead(num_classes, list(neck.maps.values()), numbers.head)
        super().__init__(num_classes, numbers, backbone, neck, head)
