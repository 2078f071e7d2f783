"""SSDLite: SSD whose 3x3 convolutions look at each channel alone.

What differs from ``ssd``: in the extra maps and in the head a depthwise 3x3 convolution and a 1x1
one take the place of each 3x3 one.

Paper: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, section
6.2. Its first map is the expansion inside MobileNet v2's block 14, of 576 channels, with three
boxes a cell; here any backbone's map of stride 16 serves (MobileNet v2's has 96), with six.
"""

from __future__ import annotations

from dataclasses import dataclass

from detector.detectors.ssd import SSD, SSDSettings
from detector.heads.ssd import SSDHeadSettings
from detector.necks.extra_maps import ExtraMapsSettings
from detector.parts.default_boxes import DefaultBoxSettings
from detector.parts.preprocess import ImageSettings
from detector.parts.selection import DetectionSelector

# From a fifth of 320 pixels to 0.95 of it, evenly, and the whole.
SIZES = (64.0, 112.0, 160.0, 208.0, 256.0, 304.0, 320.0)


@dataclass(frozen=True)
class SSDLiteSettings(SSDSettings):
    """See ``SSDSettings``."""

    detector = "ssdlite"

    backbone: str = "mobilenet_v2"
    image: ImageSettings = ImageSettings(320, 512)
    neck: ExtraMapsSettings = ExtraMapsSettings(
        (16, 32), (512, 256, 256, 128), unpadded=0, separable=True, l2_scale=0.0, norm="batch"
    )
    head: SSDHeadSettings = SSDHeadSettings(
        anchors=DefaultBoxSettings(SIZES, ((2.0, 3.0),) * 6),
        separable=True,
        selector=DetectionSelector(0.001, 0.55, 300),
    )


class SSDLite(SSD):
    """See ``SSD``."""

    Settings = SSDLiteSettings
