"""Pooling over windows. Inputs are (N, C, H, W) or (C, H, W); sizes an int or a pair (H, W)."""

from __future__ import annotations

from nn.functional.arguments import pair
from nn.ops import pooling
from nn.tensor import Tensor, apply


def max_pool2d(
    input: Tensor, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False
) -> Tensor:
    """The largest value of each window; the padding never wins.

    OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1, rounded down, or up in ceil_mode
    unless the last window would start in the padding. The stride is the kernel size by default.
    """
    return apply(
        pooling.MaxPool2d, input,
        kernel_size=pair(kernel_size), stride=pair(kernel_size if stride is None else stride),
        padding=pair(padding), dilation=pair(dilation), ceil_mode=ceil_mode,
    )  # fmt: skip


def avg_pool2d(
    input: Tensor,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window, the padding's zeros counted or not. Sizes as in ``max_pool2d``."""
    return apply(
        pooling.AvgPool2d, input,
        kernel_size=pair(kernel_size), stride=pair(kernel_size if stride is None else stride),
        padding=pair(padding), ceil_mode=ceil_mode, count_include_pad=count_include_pad,
    )  # fmt: skip


def adaptive_avg_pool2d(input: Tensor, output_size) -> Tensor:
    """The mean over ``output_size`` nearly equal parts; 1 is the mean of the whole map."""
    return apply(pooling.AdaptiveAvgPool2d, input, output_size=pair(output_size))
