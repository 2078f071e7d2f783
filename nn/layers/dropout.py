"""Dropout, of numbers, of channels and of whole branches; in evaluation nothing happens.

``inplace`` is there because PyTorch's programs say it; it changes nothing here.
"""

from __future__ import annotations

from nn import functional as F
from nn.module import Module
from nn.tensor import Tensor


class Dropout(Module):
    """In training, each element is 0 with probability ``p``, the others grow by 1 / (1 - p)."""

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2d(Dropout):
    """Likewise for each channel of (N, C, H, W) as a whole."""

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training)


class StochasticDepth(Dropout):
    """Likewise for the branch of each image ("row") or of all of them ("batch"); torchvision's."""

    def __init__(self, p: float, mode: str):
        super().__init__(p)
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:
        return F.stochastic_depth(input, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"
