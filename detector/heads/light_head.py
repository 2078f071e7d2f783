"""The light head: what is in each proposal, and where exactly.

The second stage (thesis section 3.2.3): position-sensitive RoI align cuts 10 channels x 7 x 7 out
of the thin map, one fully connected layer of 2048 looks at them, two more give the class scores and
the box deltas. No dropout, and the classes share one set of four box outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

import nn
from detector.heads.connected_head import ConnectedHead, ConnectedHeadSettings
from detector.settings import Channels, Count
from nn import functional as F


@dataclass(frozen=True)
class LightHeadSettings(ConnectedHeadSettings):
    """
    Attributes:
        pooled_channels: C_out / p^2 of position-sensitive RoI align.
        pooling_mode: how it combines its sampling_ratio^2 samples of each bin. The official code
            takes their maximum.
    """

    pooled_channels: Channels = 10
    pooling_mode: Literal["avg", "max"] = "avg"
    hidden_channels: Channels = 2048
    hard_examples: Count | None = 256

    @property
    def in_channels(self) -> int:
        """Of the thin map."""
        return self.pooled_channels * self.pooled_size**2


class LightHead(ConnectedHead):
    """
    Args:
        num_classes: without background.
        stride: of the thin map, in pixels.
        settings: its numbers.
    """

    settings: LightHeadSettings

    def __init__(
        self, num_classes: int, stride: int = 32, settings: LightHeadSettings = LightHeadSettings()
    ):
        super().__init__(num_classes, settings.in_channels, ("hidden",), settings)
        self.stride = stride

    def pool(self, features: nn.Tensor, rois: np.ndarray) -> nn.Tensor:
        """Out of the thin map (N, in_channels, H, W): (K, pooled_channels, p, p)."""
        size, ratio, mode = (
            self.settings.pooled_size, self.settings.sampling_ratio, self.settings.pooling_mode
        )  # fmt: skip
        return F.ps_roi_align(features, rois, size, 1 / self.stride, ratio, mode)
