"""YOLO v2: one map of stride 32, fitted anchors, and one anchor responsible for each object.

What differs from ``ssd``: a single map, to which ``Passthrough`` brings the finer one's cells; the
cell of an object's centre is responsible for it, whatever else overlaps it; and how well a box fits
is learned as a number of its own instead of a class "background".

Paper: Redmon and Farhadi, "YOLO9000: Better, Faster, Stronger", CVPR 2017. The defaults are its
network on Darknet-19: 50,655,389 parameters for 20 classes, with the 64 channels before the
passthrough that the paper does not mention and its authors' file has.
"""

from __future__ import annotations

from dataclasses import dataclass

from detector.detectors.backbones import backbone_of
from detector.detectors.detector import DetectorSettings
from detector.detectors.limits import check_joined_size
from detector.detectors.one_stage import OneStageDetector
from detector.heads.yolo_v2 import YOLOv2Head, YOLOv2HeadSettings
from detector.necks.passthrough import Passthrough, PassthroughSettings
from detector.parts.preprocess import ImageSettings


@dataclass(frozen=True)
class YOLOv2Settings(DetectorSettings):
    """
    Attributes:
        backbone: a name in ``nn.models.NETWORKS`` with maps of strides 16 and 32.
        image, neck, head: see the settings of the parts.
    """

    detector = "yolo-v2"
    anchors = "head.anchors"

    backbone: str = "darknet19"
    image: ImageSettings = ImageSettings(416, 608)
    neck: PassthroughSettings = PassthroughSettings()
    head: YOLOv2HeadSettings = YOLOv2HeadSettings()


class YOLOv2(OneStageDetector):
    """
    Args:
        num_classes: without background.
        **settings: by name, of the parts each an object or a dict of what differs from its
            defaults: ``YOLOv2(3, backbone="resnet18", neck={"channels": 256})``.

    Raises:
        ValueError: there is no such backbone or option; suggests the nearest.
    """

    Settings = YOLOv2Settings

    def __init__(self, num_classes: int, **settings):
        numbers = self.Settings().updated(settings)
        backbone = backbone_of(numbers.backbone, num_classes)
        check_joined_size(numbers, num_classes, backbone.maps)
        neck = Passthrough(backbone.maps, numbers.neck)
        head = YOLOv2Head(num_classes, neck.maps["joined"], numbers.head)
        super().__init__(num_classes, numbers, backbone, neck, head)
