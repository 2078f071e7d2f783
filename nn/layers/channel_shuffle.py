"""Moving channels: into another order, and into the pixels."""

from __future__ import annotations

from nn import functional as F
from nn.module import Module
from nn.tensor import Tensor


class ChannelShuffle(Module):
    """Channel g (C / groups) + j becomes channel j groups + g."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class PixelShuffle(Module):
    """(N, C r^2, H, W) -> (N, C, H r, W r), r the ``upscale_factor``."""

    def __init__(self, upscale_factor: int):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"
