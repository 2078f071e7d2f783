"""Picking elements by index: backward puts the gradient where the elements came from."""

from __future__ import annotations

import numpy as np

from nn.ops.operation import Operation, Part


class Index(Operation):
    """input[index], with everything NumPy allows: slices, integers, masks, integer arrays."""

    @staticmethod
    def output_shape(input, index):
        return np.broadcast_to(False, input)[index].shape

    def forward(self, input, index):
        self.shape, self.index = input.shape, index
        return input[index]

    def backward(self, grad_output):
        if _is_basic(self.index):
            return Part(self.index, grad_output)
        grad_input = np.zeros(self.shape, grad_output.dtype)
        # An element picked twice gets both gradients; plain `+=` would keep only one.
        np.add.at(grad_input, self.index, grad_output)
        return grad_input


def _is_basic(index) -> bool:
    """True for integers and slices only: then no element can be picked twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, int | slice | np.integer)
        for part in parts
    )
