"""Normalisation: values to mean 0 and variance 1 or to their neighbours', vectors to length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nn.functional.arguments import array_of
from nn.ops.normalization import BatchNorm, GroupNorm, LocalResponseNorm, Normalize
from nn.tensor import Tensor, apply, as_tensor


def batch_norm(
    input: Tensor,
    running_mean: np.ndarray | Tensor | None,
    running_var: np.ndarray | Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    relu: bool = False,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel.

    Args:
        input: (N, C, ...).
        running_mean, running_var: (C,). In training the batch's own statistics normalise, and
            these are updated in place: running = (1 - momentum) running + momentum batch, with the
            unbiased variance. In evaluation these normalise.
        weight, bias: (C,), or None for 1 and 0.
        relu: whether max(0, .) follows; faster than calling ``relu`` afterwards.
    """
    input = as_tensor(input)
    return apply(
        BatchNorm, input, *_affine(input, weight, bias),
        running_mean=array_of(running_mean), running_var=array_of(running_var),
        training=training, momentum=momentum, eps=eps, relu=relu,
    )  # fmt: skip


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """As ``batch_norm``, but the statistics are those of a group of channels of one image.

    Args:
        input: (N, C, ...); ``num_groups`` divides C.
        weight, bias: (C,), or None for 1 and 0.
    """
    input = as_tensor(input)
    return apply(GroupNorm, input, *_affine(input, weight, bias), num_groups=num_groups, eps=eps)


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """As ``batch_norm``, but over the last dimensions of each sample (Ba, Kiros and Hinton 2016).

    Args:
        input: (..., *normalized_shape).
        weight, bias: of ``normalized_shape``, or None for 1 and 0.
    """
    input = as_tensor(input)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    kept = input.ndim - len(shape)
    if not shape or input.shape[max(kept, 0) :] != shape:
        raise ValueError(f"layer_norm: {input.shape} does not end in {shape}")
    rows = input.reshape(math.prod(input.shape[:kept]), 1, math.prod(shape))
    output = group_norm(rows, 1, eps=eps).reshape(input.shape)
    output = output if weight is None else output * weight
    return output if bias is None else output + bias


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha / size sum over ``size`` channels of x^2)^beta, for (N, C, ...)."""
    return apply(LocalResponseNorm, input, size=size, alpha=alpha, beta=beta, k=k)


def normalize(input: Tensor, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(|x|, eps): the vectors along ``dim`` with the Euclidean length 1."""
    return apply(Normalize, input, dim=dim, eps=eps)


def _affine(input: Tensor, weight, bias) -> tuple:
    channels = input.shape[1:2]
    return (
        np.ones(channels, input.dtype) if weight is None else weight,
        np.zeros(channels, input.dtype) if bias is None else bias,
    )
