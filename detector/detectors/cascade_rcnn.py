"""Cascade R-CNN: three heads one after the other, each stricter about its boxes.

What differs from ``faster_rcnn``: the head (``detector.heads.cascade``), and nothing else.

Paper: Cai and Vasconcelos, "Cascade R-CNN: Delving into High Quality Object Detection", CVPR 2018.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from detector.detectors.faster_rcnn import FasterRCNN, FasterRCNNSettings
from detector.heads.cascade import CascadeHead, CascadeHeadSettings
from detector.heads.connected_head import CompiledHead
from nn.models import Map


@dataclass(frozen=True)
class CascadeRCNNSettings(FasterRCNNSettings):
    """See ``FasterRCNNSettings``."""

    detector = "cascade-rcnn"

    head: CascadeHeadSettings = CascadeHeadSettings()


class CascadeRCNN(FasterRCNN):
    """See ``FasterRCNN``."""

    Settings = CascadeRCNNSettings

    def make_head(
        self, num_classes: int, maps: list[Map], settings: CascadeRCNNSettings
    ) -> CascadeHead:
        return CascadeHead(num_classes, maps, settings.head)

    def compiled_head(self) -> Callable:
        most = self.rpn.settings.test_selector.post_nms
        stages = [CompiledHead(stage, most) for stage in self.head.stages]
        return functools.partial(self.head, stages=stages)
