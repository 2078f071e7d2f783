"""Joining, cutting and bordering: what changes the shape and none of the numbers."""

from __future__ import annotations

from collections.abc import Sequence

from nn.ops.shape import Cat, Pad
from nn.tensor import Tensor, apply, as_tensor


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along ``dim``; their other sizes must agree."""
    tensors = [as_tensor(tensor) for tensor in tensors]
    if not tensors:
        raise ValueError("cat: there is nothing to concatenate")
    return apply(Cat, *tensors, dim=dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape side by side along a new dimension ``dim``."""
    return cat([as_tensor(tensor).unsqueeze(dim) for tensor in tensors], dim)


def split(tensor: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of ``split_size`` along ``dim`` (the last may be smaller), or of the given sizes."""
    return as_tensor(tensor).split(split_size, dim)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """``chunks`` parts of one size along ``dim``; the last may be smaller, or missing."""
    return as_tensor(input).chunk(chunks, dim)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from ``start_dim`` to ``end_dim``, both included, become one."""
    return as_tensor(input).flatten(start_dim, end_dim)


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """``value`` around the input.

    Args:
        pad: (left, right, top, bottom, ...): before and after for the last dimension, then the
            one before it, as many as there are. A negative number takes something off.
        mode: "constant" is the only one.
    """
    input = as_tensor(input)
    if mode != "constant":
        raise ValueError(f"pad: mode is 'constant', not {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise ValueError(f"pad: pairs for at most {input.ndim} dimensions expected, got {pad}")
    given = list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    widths = ((0, 0),) * (input.ndim - len(given)) + tuple(given)
    return apply(Pad, input, widths=widths, value=value)
