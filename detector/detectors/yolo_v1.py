"""YOLO v1: the whole picture through fully connected layers, and a grid of answers at the end.

What differs from ``yolo_v2``: no anchors and no neck. Fully connected layers see all of the picture
for each cell, and are nearly all of the network's weights. They know cells by their numbers, so
every picture is stretched to one square: beside a larger one in a batch, padded, its cells would
lie elsewhere than alone.

Paper: Redmon et al., "You Only Look Once: Unified, Real-Time Object Detection", CVPR 2016. The
defaults are its network: 24 convolutions, 271,703,550 parameters for 20 classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import nn
from detector.detectors.backbones import backbone_of
from detector.detectors.detector import DetectorSettings
from detector.detectors.limits import check_grid_size
from detector.detectors.one_stage import OneStageDetector
from detector.heads.yolo_v1 import YOLOv1Head, YOLOv1HeadSettings
from detector.parts.preprocess import ImageSettings, check_image, resize, scale_boxes


@dataclass(frozen=True)
class YOLOv1Settings(DetectorSettings):
    """
    Attributes:
        backbone: a name in ``nn.models.NETWORKS``; its coarsest map is read.
        image, head: see the settings of the parts; the square has sides of ``image.short_side``.
    """

    detector = "yolo-v1"

    backbone: str = "extraction"
    image: ImageSettings = ImageSettings(448, 448)
    head: YOLOv1HeadSettings = YOLOv1HeadSettings()


class YOLOv1(OneStageDetector):
    """
    Args:
        num_classes: without background.
        **settings: by name, of the parts each an object or a dict of what differs from its
            defaults: ``YOLOv1(3, backbone="resnet18", head={"hidden_channels": 256})``.

    Raises:
        ValueError: there is no such backbone or option; suggests the nearest.
    """

    Settings = YOLOv1Settings

    def __init__(self, num_classes: int, **settings):
        numbers = self.Settings().updated(settings)
        backbone = backbone_of(numbers.backbone, num_classes)
        coarsest = list(backbone.maps.values())[-1]
        check_grid_size(numbers, num_classes, coarsest.channels)
        head = YOLOv1Head(num_classes, coarsest.channels, numbers.head)
        super().__init__(num_classes, numbers, backbone, nn.Identity(), head)

    def input_size(self, own_size: tuple[int, int]) -> tuple[int, int]:
        return self.image.short_side, self.image.short_side

    def loss(
        self,
        images: Sequence[np.ndarray],
        targets: Sequence[dict],
        rng: np.random.Generator | None = None,
    ) -> dict[str, nn.Tensor]:
        """``box``, ``object``, ``background`` and ``class``; see ``Detector``."""
        self.check_batch(images, targets)
        stretched = [resize(check_image(each), self.input_size(each.shape[:2])) for each in images]
        moved = []
        for target, old, new in zip(targets, images, stretched, strict=True):
            boxes = {
                key: scale_boxes(target[key], old.shape[:2], new.shape[:2])
                for key in ("boxes", "ignore")
                if key in target
            }
            moved.append({**target, **boxes})
        return super().loss(stretched, moved, rng)
