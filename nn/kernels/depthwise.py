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

from nn.kernels.convolution import patches_reference
from nn.kernels.jit import device, kernel
from nn.kernels.simd import COLUMNS, VECTORS, make_dot_block, make_outer_block

TAPS = 9  # taps whose gradients are summed together: a 3 x 3 kernel in one go

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
    taps = KH * KW
    flat_weight, flat_out = weight.reshape(-1), out.reshape(-1)
    height, width = phase_size(OH, OW, KH, KW, stride, dilation)
    tap_offsets = scratch_offsets(KH, KW, height, width, stride, dilation)
    out_offsets = np.empty(C, np.int64)
    clear_row(out_offsets)
    for plane in prange(N * C):
        c = plane % C
        scratch = np.empty(stride[0] * stride[1] * height * width, input.dtype)
        spread(input[plane // C, c], stride, padding, height, width, scratch)
        for y in range(OH):
            for x in range(0, OW, COLUMNS):
                row_block(
                    flat_weight, c * taps, 0, 1,
                    scratch, y * width + x, tap_offsets,
                    flat_out, (plane * OH + y) * OW + x, out_offsets, c,
                    bias, taps, 1, min(COLUMNS, OW - x), False, relu,
                )  # fmt: skip


@device
def phase_size(OH, OW, KH, KW, stride, dilation):
    """Height and width of one phase: what the last tap of the last output pixel needs."""
    return (
        OH + (KH - 1) * dilation[0] // stride[0],
        OW + (KW - 1) * dilation[1] // stride[1],
    )


@device
def scratch_offsets(KH, KW, height, width, stride, dilation):
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
def clear_row(row):
    for i in range(row.shape[0]):
        row[i] = 0


@device
def spread(plane, stride, padding, height, width, scratch):
    """Copy a plane into its phases: scratch[p, q, y, x] = plane[y s + p - padding, ...] or 0."""
    H, W = plane.shape
    at = 0
    for row_phase in range(stride[0]):
        for column_phase in range(stride[1]):
            shift = column_phase - padding[1]
            step = stride[1]
            inside = min(max((step - 1 - shift) // step, 0), width)
            outside = max(min((W - shift + step - 1) // step, width), inside)
            for y in range(height):
                row = y * stride[0] + row_phase - padding[0]
                if 0 <= row < H:
                    for x in range(inside):
                        scratch[at + x] = 0
                    if step == 1:
                        for x in range(inside, outside):
                            scratch[at + x] = plane[row, x + shift]
                    elif step == 2:
                        for x in range(inside, outside):
                            scratch[at + x] = plane[row, 2 * x + shift]
                    else:
                        for x in range(inside, outside):
                            scratch[at + x] = plane[row, x * step + shift]
                    for x in range(outside, width):
                        scratch[at + x] = 0
                else:
                    for x in range(width):
                        scratch[at + x] = 0
                at += width


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
    """Fill ``grad_input`` (N, C, H, W) from ``grad_output`` (N, C, OH, OW); mirror of forward.

    The taps add to a zeroed scratch plane, in steps of one; its phases are then woven back.
    """
    N, C, OH, OW = grad_output.shape
    KH, KW = weight.shape[2:]
    height, width = phase_size(OH, OW, KH, KW, stride, dilation)
    tap_offsets = scratch_offsets(KH, KW, height, width, stride, dilation)
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        scratch = np.empty(stride[0] * stride[1] * height * width, grad_output.dtype)
        clear_row(scratch)
        for y in range(OH):
            for tap in range(KH * KW):
                add_scaled(
                    weight[c, 0, tap // KW, tap % KW], grad_output[n, c, y],
                    scratch[tap_offsets[tap] + y * width :],
                )  # fmt: skip
        weave(scratch, stride, padding, height, width, grad_input[n, c])


@device
def add_scaled(factor, row, out):
    for x in range(row.shape[0]):
        out[x] += factor * row[x]


@device
def weave(scratch, stride, padding, height, width, plane):
    """Undo ``spread``: collect the phases into a plane; pixels no tap ever saw become zero."""
    H, W = plane.shape
    for y in range(H):
        row, row_phase = divmod(y + padding[0], stride[0])
        if row >= height:
            clear_row(plane[y])
            continue
        for column_phase in range(stride[1]):
            at = ((row_phase * stride[1] + column_phase) * height + row) * width
            shift = column_phase - padding[1]
            first = max(0, -(shift // stride[1]))
            for x in range(first, width):
                column = x * stride[1] + shift
                if column >= W:
                    break
                plane[y, column] = scratch[at + x]
        for column in range(max(width * stride[1] - padding[1], 0), W):
            plane[y, column] = 0


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
    tap_offsets = scratch_offsets(KH, KW, height, width, stride, dilation)
    for c in prange(C):
        scratch = np.empty(stride[0] * stride[1] * height * width, input.dtype)
        grad = np.empty(OH * width, input.dtype)
        clear_row(grad_weight[c].reshape(-1))
        for n in range(N):
            spread(input[n, c], stride, padding, height, width, scratch)
            spread(grad_output[n, c], (1, 1), (0, 0), OH, width, grad)
            add_tap_products(
                grad, scratch, tap_offsets, (OH - 1) * width + OW, grad_weight[c].reshape(-1)
            )


@device
def add_tap_products(grad, scratch, tap_offsets, length, out):
    """out[tap] += sum over the plane of grad * scratch shifted to that tap."""
    start = np.zeros(1, np.int64)
    offsets = np.empty(TAPS, np.int64)
    sums = np.empty(TAPS, out.dtype)
    for first in range(0, out.shape[0], TAPS):
        count = min(TAPS, out.shape[0] - first)
        for t in range(TAPS):
            offsets[t] = tap_offsets[first + min(t, count - 1)]
        taps_block(grad, 0, start, scratch, 0, offsets, length, sums)
        for t in range(count):
            out[first + t] += sums[t]
