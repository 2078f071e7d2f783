"""Moving channels: into another order, and into the pixels."""

from __future__ import annotations

from nn.ops.channel_shuffle import ChannelShuffle, Interleave
from nn.tensor import Tensor, apply, as_tensor


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channel g (C / groups) + j of (N, C, ...) becomes channel j groups + g."""
    return apply(ChannelShuffle, input, groups=groups)


def interleave(left: Tensor, right: Tensor) -> Tensor:
    """The channels of two (N, C, ...) by turns: ``channel_shuffle(cat((left, right), 1), 2)``."""
    return apply(Interleave, left, right)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r^2, H, W) -> (..., C, H r, W r): r^2 channels become the pixels of a square.

    Pixel (y r + i, x r + j) of channel c was (y, x) of channel c r^2 + i r + j. (Shi et al. 2016.)
    """
    input, r = as_tensor(input), upscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-3] % r**2:
        raise ValueError(f"pixel_shuffle: {r} x {r} pixels do not divide {input.shape}")
    *lead, channels, height, width = input.shape
    dims, n = tuple(range(len(lead))), len(lead)
    pieces = input.reshape(*lead, channels // r**2, r, r, height, width)
    pieces = pieces.permute(*dims, n, n + 3, n + 1, n + 4, n + 2)
    return pieces.reshape(*lead, channels // r**2, height * r, width * r)
