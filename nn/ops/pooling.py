"""Max and average pooling, over windows and over as many parts as asked for.

Every pair is (vertical, horizontal). Inputs are (N, C, H, W) or (C, H, W).
"""

from __future__ import annotations

import math

import numpy as np

from nn.kernels import pooling
from nn.kernels.machine.parts import ceil_div
from nn.ops.layout import contiguous
from nn.ops.operation import Operation


class MaxPool2d(Operation):
    """The largest value of each window; of equal ones the first, which gets the gradient.

    Options: kernel_size, stride, padding, dilation: pairs; ceil_mode: windows that start inside the
    map or its upper left border but reach beyond it count. Padding never wins. Raises ValueError
    where no window fits and for padding above half a window.
    """

    @staticmethod
    def output_shape(input, *, kernel_size, stride, padding, dilation, ceil_mode):
        axes = zip(input[-2:], kernel_size, stride, padding, dilation, strict=True)
        return *input[:-2], *(output_size("max_pool2d", *axis, ceil_mode) for axis in axes)

    def forward(self, input, *, kernel_size, stride, padding, dilation, ceil_mode):
        planes = _planes("max_pool2d", input)
        window = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
        window |= {"dilation": dilation, "ceil_mode": ceil_mode}
        out_shape = self.output_shape(input.shape, **window)
        self.shape, self.plane_shape = input.shape, planes.shape
        out = np.empty((len(planes), *out_shape[-2:]), planes.dtype)
        self.indices = np.empty(out.shape, np.int32)
        where = kernel_size, stride, padding, dilation
        if where == ((3, 3), (2, 2), (1, 1), (1, 1)):
            pooling.max_pool_by_nine(planes, out, self.indices)
        else:
            pooling.max_pool2d_forward(planes, *where, out, self.indices)
        return out.reshape(out_shape)

    def backward(self, grad_output):
        grad_input = np.empty(self.plane_shape, grad_output.dtype)
        pooling.max_pool2d_backward(
            contiguous(grad_output).reshape(self.indices.shape), self.indices, grad_input
        )
        return grad_input.reshape(self.shape)


class _AveragePool(Operation):
    """The mean over rectangles given as tables of rows and columns: ``windows(size, ...)``."""

    def pool(self, name, input, options):
        planes = _planes(name, input)
        self.shape, self.plane_shape = input.shape, planes.shape
        self.tables = rows, columns, _ = self.windows(planes.shape[1:], **options)
        out = np.empty((len(planes), len(rows), len(columns)), planes.dtype)
        pooling.avg_pool2d_forward(planes, *self.tables, out)
        return out.reshape(*input.shape[:-2], *out.shape[1:])

    def backward(self, grad_output):
        grad_input = np.empty(self.plane_shape, grad_output.dtype)
        grad = contiguous(grad_output).reshape(len(grad_input), *grad_output.shape[-2:])
        pooling.avg_pool2d_backward(grad, *self.tables, grad_input)
        return grad_input.reshape(self.shape)


class AvgPool2d(_AveragePool):
    """The mean of each window.

    Options as for ``MaxPool2d``; count_include_pad: the zeros of the padding count as values
    (PyTorch's default), else the mean is over what lies on the map.
    """

    @staticmethod
    def output_shape(input, *, kernel_size, stride, padding, ceil_mode, count_include_pad=True):
        axes = zip(input[-2:], kernel_size, stride, padding, strict=True)
        return *input[:-2], *(output_size("avg_pool2d", *axis, 1, ceil_mode) for axis in axes)

    @staticmethod
    def windows(size, *, kernel_size, stride, padding, ceil_mode, count_include_pad=True):
        """First and last row (OH, 2) and column (OW, 2) of each window, divisor (OH, OW)."""
        inside, lengths = [], []
        for length, kernel, step, pad in zip(size, kernel_size, stride, padding, strict=True):
            count = output_size("avg_pool2d", length, kernel, step, pad, 1, ceil_mode)
            start = np.arange(count) * step - pad
            # What ceil_mode adds beyond the padding does not count either way.
            end = np.minimum(start + kernel, length + pad)
            inside.append(np.stack([np.maximum(start, 0), np.minimum(end, length)], axis=1))
            lengths.append(end - start if count_include_pad else np.diff(inside[-1])[:, 0])
        return *inside, np.outer(*lengths).astype(np.float64)

    def forward(self, input, **options):
        return self.pool("avg_pool2d", input, options)


class AdaptiveAvgPool2d(_AveragePool):
    """The mean over OH x OW nearly equal parts: part i covers floor(i H / OH) up to, not
    including, ceil((i + 1) H / OH).

    Option output_size: the pair (OH, OW).
    """

    @staticmethod
    def output_shape(input, *, output_size):
        return *input[:-2], *output_size

    @staticmethod
    def windows(size, *, output_size):
        """As in ``AvgPool2d``."""
        inside = []
        for length, count in zip(size, output_size, strict=True):
            part = np.arange(count)
            ends = part * length // count, ceil_div((part + 1) * length, count)
            inside.append(np.stack(ends, axis=1))
        return *inside, np.outer(*(np.diff(each) for each in inside)).astype(np.float64)

    def forward(self, input, *, output_size):
        if min(output_size) < 1 or min(input.shape[-2:]) < 1:
            raise ValueError(f"adaptive_avg_pool2d: {input.shape} does not go into {output_size}")
        return self.pool("adaptive_avg_pool2d", input, {"output_size": output_size})


class AdaptiveMaxPool2d(Operation):
    """The largest value of each part, parts as in ``AdaptiveAvgPool2d``; of equal ones the first.

    Option output_size: the pair (OH, OW).
    """

    @staticmethod
    def output_shape(input, *, output_size):
        return *input[:-2], *output_size

    def forward(self, input, *, output_size):
        planes = _planes("adaptive_max_pool2d", input)
        if min(output_size) < 1 or min(input.shape[-2:]) < 1:
            raise ValueError(f"adaptive_max_pool2d: {input.shape} does not go into {output_size}")
        rows, columns, _ = AdaptiveAvgPool2d.windows(planes.shape[1:], output_size=output_size)
        self.shape, self.plane_shape = input.shape, planes.shape
        out = np.empty((len(planes), *output_size), planes.dtype)
        self.indices = np.empty(out.shape, np.int32)
        pixels = np.arange(math.prod(planes.shape[1:])).reshape(planes.shape[1:])
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                part = pixels[top:bottom, left:right].reshape(-1)
                values = planes.reshape(len(planes), pixels.size)[:, part]
                self.indices[:, i, j] = part[values.argmax(axis=1)]
                out[:, i, j] = values.max(axis=1)
        return out.reshape(*input.shape[:-2], *output_size)

    backward = MaxPool2d.backward


def _planes(name: str, input: np.ndarray) -> np.ndarray:
    """(N, C, H, W) or (C, H, W) -> (S, H, W)"""
    if input.ndim not in (3, 4):
        raise ValueError(f"{name}: input (N, C, H, W) expected, got {input.shape}")
    return contiguous(input).reshape(math.prod(input.shape[:-2]), *input.shape[-2:])


def output_size(
    name: str, size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> int:
    """How many windows fit into ``size`` pixels."""
    if min(kernel, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            f"{name}: kernel {kernel}, stride {stride} and dilation {dilation} must be at least 1, "
            f"padding {padding} at least 0"
        )
    if 2 * padding > kernel:
        raise ValueError(f"{name}: padding {padding} is more than half of the kernel, {kernel}")
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    if room < 0 and not ceil_mode or count < 1:
        raise ValueError(
            f"{name}: a window of {dilation * (kernel - 1) + 1} does not fit into {size} pixels "
            f"with padding {padding}"
        )
    return count
