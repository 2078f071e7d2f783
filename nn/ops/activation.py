"""Activation functions. Where the derivative is a formula of the output, that is all they keep."""

from __future__ import annotations

import numpy as np

from nn.kernels import activation
from nn.ops.layout import contiguous
from nn.ops.operation import Operation, same_shape


class ReLU(Operation):
    """min(max(x, 0), ceiling), by default without a ceiling; derivative 1 strictly between, else 0.

    A NaN passes through both ways.
    """

    output_shape = staticmethod(same_shape)

    ceiling = np.inf

    def forward(self, input):
        self.output = np.empty(input.shape, input.dtype)
        activation.relu_forward(
            contiguous(input).reshape(-1), self.ceiling, self.output.reshape(-1)
        )
        return self.output

    def backward(self, grad_output):
        grad_input = np.empty_like(self.output)
        activation.relu_backward(
            contiguous(grad_output).reshape(-1), self.output.reshape(-1), self.ceiling,
            grad_input.reshape(-1),
        )  # fmt: skip
        return grad_input


class ReLU6(ReLU):
    """min(max(x, 0), 6)"""

    ceiling = 6.0


class Sigmoid(Operation):
    """s(x) = 1 / (1 + e^-x), with derivative s (1 - s)."""

    output_shape = staticmethod(same_shape)

    def forward(self, input):
        # e^-|x| is at most 1, so nothing overflows: 1 / (1 + e^-x) or e^x / (1 + e^x).
        small = np.exp(-np.abs(input))
        self.output = np.where(input >= 0, 1, small) / (1 + small)
        return self.output

    def backward(self, grad_output):
        return grad_output * self.output * (1 - self.output)


class Tanh(Operation):
    """t(x) = tanh x, with derivative 1 - t^2."""

    output_shape = staticmethod(same_shape)

    def forward(self, input):
        self.output = np.tanh(input)
        return self.output

    def backward(self, grad_output):
        return grad_output * (1 - self.output * self.output)


class LeakyReLU(Operation):
    """x where it is positive, else ``negative_slope`` x."""

    output_shape = staticmethod(same_shape)

    def forward(self, input, *, negative_slope):
        self.slope = np.where(input > 0, 1, negative_slope).astype(input.dtype)
        return input * self.slope

    def backward(self, grad_output):
        return grad_output * self.slope


class Hardsigmoid(Operation):
    """min(max(x + 3, 0), 6) / 6: a sigmoid of straight lines.

    Source: Howard et al., MobileNetV3, 2019, section 5.2.
    """

    output_shape = staticmethod(same_shape)

    def forward(self, input):
        self.inside = np.abs(input) < 3
        return np.clip(input + 3, 0, 6) / 6

    def backward(self, grad_output):
        return grad_output * self.inside / 6


class Hardswish(Operation):
    """x hardsigmoid(x), with derivative 0, x / 3 + 1/2 or 1: below -3, between, above 3.

    Source: Howard et al., MobileNetV3, 2019, section 5.2.
    """

    output_shape = staticmethod(same_shape)

    def forward(self, input):
        self.input = input
        return input * (np.clip(input + 3, 0, 6) / 6)

    def backward(self, grad_output):
        flat = np.abs(self.input) >= 3
        return grad_output * np.where(flat, self.input > 0, self.input / 3 + 0.5)


class SiLU(Sigmoid):
    """x s(x) with s the sigmoid ("swish"), and the derivative s (1 + x (1 - s)).

    Source: Elfwing et al., Sigmoid-weighted linear units, 2017.
    """

    def forward(self, input):
        self.input = input
        return input * super().forward(input)

    def backward(self, grad_output):
        return grad_output * self.output * (1 + self.input * (1 - self.output))


class Softmax(Operation):
    """p_i = e^(x_i) / sum_j e^(x_j) along ``dim``; d p_i = p_i (d x_i - sum_j p_j d x_j)."""

    output_shape = staticmethod(same_shape)

    def forward(self, input, *, dim):
        self.dim = dim
        # The maximum cancels in the fraction and keeps the exponentials at 1 or below.
        exponentials = np.exp(input - input.max(axis=dim, keepdims=True))
        self.output = exponentials / exponentials.sum(axis=dim, keepdims=True)
        return self.output

    def backward(self, grad_output):
        weighted = grad_output * self.output
        return weighted - self.output * weighted.sum(axis=self.dim, keepdims=True)


class LogSoftmax(Operation):
    """l_i = x_i - ln sum_j e^(x_j) along ``dim``; d l_i = d x_i - sum_j e^(l_j) d x_j."""

    output_shape = staticmethod(same_shape)

    def forward(self, input, *, dim):
        self.dim = dim
        self.output = log_softmax(input, dim)
        return self.output

    def backward(self, grad_output):
        total = grad_output.sum(axis=self.dim, keepdims=True)
        return grad_output - np.exp(self.output) * total


def log_softmax(input: np.ndarray, dim: int) -> np.ndarray:
    """The logarithm of softmax along ``dim``, accurate where softmax itself is nearly 0 or 1."""
    shifted = input - input.max(axis=dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))
