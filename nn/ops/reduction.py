"""Sums, means and maxima over dimensions. ``dim`` is an int, several, or None for all."""

from __future__ import annotations

import numpy as np

from nn.ops.operation import Operation, reduced_shape


class Sum(Operation):
    """Every summand gets the whole gradient of the sum."""

    output_shape = staticmethod(reduced_shape)

    def forward(self, input, dim, keepdim):
        self.shape, self.dim, self.keepdim = input.shape, dim, keepdim
        return input.sum(axis=dim, keepdims=keepdim)

    def backward(self, grad_output):
        return np.broadcast_to(_restore(grad_output, self), self.shape)


class Mean(Operation):
    """The sum divided by the number of summands."""

    output_shape = staticmethod(reduced_shape)

    def forward(self, input, dim, keepdim):
        self.shape, self.dim, self.keepdim = input.shape, dim, keepdim
        output = input.mean(axis=dim, keepdims=keepdim)
        self.count = input.size // max(np.size(output), 1)
        return output

    def backward(self, grad_output):
        scaled = grad_output / grad_output.dtype.type(max(self.count, 1))
        return np.broadcast_to(_restore(scaled, self), self.shape)


class Max(Operation):
    """The gradient goes to the first of the largest elements."""

    output_shape = staticmethod(reduced_shape)

    def forward(self, input, dim, keepdim):
        self.shape, self.dim, self.keepdim = input.shape, dim, keepdim
        flat = input.reshape(-1) if dim is None else input
        self.where = np.expand_dims(flat.argmax(axis=dim or 0), dim or 0)
        return input.max(axis=dim, keepdims=keepdim)

    def backward(self, grad_output):
        shape = (int(np.prod(self.shape)),) if self.dim is None else self.shape
        grad_input = np.zeros(shape, grad_output.dtype)
        grad = grad_output.reshape(1) if self.dim is None else _restore(grad_output, self)
        np.put_along_axis(grad_input, self.where, grad, axis=self.dim or 0)
        return grad_input.reshape(self.shape)


def _restore(grad_output: np.ndarray, operation) -> np.ndarray:
    """Put back the dimensions of length 1 that the reduction dropped."""
    if operation.keepdim or operation.dim is None:
        return grad_output
    return np.expand_dims(grad_output, operation.dim)
