"""Resizing of feature maps: each output pixel is a mix of up to four input pixels.

    out[s, i, j] = (1 - v) ((1 - u) a + u b) + v ((1 - u) c + u d)
    a, b = input[s, low(i), low(j)], input[s, low(i), high(j)];   c, d the same in row high(i)

``rows`` and ``columns`` say where output row i and column j lie: low and high are the neighbours, v
and u the shares of the higher one. Nearest neighbour is the case v = u = 0.

Arrays: S = N C planes; input (S, H, W); out (S, OH, OW); rows (OH, 2) and columns (OW, 2) int64,
each the neighbours below and above; row_share (OH,) and column_share (OW,).
"""

import numpy as np
from numba import prange

from nn.kernels.machine.jit import kernel


def interpolate_forward_reference(input, rows, columns, row_share, column_share, out):
    vertical = _matrix(rows, row_share, input.shape[1])
    horizontal = _matrix(columns, column_share, input.shape[2])
    out[:] = vertical @ input @ horizontal.T


def interpolate_backward_reference(grad_output, rows, columns, row_share, column_share, grad_input):
    vertical = _matrix(rows, row_share, grad_input.shape[1])
    horizontal = _matrix(columns, column_share, grad_input.shape[2])
    grad_input[:] = vertical.T @ grad_output @ horizontal


def _matrix(neighbours, share, size):
    """The interpolation along one axis as a matrix with two entries a row."""
    matrix = np.zeros((len(share), size))
    index = np.arange(len(share))
    np.add.at(matrix, (index, neighbours[:, 0]), 1 - share)
    np.add.at(matrix, (index, neighbours[:, 1]), share)
    return matrix


@kernel(twin=interpolate_forward_reference)
def interpolate_forward(input, rows, columns, row_share, column_share, out):
    S, OH, OW = out.shape
    for s in prange(S):
        for i in range(OH):
            upper, lower, v = input[s, rows[i, 0]], input[s, rows[i, 1]], row_share[i]
            for j in range(OW):
                low, high, u = columns[j, 0], columns[j, 1], column_share[j]
                above = upper[low] * (1 - u) + upper[high] * u
                below = lower[low] * (1 - u) + lower[high] * u
                out[s, i, j] = above * (1 - v) + below * v


@kernel(twin=interpolate_backward_reference)
def interpolate_backward(grad_output, rows, columns, row_share, column_share, grad_input):
    S, OH, OW = grad_output.shape
    for s in prange(S):
        grad_input[s] = 0
        for i in range(OH):
            upper, lower, v = grad_input[s, rows[i, 0]], grad_input[s, rows[i, 1]], row_share[i]
            for j in range(OW):
                low, high, u = columns[j, 0], columns[j, 1], column_share[j]
                grad = grad_output[s, i, j]
                upper[low] += grad * (1 - v) * (1 - u)
                upper[high] += grad * (1 - v) * u
                lower[low] += grad * v * (1 - u)
                lower[high] += grad * v * u
