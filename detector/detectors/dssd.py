"""DSSD: SSD whose fine maps hear from the coarse ones before they answer.

What differs from ``ssd``: behind the extra maps ``DeconvolutionMaps`` goes all the way back up, and
a residual block stands before each of the head's convolutions.

Paper: Fu et al., "DSSD: Deconvolutional Single Shot Detector", 2017. The defaults are its two
modules with its channels on ResNet-101; there stage 5 is dilated and every map has 8 boxes a cell
(here they are SSD300's), and SSD's part is trained first and then kept as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from detector.detectors.backbones import backbone_of
from detector.detectors.limits import check_dense_size, check_way_up
from detector.detectors.one_stage import OneStageDetector
from detector.detectors.ssd import SSDSettings
from detector.heads.ssd import SSDHead
from detector.necks.deconvolution import DeconvolutionMaps, DeconvolutionSettings
from detector.parts.preprocess import ImageSettings


@dataclass(frozen=True)
class DSSDSettings(SSDSettings):
    """See ``SSDSettings``."""

    detector = "dssd"

    backbone: str = "resnet101"
    image: ImageSettings = ImageSettings(320, 512)
    neck: DeconvolutionSettings = DeconvolutionSettings(
        (8, 16, 32), (1024, 1024, 1024), unpadded=0, l2_scale=0.0, norm="batch"
    )


class DSSD(OneStageDetector):
    """See ``SSD``."""

    Settings = DSSDSettings

    def __init__(self, num_classes: int, **settings):
        numbers = self.Settings().updated(settings)
        backbone = backbone_of(numbers.backbone, num_classes)
        check_dense_size(numbers, num_classes, backbone.maps)
        check_way_up(numbers, num_classes, backbone.maps)
        neck = DeconvolutionMaps(backbone.maps, numbers.neck)
        head = SSDHead(num_classes, list(neck.maps.values()), numbers.head)
        super().__init__(num_classes, numbers, backbone, neck, head)
