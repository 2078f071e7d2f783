"""Mask R-CNN: a mask for each detection.

What differs from ``faster_rcnn``: a third branch (``detector.heads.mask``), which learns from the
examples that hold an object, and in use looks at the final boxes once more.

Paper: He et al., "Mask R-CNN", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import nn
from detector.detectors.faster_rcnn import FasterRCNN, FasterRCNNSettings
from detector.detectors.limits import check_mask_size
from detector.detectors.two_stage import BatchPlan, Maps
from detector.heads.mask import MaskHead, MaskHeadSettings


@dataclass(frozen=True)
class MaskRCNNSettings(FasterRCNNSettings):
    """
    Attributes:
        mask: see ``MaskHeadSettings``.
    """

    detector = "mask-rcnn"

    mask: MaskHeadSettings = MaskHeadSettings()


class MaskRCNN(FasterRCNN):
    """See ``FasterRCNN``. Targets may have ``masks`` (G, H, W) bool; pictures without teach boxes.

    ``predict`` also returns ``masks`` (R, m, m) float32 in 0..1: for each cell of its box, how sure
    it is the object's. ``detector.masks.paste`` makes pixels of it.
    """

    Settings = MaskRCNNSettings
    has_masks: ClassVar[bool] = True

    def __init__(self, num_classes: int, **settings):
        super().__init__(num_classes, **settings)
        maps = self.backbone.maps if self.fpn is None else self.fpn.maps
        read = [maps[name] for name in self.head_maps]
        most = self.settings.head.selector.max_detections
        check_mask_size(self.settings.mask, num_classes, read[0].channels, most)
        self.mask_head = MaskHead(num_classes, read, self.settings.mask)

    def plan(
        self,
        maps: Maps,
        targets: Sequence[dict],
        image_sizes: Sequence[tuple[int, int]],
        rng: np.random.Generator | None = None,
    ) -> BatchPlan:
        plan = super().plan(maps, targets, image_sizes, rng)
        return plan._replace(masks=self.mask_head.assign(plan.rois, targets))

    def losses(self, maps: Maps, plan: BatchPlan) -> dict[str, nn.Tensor]:
        """The four of ``FasterRCNN`` and ``mask``."""
        return {**super().losses(maps, plan), **self.mask_head.loss(maps.features, plan.masks)}

    def look_again(self, maps: Maps, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        masks = self.mask_head.detect(maps.features, found["boxes"], found["labels"])
        return {**found, "masks": masks.astype(np.float32)}
