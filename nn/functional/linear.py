"""The fully connected layer."""

from __future__ import annotations

from nn.ops.linear import Linear
from nn.tensor import Tensor, apply


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x W^T + b: (..., IN), (OUT, IN), (OUT,) -> (..., OUT)."""
    return apply(Linear, input, weight) if bias is None else apply(Linear, input, weight, bias)
