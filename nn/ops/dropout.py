"""Dropout: in training some values are left out, so that no unit relies on another."""

from __future__ import annotations

import numpy as np

from nn.ops.operation import Operation, same_shape


class Dropout(Operation):
    """Each element is 0 with probability p and divided by 1 - p otherwise, so the mean stays.

    Options: p, 0 to 1; rng: the stream the choice is drawn from; dims: one choice for each index of
    the first ``dims`` axes, by default of all of them.

    Source: Srivastava et al., Dropout, 2014. Raises ValueError for a p that is no probability.
    """

    output_shape = staticmethod(same_shape)

    def forward(self, input, *, p, rng: np.random.Generator, dims=None):
        if not 0 <= p <= 1:
            raise ValueError(f"dropout: p is a probability, 0 to 1, not {p}")
        shape = input.shape[:dims] + (1,) * (input.ndim - len(input.shape[:dims]))
        stays = rng.random(shape, np.float32) >= p
        self.factor = stays * input.dtype.type(1 / (1 - p) if p < 1 else 0)
        return input * self.factor

    def backward(self, grad_output):
        return grad_output * self.factor
