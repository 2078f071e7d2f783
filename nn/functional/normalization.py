"""Batch norm, group norm and dropout: what keeps training in shape."""

from __future__ import annotations

import numpy as np

from nn import init
from nn.functional.arguments import array_of
from nn.ops.dropout import Dropout
from nn.ops.normalization import BatchNorm, GroupNorm
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


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """In training each element becomes 0 with probability p, the others grow by 1 / (1 - p).

    ``rng`` is the stream of random numbers, by default the one that ``nn.manual_seed`` sets.
    """
    if not training:
        return as_tensor(input)
    return apply(Dropout, input, p=p, rng=init.generator() if rng is None else rng)


def _affine(input: Tensor, weight, bias) -> tuple:
    channels = input.shape[1:2]
    return (
        np.ones(channels, input.dtype) if weight is None else weight,
        np.zeros(channels, input.dtype) if bias is None else bias,
    )
