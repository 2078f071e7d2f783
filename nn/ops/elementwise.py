"""Functions of one number, applied to every element: exp, log, abs."""

from __future__ import annotations

import numpy as np

from nn.ops.operation import Operation, same_shape


class Exp(Operation):
    """e^x, its own derivative."""

    output_shape = staticmethod(same_shape)

    def forward(self, input):
        self.output = np.exp(input)
        return self.output

    def backward(self, grad_output):
        return grad_output * self.output


class Log(Operation):
    """ln x, with derivative 1 / x."""

    output_shape = staticmethod(same_shape)

    def forward(self, input):
        self.input = input
        return np.log(input)

    def backward(self, grad_output):
        return grad_output / self.input


class Abs(Operation):
    """|x|, with derivative sign x (0 at 0)."""

    output_shape = staticmethod(same_shape)

    def forward(self, input):
        self.sign = np.sign(input)
        return np.abs(input)

    def backward(self, grad_output):
        return grad_output * self.sign
