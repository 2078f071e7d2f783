"""SSD: default boxes of many sizes on maps of many strides, each classified at once.

What differs from ``two_stage``: nothing proposes regions. ``ExtraMaps`` goes on where the backbone
ends, and ``SSDHead`` classifies the default boxes on every map directly, background included.

Paper: Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016. The defaults are SSD300's on
VGG-16: 26,285,486 parameters for 20 classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.detectors.backbones import backbone_of
from detector.detectors.detector import DetectorSettings
from detector.detectors.limits import check_dense_size
from detector.detectors.one_stage import OneStageDetector
from detector.heads.ssd import SSDHead, SSDHeadSettings
from detector.necks.extra_maps import ExtraMaps, ExtraMapsSettings
from detector.parts.preprocess import ImageSettings


@dataclass(frozen=True)
class SSDSettings(DetectorSettings):
    """
    Attributes:
        backbone: a name in ``nn.models.NETWORKS``.
        image, neck, head: see the settings of the parts.
    """

    detector = "ssd"
    anchors = "head.anchors"

    backbone: str = "vgg16_reduced"
    image: ImageSettings = ImageSettings(300, 512)
    neck: ExtraMapsSettings = ExtraMapsSettings()
    head: SSDHeadSettings = SSDHeadSettings()

    def fitted(self, widths_heights: np.ndarray, sizes: int, ratios: int) -> SSDSettings:
        """See ``DetectorSettings``; each map gets the boxes that suit its stride."""
        shapes = self.head.anchors.fit(widths_heights, sizes, ratios, self.neck.all_strides)
        return self.changed("head.anchors.shapes", shapes)


class SSD(OneStageDetector):
    """
    Args:
        num_classes: without background.
        **settings: by name, of the parts each an object or a dict of what differs from its
            defaults: ``SSD(3, backbone="resnet18", neck={"strides": (8, 16, 32)})``.

    Raises:
        ValueError: there is no such backbone or option; suggests the nearest.
    """

    Settings = SSDSettings

    def __init__(self, num_classes: int, **settings):
        numbers = self.Settings().updated(settings)
        backbone = backbone_of(numbers.backbone, num_classes)
        check_dense_size(numbers, num_classes, backbone.maps)
        neck = ExtraMaps(backbone.maps, numbers.neck)
        head = SSDHead(num_classes, list(neck.maps.values()), numbers.head)
        super().__init__(num_classes, numbers, backbone, neck, head)
