"""PSRoIAlign: RoIAlign in which every bin has a channel of its own.

Li et al., Light-Head R-CNN, 2017, section 3; position-sensitive maps: Dai et al., R-FCN, 2016,
section 2. Bin (ph, pw) of output channel c comes from input channel (c PH + ph) PW + pw; its number
is the mean or the maximum of its sample points.

The numbers of all output channels are wanted at the same pixels, but in C planes of the input far
apart from each other. So these planes are brought together first, one bin at a time: the channels
become the innermost axis of a small map. A cell (see ``nn.kernels.region_cells``) of all channels
then is a short matrix product,

    values (1, C) = weights (1, pixels of the cell) * those pixels (pixels of the cell, C)

which is ``row_block``. Three times as fast as plane by plane.

Arrays: input (N, C PH PW, H, W); out (K, C, PH, PW), of any strides, best with K innermost; images
(K,) int64, each region's index in the batch; cells (K, 2) int64: the cells of a bin down and
across, 1 x 1 for the mean, one for each sample for the maximum; rows, columns: (pixels, weights,
counts) of the cells along y and along x; argmax like out, int32, the number of the largest sample
in its bin (row by row; the first of equal ones), empty for the mean.
"""

import numpy as np
from numba import prange

from nn.kernels.machine.jit import inlined, kernel
from nn.kernels.machine.parts import ceil_div
from nn.kernels.machine.register_blocks import make_row_block
from nn.kernels.machine.simd import LANES
from nn.kernels.roi_align import cell

row_block = make_row_block(1)  # one vector


def ps_roi_align_forward_reference(input, images, cells, rows, columns, use_max, out, argmax):
    planes = input.reshape(len(input), *out.shape[1:], *input.shape[2:])
    for k, ph, pw in np.ndindex(len(out), *out.shape[2:]):
        values = [
            row_weights @ planes[images[k], :, ph, pw][:, y[:, None], x] @ column_weights
            for y, row_weights, x, column_weights in _cells(k, ph, pw, cells, rows, columns)
        ]
        out[k, :, ph, pw] = np.max(values, axis=0) if values else 0
        if use_max and values:
            argmax[k, :, ph, pw] = np.argmax(values, axis=0)


def ps_roi_align_backward_reference(
    grad_output, images, cells, rows, columns, use_max, argmax, grad_input
):
    grad_input[:] = 0
    planes = grad_input.reshape(len(grad_input), *grad_output.shape[1:], *grad_input.shape[2:])
    for k, ph, pw in np.ndindex(len(grad_output), *grad_output.shape[2:]):
        own_cells = _cells(k, ph, pw, cells, rows, columns)
        for number, (y, row_weights, x, column_weights) in enumerate(own_cells):
            grad = grad_output[k, :, ph, pw]
            if use_max:
                grad = grad * (argmax[k, :, ph, pw] == number)
            share = np.outer(row_weights, column_weights)
            planes[images[k], :, ph, pw][:, y[:, None], x] += grad[:, None, None] * share


def _cells(k, ph, pw, cells, rows, columns):
    """The cells of a bin, row by row: pixels and weights along y, pixels and weights along x."""
    down, across = cells[k]
    for y, x in np.ndindex(down, across):
        yield *cell(rows, k, ph * down + y), *cell(columns, k, pw * across + x)


@inlined
def gather_cell(k, y, x, rows, columns, W, padded, pixels, weights):
    """Where each pixel of cell (y, x) begins in a bin's map, and its weight; their number."""
    row_pixels, row_weights, row_counts = rows
    column_pixels, column_weights, column_counts = columns
    found = 0
    for i in range(row_counts[k, y]):
        for j in range(column_counts[k, x]):
            pixels[found] = (row_pixels[k, y, i] * W + column_pixels[k, x, j]) * padded
            weights[found] = row_weights[k, y, i] * column_weights[k, x, j]
            found += 1
    return found


@kernel(twin=ps_roi_align_forward_reference)
def ps_roi_align_forward(input, images, cells, rows, columns, use_max, out, argmax):
    N, _, H, W = input.shape
    K, C, PH, PW = out.shape
    padded = ceil_div(C, LANES) * LANES
    most = rows[0].shape[2] * columns[0].shape[2]
    here, zero = np.zeros(1, np.int64), np.zeros(1, input.dtype)
    for bin in prange(PH * PW):
        ph, pw = bin // PW, bin % PW
        pixels_first = np.zeros(H * W * padded, input.dtype)
        pixels, weights = np.empty(most, np.int64), np.empty(most, input.dtype)
        values = np.empty(padded, input.dtype)
        for n in range(N):
            for c in range(C):
                plane = input[n, (c * PH + ph) * PW + pw]
                for y in range(H):
                    for x in range(W):
                        pixels_first[(y * W + x) * padded + c] = plane[y, x]
            for k in range(K):
                if images[k] != n:
                    continue
                down, across = cells[k]
                if down * across == 0:
                    out[k, :, ph, pw] = 0
                for number in range(down * across):
                    y, x = ph * down + number // across, pw * across + number % across
                    found = gather_cell(k, y, x, rows, columns, W, padded, pixels, weights)
                    for c in range(0, padded, LANES):
                        row_block(
                            weights, 0, 1, pixels_first, c, pixels, values, c, here, 0, zero,
                            found, LANES, False, -np.inf, np.inf,
                        )  # fmt: skip
                    for c in range(C):
                        # A NaN is larger than everything.
                        if number == 0 or values[c] > out[k, c, ph, pw] or np.isnan(values[c]):
                            out[k, c, ph, pw] = values[c]
                            if use_max:
                                argmax[k, c, ph, pw] = number


@kernel(twin=ps_roi_align_backward_reference)
def ps_roi_align_backward(grad_output, images, cells, rows, columns, use_max, argmax, grad_input):
    """Several regions may add to one pixel, so the work is split by bins, never by regions: a
    thread owns its bins and adds the regions in their order."""
    N, _, H, W = grad_input.shape
    K, C, PH, PW = grad_output.shape
    padded = ceil_div(C, LANES) * LANES
    most = rows[0].shape[2] * columns[0].shape[2]
    here = np.zeros(1, np.int64)
    for bin in prange(PH * PW):
        ph, pw = bin // PW, bin % PW
        pixels_first = np.empty(H * W * padded, grad_input.dtype)
        pixels, weights = np.empty(most, np.int64), np.empty(most, grad_input.dtype)
        grad = np.zeros(padded, grad_input.dtype)
        for n in range(N):
            pixels_first[:] = 0
            for k in range(K):
                if images[k] != n:
                    continue
                down, across = cells[k]
                for number in range(down * across):
                    y, x = ph * down + number // across, pw * across + number % across
                    found = gather_cell(k, y, x, rows, columns, W, padded, pixels, weights)
                    for c in range(C):
                        chosen = not use_max or argmax[k, c, ph, pw] == number
                        grad[c] = grad_output[k, c, ph, pw] if chosen else 0
                    for i in range(found):
                        for c in range(0, padded, LANES):
                            row_block(
                                weights, i, 1, grad, c, here, pixels_first, c, pixels, i,
                                weights, 1, LANES, True, -np.inf, np.inf,
                            )  # fmt: skip
            for c in range(C):
                plane = grad_input[n, (c * PH + ph) * PW + pw]
                for y in range(H):
                    for x in range(W):
                        plane[y, x] = pixels_first[(y * W + x) * padded + c]
