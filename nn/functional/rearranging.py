"""Joining, reordering and resizing feature maps."""

from __future__ import annotations

from collections.abc import Sequence

from nn.functional.arguments import pair
from nn.ops.channel_shuffle import ChannelShuffle, Interleave
from nn.ops.interpolation import Interpolate
from nn.ops.shape import Cat
from nn.tensor import Tensor, apply, as_tensor


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along ``dim``; their other sizes must agree."""
    tensors = [as_tensor(tensor) for tensor in tensors]
    if not tensors:
        raise ValueError("cat: there is nothing to concatenate")
    return apply(Cat, *tensors, dim=dim)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channel g (C / groups) + j of (N, C, ...) becomes channel j groups + g."""
    return apply(ChannelShuffle, input, groups=groups)


def interleave(left: Tensor, right: Tensor) -> Tensor:
    """The channels of two (N, C, ...) by turns: ``channel_shuffle(cat((left, right), 1), 2)``."""
    return apply(Interleave, left, right)


def interpolate(
    input: Tensor,
    size=None,
    scale_factor=None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Tensor:
    """(N, C, H, W) in another size: ``size``, or H and W times ``scale_factor``, rounded down.

    Args:
        size: an int or a pair.
        scale_factor: a number or a pair; just one of the two is given.
        mode: "nearest" or "bilinear".
        align_corners: (bilinear) whether the corner pixels' centres, instead of the corners of
            the map, stay in place.
    """
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give size or scale_factor, one of them")
    step = None
    if size is None:
        factors = scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,) * 2
        shape = as_tensor(input).shape[2:]
        size = [int(length * factor) for length, factor in zip(shape, factors, strict=True)]
        step = tuple(1.0 / factor for factor in factors)
    return apply(
        Interpolate, input, size=pair(size), mode=mode, align_corners=align_corners, step=step
    )
