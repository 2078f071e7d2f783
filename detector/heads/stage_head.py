"""The backbone's last stage as a head: what lies behind the map runs on each region by itself.

What differs from ``fast_rcnn``: no hidden layers of its own. 14 x 14 cells of all channels are cut
out of the map, the stage that makes the next map halves them, and the outputs read the mean (He et
al., "Deep Residual Learning", CVPR 2016, appendix A: ResNet's conv5_x). No picture passes that
stage, but every region does: 733 million multiply-adds each with the paper's ResNet-50, where two
fully connected layers on a pyramid need 14.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np

import nn
from detector.heads.connected_head import BOX_OUTPUT_STD
from detector.heads.region_head import RegionHead, RegionHeadSettings
from detector.parts.layers import init_output
from detector.parts.sampling import RoISampler
from detector.settings import Range
from nn import functional as F
from nn.models import Map

AT_ONCE = 16  # regions in use: what 300 of them make on the way would take gigabytes


@dataclass(frozen=True)
class StageHeadSettings(RegionHeadSettings):
    """128 examples a picture, as in Fast R-CNN."""

    pooled_size: Annotated[int, Range(1, 64)] = 14
    class_specific_boxes: bool = True
    sampler: RoISampler = RoISampler(count=128)


class StageHead(RegionHead):
    """
    Args:
        num_classes: without background.
        map_: that regions are cut from.
        stage: the backbone's, behind that map. Its weights stay the backbone's.
        out_channels: that it makes.
        settings: its numbers.
    """

    settings: StageHeadSettings

    def __init__(
        self,
        num_classes: int,
        map_: Map,
        stage: nn.Module,
        out_channels: int,
        settings: StageHeadSettings = StageHeadSettings(),
    ):
        super().__init__()
        self.settings, self.channels, self.stride = settings, map_.channels, map_.stride
        self._stage = (stage,)  # what stands in a tuple is no part of this module
        boxes = 1 + num_classes if settings.class_specific_boxes else 1
        self.classes = init_output(nn.Linear(out_channels, 1 + num_classes))
        self.boxes = init_output(nn.Linear(out_channels, 4 * boxes), BOX_OUTPUT_STD)

    @property
    def pooled_shape(self) -> tuple[int, int, int]:
        """Of what is cut out for a region: (C, p, p)."""
        return self.channels, self.settings.pooled_size, self.settings.pooled_size

    @property
    def multiply_adds(self) -> int:
        return nn.summary(self.look, (1, *self.pooled_shape)).multiply_adds

    @property
    def look(self) -> Look:
        """What is done with what was cut out."""
        return Look(*self._stage, self.classes, self.boxes)

    def forward(
        self,
        features: nn.Tensor,
        rois: np.ndarray,
        look: Callable[[nn.Tensor], tuple[nn.Tensor, nn.Tensor]] | None = None,
    ) -> tuple[nn.Tensor, nn.Tensor]:
        """See ``RegionHead.forward``; ``look`` stands for this head's: the same compiled."""
        look = look or self.look
        # In training all of them at once: batch norm takes its statistics of them.
        size = len(rois) if self.training else AT_ONCE
        parts = [
            look(self.pool(features, rois[start : start + size]))
            for start in range(0, max(len(rois), 1), max(size, 1))
        ]
        logits, deltas = map(F.cat, zip(*parts, strict=True))
        if self.settings.class_specific_boxes:
            deltas = deltas.reshape(len(rois), logits.shape[1], 4)
        return logits, deltas

    def pool(self, features: nn.Tensor, rois: np.ndarray) -> nn.Tensor:
        """Out of the map (N, C, H, W): (K, C, p, p)."""
        size, ratio = self.settings.pooled_size, self.settings.sampling_ratio
        return F.roi_align(features, rois, size, 1 / self.stride, ratio, aligned=True)


class Look(nn.Module):
    """A stage, the mean of its map, and two fully connected layers side by side."""

    def __init__(self, stage: nn.Module, classes: nn.Linear, boxes: nn.Linear):
        super().__init__()
        self.stage, self.classes, self.boxes = stage, classes, boxes

    def forward(self, pooled: nn.Tensor) -> tuple[nn.Tensor, nn.Tensor]:
        """(K, C, p, p) -> logits (K, 1 + classes) and deltas, a row a region."""
        mean = self.stage(pooled).mean((2, 3))
        return self.classes(mean), self.boxes(mean)


class CompiledLook:
    """The same made fast, for as many regions as a head looks at at once, or less."""

    def __init__(self, head: StageHead):
        self._pooled = np.zeros((AT_ONCE, *head.pooled_shape), head.classes.weight.dtype)
        self._look = nn.inference.compile(head.look, self._pooled.shape)

    def __call__(self, pooled: nn.Tensor) -> tuple[nn.Tensor, nn.Tensor]:
        count = len(pooled)
        self._pooled[:count] = pooled.data
        logits, deltas = self._look.tensors(self._pooled)
        return logits[:count], deltas[:count]
