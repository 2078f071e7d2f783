"""Normalisation: of a channel over the batch, of groups or neighbours of channels, of lengths."""

from __future__ import annotations

import math

import numpy as np

from nn.kernels import batch_norm
from nn.ops.layout import contiguous
from nn.ops.operation import Operation, same_shape


class BatchNorm(Operation):
    """weight_c (x - mean_c) / sqrt(variance_c + eps) + bias_c for each channel c.

    Args of forward:
        input: (N, C, ...); weight, bias: (C,).
        running_mean, running_var: (C,). In training they are updated in place,
            running = (1 - momentum) running + momentum batch, with the batch's unbiased variance
            (M - 1 in the denominator), and may be None. In evaluation they are the statistics.
        training: normalise by the batch's own mean and (biased) variance.
        momentum, eps: numbers.
        relu: whether max(0, .) follows, in the same pass over memory.

    Source: Ioffe and Szegedy, Batch Normalization, 2015, algorithms 1 and 2; the update as in
    PyTorch. Raises ValueError for shapes that do not fit and for one value per channel in training.
    """

    output_shape = staticmethod(same_shape)

    def forward(
        self, input, weight, bias, *, running_mean, running_var, training, momentum, eps, relu=False
    ):
        planes = _planes(input)
        channels = planes.shape[1]
        statistics = {"running_mean": running_mean, "running_var": running_var}
        _check_per_channel("batch_norm", input, weight=weight, bias=bias, **statistics)
        self.training = training
        self.weight, self.bias = weight.astype(np.float64), bias.astype(np.float64)
        self.floor = 0.0 if relu else -np.inf
        out = np.empty_like(planes)
        if training:
            count = planes.shape[0] * planes.shape[2]
            if count < 2:
                raise ValueError(
                    f"batch_norm: training needs more than one value per channel, got {input.shape}"
                )
            mean, variance = np.empty(channels), np.empty(channels)
            batch_norm.batch_norm_forward(
                planes, self.weight, self.bias, float(eps), self.floor, mean, variance, out
            )
            if running_mean is not None:
                unbiased = variance * (count / (count - 1))
                running_mean[:] = (1 - momentum) * running_mean + momentum * mean
                running_var[:] = (1 - momentum) * running_var + momentum * unbiased
        else:
            if running_mean is None or running_var is None:
                raise ValueError("batch_norm: evaluation needs running_mean and running_var")
            mean, variance = running_mean.astype(np.float64), running_var.astype(np.float64)
            scale = self.weight / np.sqrt(variance + eps)
            batch_norm.batch_norm_apply(planes, mean, scale, self.bias, self.floor, out)
        self.mean, self.inverse_std = mean, 1 / np.sqrt(variance + eps)
        # Evaluation, and so frozen training, is linear: its gradient does not need the input.
        self.parameters_learn = any(self.needs_grad[1:])
        self.planes = planes if training or self.parameters_learn or relu else None
        return out.reshape(input.shape)

    def backward(self, grad_output):
        grad = _planes(grad_output)
        grad_input = np.empty_like(grad)
        if self.planes is None:
            none = np.zeros(grad.shape[1])
            batch_norm.batch_norm_apply(
                grad, none, self.weight * self.inverse_std, none, self.floor, grad_input
            )
            return grad_input.reshape(grad_output.shape), None, None
        grad_weight, grad_bias = np.empty(grad.shape[1]), np.empty(grad.shape[1])
        batch_norm.batch_norm_backward(
            grad, self.planes, self.mean, self.inverse_std, self.weight, self.bias, self.floor,
            bool(self.training), grad_input, grad_weight, grad_bias,
        )  # fmt: skip
        return grad_input.reshape(grad_output.shape), grad_weight, grad_bias


class GroupNorm(Operation):
    """The mean and variance are those of a group of channels of one image; no running statistics.

    Args of forward: input (N, C, ...); weight, bias (C,); num_groups divides C; eps.

    Source: Wu and He, Group Normalization, 2018. To the kernels a group of one image is a channel:
    (N, C, P) seen as (1, N groups, C / groups P). Raises ValueError for shapes that do not fit.
    """

    output_shape = staticmethod(same_shape)

    def forward(self, input, weight, bias, *, num_groups, eps):
        planes = _planes(input)
        images, channels, size = planes.shape
        _check_per_channel("group_norm", input, weight=weight, bias=bias)
        if num_groups < 1 or channels % num_groups:
            raise ValueError(f"group_norm: {num_groups} groups do not divide {channels} channels")
        self.weight = weight.astype(np.float64)
        self.group_shape = (1, images * num_groups, channels // num_groups * size)
        ones, zeros = np.ones(self.group_shape[1]), np.zeros(self.group_shape[1])
        mean, variance = np.empty_like(ones), np.empty_like(ones)
        normal, out = np.empty_like(planes), np.empty_like(planes)
        batch_norm.batch_norm_forward(
            planes.reshape(self.group_shape), ones, zeros, float(eps), -np.inf, mean, variance,
            normal.reshape(self.group_shape),
        )  # fmt: skip
        batch_norm.batch_norm_apply(
            normal, np.zeros(channels), self.weight, bias.astype(np.float64), -np.inf, out
        )
        self.normal, self.inverse_std = normal, 1 / np.sqrt(variance + eps)
        return out.reshape(input.shape)

    def backward(self, grad_output):
        grad = _planes(grad_output)
        channels, groups = grad.shape[1], self.group_shape[1]
        # First through weight and bias, then through the normalisation. Both see the normalised
        # values, whose mean is 0 and whose deviation is 1.
        grad_normal, grad_input = np.empty_like(grad), np.empty_like(grad)
        grad_weight, grad_bias = np.empty(channels), np.empty(channels)
        batch_norm.batch_norm_backward(
            grad, self.normal, np.zeros(channels), np.ones(channels), self.weight,
            np.zeros(channels), -np.inf, False, grad_normal, grad_weight, grad_bias,
        )  # fmt: skip
        batch_norm.batch_norm_backward(
            grad_normal.reshape(self.group_shape), self.normal.reshape(self.group_shape),
            np.zeros(groups), np.ones(groups), self.inverse_std, np.zeros(groups), -np.inf, True,
            grad_input.reshape(self.group_shape), np.empty(groups), np.empty(groups),
        )  # fmt: skip
        return grad_input.reshape(grad_output.shape), grad_weight, grad_bias


class LocalResponseNorm(Operation):
    """x_c / (k + alpha / size sum over the ``size`` channels around c of x^2)^beta.

    Args of forward: input (N, C, ...); size, alpha, beta, k. Channels beyond the ends count as 0.

    Source: Krizhevsky et al., AlexNet, 2012, section 3.3, whose alpha is not divided by the size;
    this is PyTorch's.
    """

    @staticmethod
    def output_shape(input, **options):
        return input

    def forward(self, input, *, size, alpha, beta, k):
        if input.ndim < 3 or size < 1:
            raise ValueError(
                f"local_response_norm: an input (N, C, ...) with pixels and a size of at least 1 "
                f"expected, got {input.shape} and {size}"
            )
        self.input, self.around = input, (size // 2, (size - 1) // 2)
        self.share, self.beta = alpha / size, beta
        self.base = k + self.share * _sum_over_channels(np.square(input), *self.around)
        self.scale = self.base**-beta
        return input * self.scale

    def backward(self, grad_output):
        # x_c is in the sums of all the channels that have it in their windows.
        through = grad_output * self.input * self.scale / self.base
        windows = _sum_over_channels(through, *self.around[::-1])
        return grad_output * self.scale - 2 * self.share * self.beta * self.input * windows


class Normalize(Operation):
    """x / max(|x|, eps): vectors along one dimension get the Euclidean length 1.

    Args of forward: input, of any shape; dim, the dimension the vectors lie along; eps, which keeps
    a vector of zeros what it is.

    Source: Liu et al., ParseNet, 2015, section 3.3.
    """

    output_shape = staticmethod(same_shape)

    def forward(self, input, *, dim, eps):
        length = np.sqrt(np.square(input).sum(dim, keepdims=True))
        self.dim, self.turns = dim, length >= eps  # below eps the divisor is a constant
        self.length = np.maximum(length, eps)
        self.unit = input / self.length
        return self.unit

    def backward(self, grad_output):
        along = (grad_output * self.unit).sum(self.dim, keepdims=True)
        return (grad_output - self.turns * along * self.unit) / self.length


def _sum_over_channels(array: np.ndarray, before: int, after: int) -> np.ndarray:
    """out[:, c] = the sum of array[:, c - before] to array[:, c + after]."""
    channels, total = array.shape[1], np.zeros_like(array)
    for shift in range(-before, after + 1):
        here = slice(max(-shift, 0), channels - max(shift, 0))
        there = slice(max(shift, 0), channels - max(-shift, 0))
        if here.start < here.stop:
            total[:, here] += array[:, there]
    return total


def _planes(array: np.ndarray) -> np.ndarray:
    """(N, C, ...) -> (N, C, P)"""
    if array.ndim < 2:
        raise ValueError(f"normalisation needs an input (N, C, ...), got {array.shape}")
    return contiguous(array).reshape(*array.shape[:2], math.prod(array.shape[2:]))


def _check_per_channel(name: str, input: np.ndarray, **arrays: np.ndarray | None) -> None:
    for argument, array in arrays.items():
        if array is not None and array.shape != input.shape[1:2]:
            raise ValueError(
                f"{name}: {argument} {array.shape} does not fit the {input.shape[1]} channels of "
                f"an input {input.shape}"
            )
