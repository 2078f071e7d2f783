"""Fully connected layers and matrix products, forward and backward, on plain arrays."""

from __future__ import annotations

import numpy as np

from nn.kernels.matmul import matmul, matmul_transposed
from nn.ops.layout import contiguous
from nn.ops.operation import Operation


class Linear(Operation):
    """out = x W^T + bias: ``input`` (..., IN), ``weight`` (OUT, IN), ``bias`` (OUT,) or not given.

    Raises:
        ValueError: shapes that do not go together.
    """

    @staticmethod
    def output_shape(input, weight, bias=None):
        if len(weight) != 2 or len(input) < 1 or input[-1] != weight[1]:
            raise ValueError(
                f"linear wants input (..., IN) and weight (OUT, IN), got {input} and {weight}"
            )
        if bias is not None and bias != weight[:1]:
            raise ValueError(f"linear bias is {bias}, weight {weight}")
        return *input[:-1], weight[0]

    def forward(
        self, input: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None
    ) -> np.ndarray:
        shapes = input.shape, weight.shape, None if bias is None else bias.shape
        out_shape = self.output_shape(*shapes)
        dtype = np.result_type(input, weight)
        OUT, IN = weight.shape
        rows = contiguous(input.astype(dtype, copy=False)).reshape(-1, IN)
        weight = contiguous(weight.astype(dtype, copy=False))
        self.has_bias = bias is not None
        bias = np.zeros(OUT) if bias is None else bias
        bias = contiguous(bias.astype(dtype, copy=False))
        out = np.empty((len(rows), OUT), dtype)
        matmul_transposed(rows[None], weight[None], bias, out)

        self.dtype, self.input_shape = dtype, input.shape
        self.rows = rows if self.needs_grad[1] else None
        self.weight = weight if self.needs_grad[0] else None
        return out.reshape(out_shape)

    def backward(self, grad_output: np.ndarray) -> tuple[np.ndarray | None, ...]:
        OUT = grad_output.shape[-1]
        grad_rows = contiguous(grad_output.astype(self.dtype, copy=False)).reshape(-1, OUT)
        grads = [None, None]
        if self.needs_grad[0]:
            grads[0] = product(grad_rows[None], self.weight[None]).reshape(self.input_shape)
        if self.needs_grad[1]:
            grads[1] = product(grad_rows[None], self.rows[None], transpose_a=True)[0]
        if self.has_bias:
            grads.append(grad_rows.sum(0) if self.needs_grad[2] else None)
        return tuple(grads)


class MatMul(Operation):
    """a @ b: ``a`` (..., M, K), ``b`` (..., K, N); leading axes broadcast as in NumPy.

    Raises:
        ValueError: fewer than two axes, or shapes that do not go together.
    """

    @staticmethod
    def output_shape(a, b):
        if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
            raise ValueError(f"matmul wants (..., M, K) @ (..., K, N), got {a} @ {b}")
        return *np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1]

    def forward(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        self.batch_shape = self.output_shape(a.shape, b.shape)[:-2]
        self.dtype = dtype = np.result_type(a, b)
        a = self.as_batch(a.astype(dtype, copy=False))
        b = self.as_batch(b.astype(dtype, copy=False))
        self.a = a if self.needs_grad[1] else None
        self.b = b if self.needs_grad[0] else None
        return self.as_given(product(a, b))

    def backward(self, grad_output: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        grad = self.as_batch(grad_output.astype(self.dtype, copy=False))
        grad_a = grad_b = None
        if self.needs_grad[0]:
            grad_a = np.empty((len(grad), grad.shape[1], self.b.shape[1]), grad.dtype)
            zeros = np.zeros(self.b.shape[1], grad.dtype)
            for i in range(len(grad)):
                matmul_transposed(grad[i : i + 1], self.b[i : i + 1], zeros, grad_a[i])
            grad_a = self.as_given(grad_a)
        if self.needs_grad[1]:
            grad_b = self.as_given(product(self.a, grad, transpose_a=True))
        return grad_a, grad_b

    def as_batch(self, array: np.ndarray) -> np.ndarray:
        """The matrices broadcast to the common batch, as one contiguous (batch, rows, columns)."""
        array = np.broadcast_to(array, self.batch_shape + array.shape[-2:])
        count = int(np.prod(self.batch_shape))
        return contiguous(array).reshape(count, *array.shape[-2:])

    def as_given(self, array: np.ndarray) -> np.ndarray:
        """Undo the flattening of ``as_batch``."""
        return array.reshape(self.batch_shape + array.shape[-2:])


def product(a: np.ndarray, b: np.ndarray, transpose_a: bool = False) -> np.ndarray:
    """a[i] @ b[i], or a[i].T @ b[i], for batches of contiguous matrices."""
    rows = a.shape[2] if transpose_a else a.shape[1]
    out = np.empty((len(b), rows, b.shape[2]), b.dtype)
    matmul(a, b, np.zeros(rows, b.dtype), out, transpose_a, False)
    return out
