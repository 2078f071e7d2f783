"""Layers that compute nothing: another shape, a border, or no change at all."""

from __future__ import annotations

from nn import functional as F
from nn.module import Module
from nn.tensor import Tensor


class Flatten(Module):
    """The dimensions from ``start_dim`` to ``end_dim`` as one: (N, ...) -> (N, everything else)"""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)


class ZeroPad2d(Module):
    """Zeros around each map: as many on all sides, or (left, right, top, bottom)."""

    def __init__(self, padding: int | tuple[int, int, int, int]):
        super().__init__()
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class Identity(Module):
    """The input, unchanged: a place for a layer that is not there, whose arguments it takes."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input
