"""Convolution and its transpose."""

from __future__ import annotations

import numpy as np

from nn import functional as F
from nn import init
from nn.functional import pair
from nn.module import Module, Parameter
from nn.tensor import Tensor

Size = int | tuple[int, int]


class _Convolution(Module):
    """What both directions have: geometry, and a weight and bias that start as U(-b, b)."""

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
        padding_mode, transposed,
    ):  # fmt: skip
        super().__init__()
        name = type(self).__name__
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: {groups} groups must divide {in_channels} and {out_channels} channels"
            )
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode is 'zeros', not {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = pair(kernel_size), pair(stride)
        self.padding = padding if isinstance(padding, str) else pair(padding)
        self.dilation = pair(dilation)
        first, second = (in_channels, out_channels)[:: 1 if transposed else -1]
        shape = (first, second // groups, *self.kernel_size)
        self.weight = init.uniform_fan_in_(Parameter(np.empty(shape, np.float32)))
        self.bias = None
        if bias:
            empty = Parameter(np.empty(out_channels, np.float32))
            self.bias = init.uniform_fan_in_(empty, self.weight)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, default in (("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1))):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        text += f", groups={self.groups}" if self.groups > 1 else ""
        return text + ("" if self.bias is not None else ", bias=False")


class Conv2d(_Convolution):
    """Convolution: (N, in_channels, H, W) -> (N, out_channels, OH, OW).

    ``weight`` is (out_channels, in_channels / groups, KH, KW), ``bias`` (out_channels,) or None.
    Both start as U(-b, b), b = 1 / sqrt(fan_in). ``padding`` may also be "valid" or "same", see
    ``functional.conv2d``; ``padding_mode`` is "zeros".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, transposed=False,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class ConvTranspose2d(_Convolution):
    """Transposed convolution: (N, in_channels, H, W) -> (N, out_channels, OH, OW), larger.

    ``weight`` is (in_channels, out_channels / groups, KH, KW), ``bias`` (out_channels,) or None;
    sizes and ``output_padding`` as in ``functional.conv_transpose2d``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, transposed=True,
        )  # fmt: skip
        self.output_padding = pair(output_padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, self.output_padding,
            self.groups, self.dilation,
        )  # fmt: skip
