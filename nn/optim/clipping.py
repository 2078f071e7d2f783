"""Clipping: no single step longer than it should be."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from nn.kernels.sum_of_squares import sum_of_squares
from nn.module import Parameter


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients down together so that their joint length is at most ``max_norm``.

    Returns the length before, sqrt of the sum of all squares, summed in float64.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    sums = np.zeros((len(gradients), 2))
    for row, grad in zip(sums, gradients, strict=True):
        sum_of_squares(grad.reshape(-1), row)
    total = math.sqrt(sums[:, 1].sum())
    if total > max_norm:
        for grad in gradients:
            grad *= grad.dtype.type(max_norm / total)
    return total
