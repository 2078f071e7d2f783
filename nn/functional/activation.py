"""Activation functions, element by element or along one dimension.

``inplace`` is there because PyTorch's programs say it; it changes nothing here.
"""

from __future__ import annotations

from nn.ops import activation
from nn.tensor import Tensor, apply


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)"""
    return apply(activation.ReLU, input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)"""
    return apply(activation.ReLU6, input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where it is positive, else ``negative_slope`` x"""
    return apply(activation.LeakyReLU, input, negative_slope=negative_slope)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x)"""
    return apply(activation.Sigmoid, input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x + 3, 0), 6) / 6"""
    return apply(activation.Hardsigmoid, input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x / (1 + e^-x)"""
    return apply(activation.SiLU, input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x min(max(x + 3, 0), 6) / 6"""
    return apply(activation.Hardswish, input)


def tanh(input: Tensor) -> Tensor:
    """(e^x - e^-x) / (e^x + e^-x)"""
    return apply(activation.Tanh, input)


def softmax(input: Tensor, dim: int = -1) -> Tensor:
    """e^(x_i) / sum_j e^(x_j) along ``dim``: positive numbers with sum 1."""
    return apply(activation.Softmax, input, dim=dim)


def log_softmax(input: Tensor, dim: int = -1) -> Tensor:
    """ln softmax(x), without the loss of digits of taking the logarithm afterwards."""
    return apply(activation.LogSoftmax, input, dim=dim)
