"""Activation functions, element by element or along one dimension."""

from __future__ import annotations

from nn.ops import activation
from nn.tensor import Tensor, apply


def relu(input: Tensor) -> Tensor:
    """max(x, 0)"""
    return apply(activation.ReLU, input)


def relu6(input: Tensor) -> Tensor:
    """min(max(x, 0), 6)"""
    return apply(activation.ReLU6, input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x)"""
    return apply(activation.Sigmoid, input)


def tanh(input: Tensor) -> Tensor:
    """(e^x - e^-x) / (e^x + e^-x)"""
    return apply(activation.Tanh, input)


def softmax(input: Tensor, dim: int = -1) -> Tensor:
    """e^(x_i) / sum_j e^(x_j) along ``dim``: positive numbers with sum 1."""
    return apply(activation.Softmax, input, dim=dim)


def log_softmax(input: Tensor, dim: int = -1) -> Tensor:
    """ln softmax(x), without the loss of digits of taking the logarithm afterwards."""
    return apply(activation.LogSoftmax, input, dim=dim)
