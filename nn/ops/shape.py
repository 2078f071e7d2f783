"""Operations that move elements without changing them: the gradient moves the other way."""

from __future__ import annotations

import numpy as np

from nn.ops.operation import Operation


class Reshape(Operation):
    """The same elements, in C order, in another shape."""

    @staticmethod
    def output_shape(input, sizes):
        return np.empty(input, np.bool_).reshape(sizes).shape

    def forward(self, input, sizes):
        self.shape = input.shape
        return input.reshape(sizes)

    def backward(self, grad_output):
        return grad_output.reshape(self.shape)


class Transpose(Operation):
    """The axes in the order ``axes``."""

    @staticmethod
    def output_shape(input, axes):
        return np.broadcast_to(False, input).transpose(axes).shape

    def forward(self, input, axes):
        self.axes = axes
        return input.transpose(axes)

    def backward(self, grad_output):
        return grad_output.transpose(np.argsort(self.axes))


class Cat(Operation):
    """Arrays one after the other along ``dim``."""

    @staticmethod
    def output_shape(*shapes, dim):
        shape = list(shapes[0])
        shape[dim] = sum(each[dim] for each in shapes)
        return tuple(shape)

    def forward(self, *arrays, dim):
        self.dim = dim
        self.ends = np.cumsum([array.shape[dim] for array in arrays])[:-1]
        return np.concatenate(arrays, axis=dim)

    def backward(self, grad_output):
        return tuple(np.split(grad_output, self.ends, axis=self.dim))


class Pad(Operation):
    """``value`` around the array; a negative width takes something off instead.

    Options: widths, a pair (before, after) for each axis; value.
    """

    @staticmethod
    def output_shape(input, *, widths, value):
        return tuple(size + sum(width) for size, width in zip(input, widths, strict=True))

    def forward(self, input, *, widths, value):
        self.shape = input.shape
        shape = self.output_shape(input.shape, widths=widths, value=value)
        if min(shape, default=0) < 0:
            raise ValueError(f"pad: {input.shape} has less than {tuple(widths)} takes off")
        self.source = tuple(
            slice(max(-before, 0), size - max(-after, 0))
            for size, (before, after) in zip(input.shape, widths, strict=True)
        )
        self.target = tuple(
            slice(max(before, 0), size - max(after, 0))
            for size, (before, after) in zip(shape, widths, strict=True)
        )
        out = np.full(shape, value, input.dtype)
        out[self.target] = input[self.source]
        return out

    def backward(self, grad_output):
        grad_input = np.zeros(self.shape, grad_output.dtype)
        grad_input[self.source] = grad_output[self.target]
        return grad_input


class Expand(Operation):
    """Repeated along new axes and axes of length 1; the engine sums the gradient over them."""

    @staticmethod
    def output_shape(input, sizes):
        return tuple(sizes)

    def forward(self, input, sizes):
        return np.broadcast_to(input, sizes)

    def backward(self, grad_output):
        return grad_output
