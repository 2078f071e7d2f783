"""Pooling over windows. Inputs are (N, C, H, W) or (C, H, W); sizes an int or a pair (H, W)."""

from __future__ import annotations

from collections.abc import Sequence

from nn.functional.arguments import pair
from nn.ops import pooling
from nn.tensor import Tensor, apply, as_tensor


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
    """The mean over ``output_size`` nearly equal parts; 1 is the mean of the whole map.

    ``output_size`` is an int or a pair; None, alone or in the pair, is the size of the input.
    """
    input = as_tensor(input)
    return apply(pooling.AdaptiveAvgPool2d, input, output_size=_adaptive(input, output_size))


def adaptive_max_pool2d(input: Tensor, output_size) -> Tensor:
    """The largest value of each part; parts as in ``adaptive_avg_pool2d``."""
    input = as_tensor(input)
    return apply(pooling.AdaptiveMaxPool2d, input, output_size=_adaptive(input, output_size))


def _adaptive(input: Tensor, output_size) -> tuple[int, int]:
    given = output_size if isinstance(output_size, Sequence) else (output_size,) * 2
    sizes = zip(given, input.shape[-2:], strict=True)
    return pair([own if size is None else size for size, own in sizes])
