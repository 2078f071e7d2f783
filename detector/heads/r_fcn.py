"""R-FCN's head: nothing is computed for a region but a vote (Dai et al. 2016, section 2).

What differs from ``light_head``: no fully connected layer. Each bin of a region has score maps of
its own, one for each class, and four for the box (``detector.necks.score_maps``). A region's score
is the mean of what its p x p bins find on their maps: all the work is done once for the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import nn
from detector.heads.region_head import RegionHead, RegionHeadSettings
from detector.settings import Count
from nn import functional as F


@dataclass(frozen=True)
class RFCNHeadSettings(RegionHeadSettings):
    """Of the proposals of a picture the 128 hardest count, as in the paper."""

    hard_examples: Count | None = 128

    def out_channels(self, num_classes: int) -> int:
        """Of the score maps: p^2 for each class, the background, and each side of a box."""
        boxes = 1 + num_classes if self.class_specific_boxes else 1
        return (1 + num_classes + 4 * boxes) * self.pooled_size**2


class RFCNHead(RegionHead):
    """
    Args:
        num_classes: without background.
        stride: of the score maps, in pixels.
        settings: its numbers.
    """

    settings: RFCNHeadSettings

    def __init__(
        self, num_classes: int, stride: int = 16, settings: RFCNHeadSettings = RFCNHeadSettings()
    ):
        super().__init__()
        self.num_classes, self.stride, self.settings = num_classes, stride, settings

    def forward(self, features: nn.Tensor, rois: np.ndarray) -> tuple[nn.Tensor, nn.Tensor]:
        votes = self.pool(features, rois).mean((2, 3))
        logits, deltas = votes[:, : 1 + self.num_classes], votes[:, 1 + self.num_classes :]
        if self.settings.class_specific_boxes:
            deltas = deltas.reshape(len(rois), 1 + self.num_classes, 4)
        return logits, deltas

    def pool(self, features: nn.Tensor, rois: np.ndarray) -> nn.Tensor:
        """Out of the score maps: (K, 1 + classes + 4, p, p), what each bin finds on its maps."""
        size, ratio = self.settings.pooled_size, self.settings.sampling_ratio
        return F.ps_roi_align(features, rois, size, 1 / self.stride, ratio)
