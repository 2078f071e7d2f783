"""The layers: modules that own the parameters of one function of ``nn.functional``."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from nn import functional as F
from nn import init
from nn.functional import pair
from nn.module import Module, Parameter
from nn.tensor import Tensor


class Conv2d(Module):
    """Convolution: (N, in_channels, H, W) -> (N, out_channels, OH, OW).

    ``weight`` is (out_channels, in_channels / groups, KH, KW), ``bias`` (out_channels,) or None.
    Both start as U(-b, b), b = 1 / sqrt(fan_in).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"Conv2d: {groups} groups must divide {in_channels} and {out_channels} channels"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = pair(kernel_size), pair(stride)
        self.padding, self.dilation = pair(padding), pair(dilation)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = init.kaiming_uniform_(Parameter(np.empty(shape, np.float32)))
        self.bias = _uniform_bias(out_channels, self.weight) if bias else None

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, default in (("stride", (1, 1)), ("padding", (0, 0)), ("dilation", (1, 1))):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        text += f", groups={self.groups}" if self.groups > 1 else ""
        return text + ("" if self.bias is not None else ", bias=False")


class Linear(Module):
    """y = x W^T + b: (..., in_features) -> (..., out_features)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = init.kaiming_uniform_(
            Parameter(np.empty((out_features, in_features), np.float32))
        )
        self.bias = _uniform_bias(out_features, self.weight) if bias else None

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"


def _uniform_bias(size: int, weight: Parameter) -> Parameter:
    bound = 1.0 / math.sqrt(init.fan_in_and_out(weight)[0])
    return init.uniform_(Parameter(np.empty(size, np.float32)), -bound, bound)


class BatchNorm2d(Module):
    """Each channel to mean 0 and variance 1, then times ``weight`` plus ``bias``.

    In training the statistics are the batch's, and ``running_mean`` and ``running_var`` follow
    them by running = (1 - momentum) running + momentum batch; in evaluation they are used instead.
    ``freeze()`` keeps to the running statistics in training too and stops learning weight and bias.
    (Ioffe and Szegedy 2015.)
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.frozen = False
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.register_buffer("running_mean", np.zeros(num_features, np.float32))
        self.register_buffer("running_var", np.ones(num_features, np.float32))
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64))

    def forward(self, input: Tensor, relu: bool = False) -> Tensor:
        """``relu``: followed by max(0, .), in one pass over memory."""
        learning = self.training and not self.frozen
        if learning:
            self.num_batches_tracked[...] += 1
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            learning, self.momentum, self.eps, relu,
        )  # fmt: skip

    def fused_with(self, following: Module) -> Callable | None:
        if type(following) is ReLU and not (self._hooks or following._hooks):
            return functools.partial(self.forward, relu=True)
        return None

    def freeze(self) -> BatchNorm2d:
        self.frozen = True
        self.requires_grad_(False)
        return self

    def extra_repr(self) -> str:
        return f"{self.num_features}" + (", frozen" if self.frozen else "")


class GroupNorm(Module):
    """Like batch norm, but over groups of channels of one image: independent of the batch size.

    (Wu and He 2018.)
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5):
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_groups} groups must divide {num_channels} channels")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = Parameter(np.ones(num_channels, np.float32))
        self.bias = Parameter(np.zeros(num_channels, np.float32))

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}"


class ReLU(Module):
    """max(x, 0)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input)


class ReLU6(Module):
    """min(max(x, 0), 6)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.relu6(input)


class Sigmoid(Module):
    """1 / (1 + e^-x)"""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class MaxPool2d(Module):
    """The largest value of each window; the padding never wins."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False):
        super().__init__()
        self.kernel_size, self.padding = pair(kernel_size), pair(padding)
        self.stride = self.kernel_size if stride is None else pair(stride)
        self.dilation, self.ceil_mode = pair(dilation), ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return F.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """The mean of each window, zeros of the padding counted."""

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        self.kernel_size, self.padding = pair(kernel_size), pair(padding)
        self.stride = self.kernel_size if stride is None else pair(stride)

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(input, self.kernel_size, self.stride, self.padding)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Means over as many nearly equal parts as ``output_size`` asks for."""

    def __init__(self, output_size):
        super().__init__()
        self.output_size = pair(output_size)

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class Flatten(Module):
    """(N, ...) -> (N, everything else)"""

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(1)


class Identity(Module):
    """The input, unchanged: a place for a layer that is not there."""

    def forward(self, input: Tensor) -> Tensor:
        return input


class Dropout(Module):
    """In training, each element is 0 with probability ``p``, the others grow by 1 / (1 - p)."""

    def __init__(self, p: float = 0.5):
        super().__init__()
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
