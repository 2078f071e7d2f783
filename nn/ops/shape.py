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
