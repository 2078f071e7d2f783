"""Folding batch norm into the convolution before it: the same function with one step less.

In evaluation a batch norm is y = g (x - m) / sqrt(v + eps) + b with constants per channel, and
x = w * input + c is a convolution. Both together are a convolution with::

    w' = s w,  c' = s c + t,  s = g / sqrt(v + eps),  t = b - s m

The thesis measures its speed with batch norm absorbed like this (section 4.1).
"""

from __future__ import annotations

import copy

import numpy as np

from nn.layers import BatchNorm2d, Conv2d, Identity
from nn.module import Module, Parameter, Sequential


def scale_and_shift(weight, bias, mean, variance, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """The constants (s, t) of each channel with which a batch norm in evaluation is s x + t.

    s = weight / sqrt(variance + eps), t = bias - s mean; all arrays are (C,).
    """
    scale = weight / np.sqrt(variance + eps)
    return scale, bias - scale * mean


def fold_conv_batch_norm(conv: Conv2d, norm: BatchNorm2d) -> Conv2d:
    """A new convolution that computes ``norm(conv(x))`` as it is in evaluation.

    Raises:
        ValueError: the batch norm has another number of channels than the convolution puts out.
    """
    if norm.num_features != conv.out_channels:
        raise ValueError(
            f"fold: the convolution has {conv.out_channels} channels, "
            f"the batch norm {norm.num_features}"
        )
    scale, shift = scale_and_shift(
        norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var, norm.eps
    )
    bias = 0.0 if conv.bias is None else conv.bias.data
    folded = copy.deepcopy(conv)
    dtype = conv.weight.dtype
    folded.weight = Parameter((conv.weight.data * scale[:, None, None, None]).astype(dtype))
    folded.bias = Parameter((scale * bias + shift).astype(dtype))
    return folded


def fold_batch_norms(model: Module) -> Module:
    """A copy of ``model`` for evaluation, in which every batch norm that directly follows a
    convolution inside a ``Sequential`` is folded into it and replaced by ``Identity``.

    The model itself is unchanged.
    """
    folded = copy.deepcopy(model).eval()
    for module in list(folded.modules()):
        if not isinstance(module, Sequential):
            continue
        names = [name for name, _ in module.named_children()]
        for name, following in zip(names, names[1:], strict=False):
            conv, norm = getattr(module, name), getattr(module, following)
            if isinstance(conv, Conv2d) and isinstance(norm, BatchNorm2d):
                setattr(module, name, fold_conv_batch_norm(conv, norm))
                setattr(module, following, Identity())
    return folded
