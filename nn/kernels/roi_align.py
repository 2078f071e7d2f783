"""RoIAlign: every bin of a region of interest becomes the mean of its sample points.

He et al., Mask R-CNN, 2017, section 3. With the pixels and weights of ``nn.kernels.region_cells``,
for region k and each channel c

    out[k, c, ph, pw] = sum over i, j of row weight[ph, i] column weight[pw, j] input[c, y_i, x_j]

Arrays: input (N, C, H, W); out (K, C, PH, PW); images (K,) int64, each region's index in the batch;
rows, columns: (pixels, weights, counts) of the regions along y, one cell a bin, and along x.
"""

import numpy as np
from numba import prange

from nn.kernels.machine.jit import kernel
from nn.kernels.machine.parts import ceil_div

# The backward pass reads where the samples lie once for this many channels.
CHANNEL_BLOCK = 8


def roi_align_forward_reference(input, images, rows, columns, out):
    for k, ph, pw in np.ndindex(len(out), *out.shape[2:]):
        (y, row_weights), (x, column_weights) = cell(rows, k, ph), cell(columns, k, pw)
        sampled = input[images[k]][:, y[:, None], x]
        out[k, :, ph, pw] = row_weights @ sampled @ column_weights


def roi_align_backward_reference(grad_output, images, rows, columns, grad_input):
    grad_input[:] = 0
    for k, ph, pw in np.ndindex(len(grad_output), *grad_output.shape[2:]):
        (y, row_weights), (x, column_weights) = cell(rows, k, ph), cell(columns, k, pw)
        share = np.outer(row_weights, column_weights)
        grad_input[images[k]][:, y[:, None], x] += grad_output[k, :, ph, pw, None, None] * share


def cell(table, k, i):
    """The pixels of cell i of region k along one axis, and their weights."""
    pixels, weights, counts = table
    return pixels[k, i, : counts[k, i]], weights[k, i, : counts[k, i]]


@kernel(twin=roi_align_forward_reference)
def roi_align_forward(input, images, rows, columns, out):
    y, row_weights, row_counts = rows
    x, column_weights, column_counts = columns
    K, C, PH, PW = out.shape
    for k in prange(K):
        for c in range(C):
            plane = input[images[k], c]
            for ph in range(PH):
                for pw in range(PW):
                    total = 0.0
                    for i in range(row_counts[k, ph]):
                        for j in range(column_counts[k, pw]):
                            weight = row_weights[k, ph, i] * column_weights[k, pw, j]
                            total += weight * plane[y[k, ph, i], x[k, pw, j]]
                    out[k, c, ph, pw] = total


@kernel(twin=roi_align_backward_reference)
def roi_align_backward(grad_output, images, rows, columns, grad_input):
    """Several regions may add to one pixel, so the work is split by channels, never by regions: a
    thread owns its channels and adds the regions in their order."""
    y, row_weights, row_counts = rows
    x, column_weights, column_counts = columns
    K, C, PH, PW = grad_output.shape
    for block in prange(ceil_div(C, CHANNEL_BLOCK)):
        first = block * CHANNEL_BLOCK
        last = min(first + CHANNEL_BLOCK, C)
        grad_input[:, first:last] = 0
        for k in range(K):
            for ph in range(PH):
                for pw in range(PW):
                    for i in range(row_counts[k, ph]):
                        for j in range(column_counts[k, pw]):
                            weight = row_weights[k, ph, i] * column_weights[k, pw, j]
                            row, column = y[k, ph, i], x[k, pw, j]
                            for c in range(first, last):
                                grad = grad_output[k, c, ph, pw]
                                grad_input[images[k], c, row, column] += weight * grad
