"""Feature maps in another size."""

from __future__ import annotations

from collections.abc import Sequence

from nn.functional.arguments import pair
from nn.ops.interpolation import Interpolate
from nn.tensor import Tensor, apply, as_tensor


def interpolate(
    input: Tensor,
    size=None,
    scale_factor=None,
    mode: str = "nearest",
    align_corners: bool | None = False,
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
        Interpolate, input, size=pair(size), mode=mode, align_corners=bool(align_corners), step=step
    )
