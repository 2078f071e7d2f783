"""Depthwise convolution: each channel has a kernel of its own; forward and both gradients.

    out[n, c, y, x] = bias[c] + sum_{i, j} weight[c, i, j] input[n, c, row(y, i), column(x, j)]
    row(y, i) = y stride + i dilation - padding, and column(x, j) likewise

A task takes one plane and first spreads it over a zero-bordered scratch plane that is sorted by
phase: rows and columns 0, s, 2s, ... come first, then 1, s + 1, ..., for stride s. There, every
tap (i, j) meets the output pixels in steps of one, whatever the stride, and no tap has to ask
where the border is. What remains is a product with one row of weights: the blocks of
``nn.kernels.simd`` again, one row high.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from nn.kernels.convolution import fetch_run, patches_reference, visible
from nn.kernels.jit import device, kernel
from nn.kernels.matmul import ceil_div
from nn.kernels.simd import COLUMNS, VECTORS, copy_run, make_dot_block, make_outer_block

TAPS = 4  # taps whose gradients are summed together
BAND = 4096  # results that wait in the L1 cache to be copied into the output

row_block = make_outer_block(1, VECTORS)
taps_block = make_dot_block(1, TAPS)


def depthwise_forward_reference(input, weight, bias, out, stride, padding, dilation, relu):
    """The weighted sum of KH * KW shifted images; twin of ``depthwise_forward``."""
    size = out.shape[2:]
    patches = patches_reference(input, weight.shape[2:], size, stride, padding, dilation)
    out[:] = (patches * weight[:, 0, :, :, None, None]).sum((2, 3)) + bias[:, None, None]
    if relu:
        np.maximum(out, 0, out=out)


@kernel(twin=depthwise_forward_reference)
def depthwise_forward(input, weight, bias, out, stride, padding, dilation, relu):
    """Fill ``out`` (N, C, OH, OW) with the convolution and, if ``relu``, max(0, .) of it.

    ``input`` (N, C, H, W), ``weight`` (C, 1, KH, KW), ``bias`` (C,); ``stride``, ``padding`` and
    ``dilation`` are pairs. Pixels beyond the image count as zeros, wherever they lie.
    """
    N, C, OH, OW = out.shape
    KH, KW = weight.shape[2:]
    height, width = phase_size(OH, OW, KH, KW, stride, dilation)
    offsets = tap_offsets(KH, KW, height, width, stride, dilation)
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        scratch = np.empty(stride[0] * stride[1] * height * width, input.dtype)
        spread(input[n, c], stride, padding, height, width, scratch)
        weighted_sum(
            weight[c].reshape(-1), scratch, offsets, width, bias[c : c + 1],
            out[n, c], OH, OW, (0, 0), (1, 1), relu,
        )  # fmt: skip


@device
def phase_size(OH, OW, KH, KW, stride, dilation):
    """Height and width of one phase: what the last tap of the last output pixel needs."""
    return (
        OH + (KH - 1) * dilation[0] // stride[0],
        OW + (KW - 1) * dilation[1] // stride[1],
    )


@device
def tap_offsets(KH, KW, height, width, stride, dilation):
    """Where in the scratch plane each tap finds the input of output pixel (0, 0)."""
    offsets = np.empty(KH * KW, np.int64)
    for i in range(KH):
        for j in range(KW):
            row, row_phase = divmod(i * dilation[0], stride[0])
            column, column_phase = divmod(j * dilation[1], stride[1])
            phase = row_phase * stride[1] + column_phase
            offsets[i * KW + j] = (phase * height + row) * width + column
    return offsets


@device
def spread(plane, stride, padding, height, width, scratch):
    """Copy a plane, sorted by phase, with zeros around it.

    scratch[p, q, y, x] = plane[y SH + p - PH, x SW + q - PW] for p < SH, q < SW.
    """
    H, W = plane.shape
    source = plane.reshape(-1)
    at = 0
    for row_phase in range(stride[0]):
        for column_phase in range(stride[1]):
            shift = column_phase - padding[1]
            low, high = visible(W, shift, stride[1], width)
            for y in range(height):
                row = y * stride[0] + row_phase - padding[0]
                first, last = (low, high) if 0 <= row < H else (0, 0)
                fetch_run(source, row * W + shift, stride[1], first, last, scratch, at, width)
                at += width


@device
def weighted_sum(factors, scratch, offsets, width, bias, out, rows, columns, first, step, relu):
    """out[first + step (y, x)] = bias + sum_t factors[t] scratch[offsets[t] + y width + x].

    For y < ``rows``, x < ``columns``. The scratch plane counts as one long row, so narrow planes
    fill the vectors too; what falls between two rows is computed and dropped.
    """
    band = max(1, BAND // width)
    result = np.empty(min(band, max(rows, 1)) * width, scratch.dtype)
    origin = np.zeros(1, np.int64)
    flat = out.reshape(-1)
    for top in range(0, rows, band):
        height = min(band, rows - top)
        length = (height - 1) * width + columns
        for x in range(0, length, COLUMNS):
            row_block(
                factors, 0, 0, 1, scratch, top * width + x, offsets, result, x, origin, 0, bias,
                offsets.shape[0], 1, min(COLUMNS, length - x), False, relu,
            )  # fmt: skip
        for y in range(height):
            at = (first[0] + (top + y) * step[0]) * out.shape[1] + first[1]
            if step[1] == 1:
                copy_run(result, y * width, 0, columns, flat, at, columns)
            else:
                for x in range(columns):
                    flat[at + x * step[1]] = result[y * width + x]


def depthwise_grad_input_reference(grad_output, weight, grad_input, stride, padding, dilation):
    """Every output pixel hands its gradient back to the pixels it saw, tap by tap."""
    N, C, H, W = grad_input.shape
    OH, OW = grad_output.shape[2:]
    KH, KW = weight.shape[2:]
    reach = [
        (o - 1) * s + (k - 1) * d + 1
        for o, s, k, d in zip((OH, OW), stride, (KH, KW), dilation, strict=True)
    ]
    canvas = np.zeros((N, C, max(reach[0], H + padding[0]), max(reach[1], W + padding[1])),
                      grad_input.dtype)  # fmt: skip
    for i in range(KH):
        for j in range(KW):
            rows = slice(i * dilation[0], i * dilation[0] + (OH - 1) * stride[0] + 1, stride[0])
            columns = slice(j * dilation[1], j * dilation[1] + (OW - 1) * stride[1] + 1, stride[1])
            canvas[:, :, rows, columns] += weight[:, :, i, j, None] * grad_output
    grad_input[:] = canvas[:, :, padding[0] : padding[0] + H, padding[1] : padding[1] + W]


@kernel(twin=depthwise_grad_input_reference)
def depthwise_grad_input(grad_output, weight, grad_input, stride, padding, dilation):
    """Fill ``grad_input`` (N, C, H, W) from ``grad_output`` (N, C, OH, OW).

    Input row y gets its gradient from output row (y + padding - i dilation) / stride, where that
    is a whole number: so tap i serves the rows of one phase y mod stride only. Each phase of the
    input is a weighted sum of shifted output gradients, by the taps that serve it.
    """
    N, C, H, W = grad_input.shape
    OH, OW = grad_output.shape[2:]
    KH, KW = weight.shape[2:]
    # Zeros around the output gradient: what the last tap reaches above, the first one below.
    top = max(0, ((KH - 1) * dilation[0] - padding[0]) // stride[0])
    left = max(0, ((KW - 1) * dilation[1] - padding[1]) // stride[1])
    height = top + ceil_div(H, stride[0]) + ceil_div(padding[0], stride[0])
    width = left + ceil_div(W, stride[1]) + ceil_div(padding[1], stride[1])
    zero = np.zeros(1, weight.dtype)
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        scratch = np.empty(height * width, weight.dtype)
        spread(grad_output[n, c], (1, 1), (top, left), height, width, scratch)
        for p in range(min(stride[0], H)):
            for q in range(min(stride[1], W)):
                factors, offsets = taps_of_phase(
                    weight[c, 0], p, q, stride, padding, dilation, top, left, width
                )
                weighted_sum(
                    factors, scratch, offsets, width, zero, grad_input[n, c],
                    ceil_div(H - p, stride[0]), ceil_div(W - q, stride[1]), (p, q), stride, False,
                )  # fmt: skip


@device
def taps_of_phase(weight, p, q, stride, padding, dilation, top, left, width):
    """Weights of the taps that serve phase (p, q), and where each finds its output gradient."""
    KH, KW = weight.shape
    factors = np.empty(KH * KW, weight.dtype)
    offsets = np.empty(KH * KW, np.int64)
    count = 0
    for i in range(KH):
        row, row_rest = divmod(p + padding[0] - i * dilation[0], stride[0])
        for j in range(KW):
            column, column_rest = divmod(q + padding[1] - j * dilation[1], stride[1])
            if row_rest == 0 and column_rest == 0:
                factors[count] = weight[i, j]
                offsets[count] = (row + top) * width + column + left
                count += 1
    return factors[:count], offsets[:count]


def depthwise_grad_weight_reference(input, grad_output, grad_weight, stride, padding, dilation):
    """The inner product of the output gradient with each shifted image, summed over images."""
    size = grad_output.shape[2:]
    patches = patches_reference(input, grad_weight.shape[2:], size, stride, padding, dilation)
    grad_weight[:, 0] = (patches * grad_output[:, :, None, None]).sum((0, 4, 5))


@kernel(twin=depthwise_grad_weight_reference)
def depthwise_grad_weight(input, grad_output, grad_weight, stride, padding, dilation):
    """Fill ``grad_weight`` (C, 1, KH, KW): a task per channel, image after image.

    The output gradient is laid out with the width of the scratch plane, zeros between its rows,
    so that the gradient of a tap is one long inner product of two contiguous stretches.
    """
    N, C, OH, OW = grad_output.shape
    KH, KW = grad_weight.shape[2:]
    height, width = phase_size(OH, OW, KH, KW, stride, dilation)
    offsets = tap_offsets(KH, KW, height, width, stride, dilation)
    for c in prange(C):
        scratch = np.empty(stride[0] * stride[1] * height * width, input.dtype)
        grad = np.empty(OH * width, input.dtype)
        for i in range(KH):
            for j in range(KW):
                grad_weight[c, 0, i, j] = 0
        for n in range(N):
            spread(input[n, c], stride, padding, height, width, scratch)
            spread(grad_output[n, c], (1, 1), (0, 0), OH, width, grad)
            length = (OH - 1) * width + OW
            add_tap_products(grad, scratch, offsets, length, grad_weight[c].reshape(-1))


@device
def add_tap_products(grad, scratch, offsets, length, out):
    """out[tap] += sum over the plane of grad * scratch shifted to that tap."""
    start = np.zeros(1, np.int64)
    taps = np.empty(TAPS, np.int64)
    sums = np.empty(TAPS, out.dtype)
    for first in range(0, out.shape[0], TAPS):
        count = min(TAPS, out.shape[0] - first)
        for t in range(TAPS):
            taps[t] = offsets[first + min(t, count - 1)]
        taps_block(grad, 0, 0, start, scratch, 0, 0, taps, length, 1, sums)
        for t in range(count):
            out[first + t] += sums[t]
