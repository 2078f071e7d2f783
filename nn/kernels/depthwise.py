"""Depthwise convolution: each channel has a kernel of its own; forward and both gradients.

The formula is in ``nn.ops.convolution``; here are as many groups as channels. A task takes one
plane and first spreads it over a zero-bordered scratch plane that is sorted by phase: rows and
columns 0, s, 2s, ... come first, then 1, s + 1, ..., for stride s. There, every tap (i, j) meets
the output pixels in steps of one, whatever the stride, and no tap has to ask where the border is.
What remains is a product with one row of weights: the blocks of
``nn.kernels.machine.register_blocks`` again, one row high.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from nn.kernels.convolution import unfold
from nn.kernels.machine.copy_rows import copy_rows, fetch_rows, visible
from nn.kernels.machine.jit import device, kernel
from nn.kernels.machine.parts import ceil_div, multiples
from nn.kernels.machine.register_blocks import make_dot_block, make_row_block
from nn.kernels.machine.simd import LANES

TAPS = 9  # taps whose gradients are summed together: a 3 x 3 kernel in one go
TASKS = 64  # parts the planes are shared out in; each has one scratch plane for all of its planes
BAND = 4096  # results that wait in the L1 cache to be copied into the output

VECTORS = 4  # of a block one row high: enough sums for the multiplier never to wait for one
COLUMNS = VECTORS * LANES
row_block = make_row_block(VECTORS)
taps_block = make_dot_block(1, TAPS)


def depthwise_forward_reference(input, weight, bias, out, stride, padding, dilation, relu):
    """The weighted sum of KH * KW shifted images."""
    size = out.shape[2:]
    patches = unfold(input, weight.shape[2:], size, stride, padding, dilation)
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
    order = multiples(1, KH * KW)
    low = 0.0 if relu else -np.inf
    band = max(1, BAND // width)
    tasks = min(N * C, TASKS)
    for task in prange(tasks):
        scratch = np.empty(stride[0] * stride[1] * height * width, input.dtype)
        result = np.empty(band * width, input.dtype)
        for plane in range(task * N * C // tasks, (task + 1) * N * C // tasks):
            n, c = plane // C, plane % C
            spread(input[n, c], stride, padding, height, width, scratch)
            for top in range(0, OH, band):
                rows = min(band, OH - top)
                weighted_sum(
                    weight[c].reshape(-1), order, KH * KW, scratch, top * width, offsets,
                    bias[c : c + 1], result, 0, (rows - 1) * width + OW, low, np.inf,
                )  # fmt: skip
                target = (plane * OH + top) * OW
                copy_rows(result, 0, width, 0, OW, out.reshape(-1), target, OW, OW, rows)


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
    for p in range(stride[0]):
        shift = p - padding[0]
        first, last = visible(H, shift, stride[0], height)
        for q in range(stride[1]):
            left = q - padding[1]
            low, high = visible(W, left, stride[1], width)
            for i in range(at, at + first * width):
                scratch[i] = 0
            fetch_rows(
                source, (first * stride[0] + shift) * W + left, stride[0] * W, stride[1], low, high,
                scratch, at + first * width, width, width, last - first,
            )  # fmt: skip
            for i in range(at + last * width, at + height * width):
                scratch[i] = 0
            at += height * width


@device
def weighted_sum(
    factors, order, taps, scratch, at, offsets, bias, result, result_at, length, low, high
):
    """result[x] = bias + sum over t < ``taps`` of factors[t] scratch[at + offsets[t] + x], clamped.

    Many rows of the scratch plane count as one long row, so that narrow planes fill the vectors
    too; what falls between two rows is computed and dropped.
    """
    for x in range(0, length, COLUMNS):
        row_block(
            factors, 0, 1, scratch, at + x, offsets, result, result_at + x, order, 0,
            bias, taps, min(COLUMNS, length - x), False, low, high,
        )  # fmt: skip


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
    KH, KW = weight.shape[2:]
    SH, SW = stride
    # Zeros around the output gradient: what the last tap reaches above, the first one below.
    top = max(0, ((KH - 1) * dilation[0] - padding[0]) // SH)
    left = max(0, ((KW - 1) * dilation[1] - padding[1]) // SW)
    height = top + ceil_div(H, SH) + ceil_div(padding[0], SH)
    width = left + ceil_div(W, SW) + ceil_div(padding[1], SW)
    counts, taps, offsets = taps_by_phase(KH, KW, stride, padding, dilation, top, left, width)
    flat_grad, zero = grad_input.reshape(-1), np.zeros(1, weight.dtype)
    order = multiples(1, KH * KW)
    band = max(1, BAND // width)
    tasks = min(N * C, TASKS)
    for task in prange(tasks):
        scratch = np.empty(height * width, weight.dtype)
        results = np.empty(SW * band * width, weight.dtype)
        factors = np.empty(KH * KW, weight.dtype)
        for plane in range(task * N * C // tasks, (task + 1) * N * C // tasks):
            n, c = plane // C, plane % C
            spread(grad_output[n, c], (1, 1), (top, left), height, width, scratch)
            for p in range(min(SH, H)):
                for first in range(0, ceil_div(H - p, SH), band):
                    rows = min(band, ceil_div(H - p, SH) - first)
                    for q in range(SW):
                        phase = p * SW + q
                        for t in range(counts[phase]):
                            factors[t] = weight[c, 0, taps[phase, t] // KW, taps[phase, t] % KW]
                        weighted_sum(
                            factors, order, counts[phase], scratch, first * width, offsets[phase],
                            zero, results, q * band * width, (rows - 1) * width + ceil_div(W, SW),
                            -np.inf, np.inf,
                        )  # fmt: skip
                    at = (plane * H + p + first * SH) * W
                    weave(results, band * width, width, flat_grad, at, SH * W, W, rows, SW)


@device
def taps_by_phase(KH, KW, stride, padding, dilation, top, left, width):
    """For each phase: how many taps serve it, which, and where each finds its gradient."""
    phases = stride[0] * stride[1]
    counts = np.zeros(phases, np.int64)
    taps = np.empty((phases, KH * KW), np.int64)
    offsets = np.empty((phases, KH * KW), np.int64)
    for i in range(KH):
        p = (i * dilation[0] - padding[0]) % stride[0]
        row = (p + padding[0] - i * dilation[0]) // stride[0] + top
        for j in range(KW):
            q = (j * dilation[1] - padding[1]) % stride[1]
            column = (q + padding[1] - j * dilation[1]) // stride[1] + left
            phase = p * stride[1] + q
            taps[phase, counts[phase]] = i * KW + j
            offsets[phase, counts[phase]] = row * width + column
            counts[phase] += 1
    return counts, taps, offsets


@device
def weave(results, phase_size, width, target, at, target_row, count, rows, step):
    """target[at + y target_row + x] = results[x % step][y, x // step] for x < ``count``."""
    if step == 1:
        copy_rows(results, 0, width, 0, count, target, at, target_row, count, rows)
        return
    for y in range(rows):
        row = target[at + y * target_row : at + y * target_row + count]
        if step == 2:
            # The general loop below, in the one form that the compiler turns into vectors.
            even = results[y * width : (y + 1) * width]
            odd = results[phase_size + y * width : phase_size + (y + 1) * width]
            for x in range(count // 2):
                row[2 * x] = even[x]
                row[2 * x + 1] = odd[x]
            if count % 2:
                row[count - 1] = even[count // 2]
        else:
            for q in range(step):
                phase = results[q * phase_size + y * width : q * phase_size + (y + 1) * width]
                for x in range(ceil_div(count - q, step)):
                    row[q + step * x] = phase[x]


def depthwise_grad_weight_reference(input, grad_output, grad_weight, stride, padding, dilation):
    """The inner product of the output gradient with each shifted image, summed over images."""
    size = grad_output.shape[2:]
    patches = unfold(input, grad_weight.shape[2:], size, stride, padding, dilation)
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
    length = (OH - 1) * width + OW
    flat, order = grad_weight.reshape(-1), multiples(1, KH * KW)
    tasks = min(C, TASKS)
    for task in prange(tasks):
        scratch = np.empty(stride[0] * stride[1] * height * width, input.dtype)
        grad = np.empty(OH * width, input.dtype)
        for c in range(task * C // tasks, (task + 1) * C // tasks):
            for tap in range(c * KH * KW, (c + 1) * KH * KW):
                flat[tap] = 0
            for n in range(N):
                spread(input[n, c], stride, padding, height, width, scratch)
                spread(grad_output[n, c], (1, 1), (0, 0), OH, width, grad)
                for tap in range(0, KH * KW, TAPS):
                    taps_block(
                        grad, 0, 0, order, 0, scratch, 0, 0, offsets, tap, length, 1,
                        flat, c * KH * KW + tap, 0, 1, min(TAPS, KH * KW - tap),
                    )  # fmt: skip
