"""What makes fewer numbers of many. ``dim``: an int, several, or None for all dimensions."""

from __future__ import annotations

import math

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

    extreme, find = np.max, np.argmax

    def forward(self, input, dim, keepdim):
        self.shape, self.dim, rows = input.shape, dim, _rows(input, dim)
        if not rows.shape[-1]:
            raise ValueError(f"max, min: no numbers to choose from in {input.shape} along {dim=}")
        self.where = type(self).find(rows, axis=-1)
        return type(self).extreme(input, axis=dim, keepdims=keepdim)

    def backward(self, grad_output):
        grad_rows = _rows(np.zeros(self.shape, grad_output.dtype), self.dim)
        grad = grad_output.reshape(np.shape(self.where))
        np.put_along_axis(grad_rows, self.where[..., None], grad[..., None], axis=-1)
        return _from_rows(grad_rows, self.shape, self.dim)


class Min(Max):
    """The gradient goes to the first of the smallest elements."""

    extreme, find = np.min, np.argmin


class Prod(Operation):
    """Every factor's derivative is the product of the others, which may well be 0."""

    output_shape = staticmethod(reduced_shape)

    def forward(self, input, dim, keepdim):
        self.shape, self.dim, self.rows = input.shape, dim, _rows(input, dim)
        return input.prod(axis=dim, keepdims=keepdim)

    def backward(self, grad_output):
        others = np.ones_like(self.rows)
        others[..., 1:] = np.cumprod(self.rows[..., :-1], axis=-1)  # of those before
        others[..., :-1] *= np.cumprod(self.rows[..., :0:-1], axis=-1)[..., ::-1]  # and behind
        grad = grad_output.reshape(*others.shape[:-1], 1)
        return _from_rows(others * grad, self.shape, self.dim)


class Var(Operation):
    """sum (x - mean)^2 / (count - 1), or / count if not ``unbiased``; NaN without a divisor."""

    @staticmethod
    def output_shape(input, dim, keepdim, unbiased):
        return reduced_shape(input, dim, keepdim)

    def forward(self, input, dim, keepdim, unbiased):
        self.dim, self.keepdim = dim, keepdim
        with np.errstate(divide="ignore", invalid="ignore"):
            total = input.sum(axis=dim, keepdims=True)
            count = input.size // max(total.size, 1)
            self.deviation = input - total / input.dtype.type(count)
            self.divisor = input.dtype.type(max(count - unbiased, 0))
            return np.square(self.deviation).sum(axis=dim, keepdims=keepdim) / self.divisor

    def backward(self, grad_output):
        with np.errstate(divide="ignore", invalid="ignore"):
            return _restore(grad_output, self) * (2 * self.deviation / self.divisor)


class Std(Var):
    """The square root of the variance; the derivative where it is 0 is taken as 0."""

    def forward(self, input, dim, keepdim, unbiased):
        self.output = np.sqrt(super().forward(input, dim, keepdim, unbiased))
        return self.output

    def backward(self, grad_output):
        zeros = np.zeros(np.shape(self.output), grad_output.dtype)
        scaled = np.divide(grad_output, 2 * self.output, out=zeros, where=self.output != 0)
        return super().backward(scaled)


def _restore(grad_output: np.ndarray, operation) -> np.ndarray:
    """Put back the dimensions of length 1 that the reduction dropped."""
    if operation.keepdim or operation.dim is None:
        return grad_output
    return np.expand_dims(grad_output, operation.dim)


def _order(ndim: int, dim) -> tuple[int, ...]:
    """The axes that stay, then those of ``dim``."""
    dims = range(ndim) if dim is None else (dim,) if np.ndim(dim) == 0 else dim
    dims = [axis % ndim for axis in dims]
    return *(axis for axis in range(ndim) if axis not in dims), *dims


def _rows(array: np.ndarray, dim) -> np.ndarray:
    """``array`` with the dimensions ``dim`` as one, the last."""
    moved = array.transpose(_order(array.ndim, dim))
    kept = 0 if dim is None else array.ndim - np.size(dim)
    return moved.reshape(*moved.shape[:kept], math.prod(moved.shape[kept:]))


def _from_rows(rows: np.ndarray, shape: tuple[int, ...], dim) -> np.ndarray:
    """Undo ``_rows`` of an array of ``shape``."""
    order = _order(len(shape), dim)
    return rows.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))
