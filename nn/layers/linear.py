"""The fully connected layer."""

from __future__ import annotations

import numpy as np

from nn import functional as F
from nn import init
from nn.module import Module, Parameter
from nn.tensor import Tensor


class Linear(Module):
    """y = x W^T + b: (..., in_features) -> (..., out_features).

    ``weight`` and ``bias`` start as U(-b, b), b = 1 / sqrt(in_features).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        shape = (out_features, in_features)
        self.weight = init.uniform_fan_in_(Parameter(np.empty(shape, np.float32)))
        self.bias = None
        if bias:
            empty = Parameter(np.empty(out_features, np.float32))
            self.bias = init.uniform_fan_in_(empty, self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"
