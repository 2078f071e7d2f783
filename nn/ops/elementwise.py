"""Functions of one number, applied to every element; and the choice between two, where."""

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


class Sqrt(Operation):
    """The square root r, with derivative 1 / (2 r)."""

    output_shape = staticmethod(same_shape)

    def forward(self, input):
        self.output = np.sqrt(input)
        return self.output

    def backward(self, grad_output):
        return grad_output / (2 * self.output)


class Clamp(Operation):
    """min(max(x, ``min``), ``max``), either of which may be None; derivative 1 within them."""

    output_shape = staticmethod(same_shape)

    def forward(self, input, *, min, max):
        low, high = -np.inf if min is None else min, np.inf if max is None else max
        self.inside = (input >= low) & (input <= high)
        return np.clip(input, input.dtype.type(low), input.dtype.type(high))

    def backward(self, grad_output):
        return grad_output * self.inside


class Where(Operation):
    """a where ``condition`` holds, else b; each gets its own part of the gradient."""

    @staticmethod
    def output_shape(condition, a, b):
        return np.broadcast_shapes(condition, a, b)

    def forward(self, condition, a, b):
        self.condition = condition.astype(bool, copy=False)
        return np.where(self.condition, a, b)

    def backward(self, grad_output):
        return None, grad_output * self.condition, grad_output * ~self.condition
