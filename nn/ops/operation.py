"""What every differentiable operation is: a forward and, right beside it, its backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Part:
    """A gradient that is 0 outside of ``index``: what a slice of an array hands back.

    The engine adds it where it belongs, instead of a mostly empty array of full size.
    """

    index: tuple
    values: np.ndarray


def are_tiles(gradients: list, shape: tuple[int, ...]) -> bool:
    """Whether these are parts that cover an array (N, C, ...), no element twice: split channels."""
    ranges = []
    for part in gradients:
        match part:
            case Part(
                index=(slice(start=None, stop=None, step=None), slice(step=None) as channels)
            ):
                ranges.append(channels.indices(shape[1])[:2])
            case _:
                return False
    ends = [0, *(end for _, end in sorted(ranges))]
    return ends[-1] == shape[1] and all(
        start == end for (start, _), end in zip(sorted(ranges), ends, strict=False)
    )


class Operation:
    """One call of a differentiable function on plain arrays.

    The engine (``nn.tensor.apply``) makes an instance per call, runs ``forward`` and keeps the
    instance as the node of the graph. What ``backward`` needs later, ``forward`` stores on
    ``self``; the engine drops it once the gradients have passed through.

    Attributes:
        needs_grad: one bool per array argument of ``forward``, True where the gradient is wanted.
        output_shape: the shape of the output, from those of the array arguments (None for one that
            is absent) and the options. An operation without one can only be run to find out.
    """

    needs_grad: tuple[bool, ...] = ()
    output_shape: Callable[..., tuple[int, ...]] | None = None

    def forward(self, *arrays: np.ndarray, **options) -> np.ndarray:
        raise NotImplementedError

    def backward(self, grad_output: np.ndarray):
        """The gradient of each array argument, given the gradient of the output.

        One array for an operation of one argument, else a tuple with None where
        ``needs_grad`` is False; or a ``Part`` of it. Must not write into ``grad_output``.
        """
        raise NotImplementedError


def same_shape(input: tuple[int, ...], *others, **options) -> tuple[int, ...]:
    """``output_shape`` of what works element by element."""
    return input


def broadcast_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """``output_shape`` of what broadcasts as in NumPy."""
    return np.broadcast_shapes(a, b)


def reduced_shape(input: tuple[int, ...], dim, keepdim) -> tuple[int, ...]:
    """``output_shape`` of what reduces the dimensions ``dim`` (an int, several, None for all)."""
    return np.broadcast_to(False, input).any(axis=dim, keepdims=keepdim).shape
