"""Choosing between two tensors, element by element."""

from __future__ import annotations

import numpy as np

from nn.ops.elementwise import Where
from nn.tensor import Tensor, apply


def where(condition: np.ndarray | Tensor, input: Tensor | float, other: Tensor | float) -> Tensor:
    """``input`` where ``condition`` (of True and False) holds, else ``other``; all broadcast."""
    return apply(Where, condition, input, other)
