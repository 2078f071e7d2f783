"""Convolution with any stride, padding, dilation and groups: forward and both gradients.

The formula is in ``nn.ops.convolution``. N images, C -> OC channels, H W -> OH OW pixels, KH x KW
taps; K = C / groups * KH * KW.

Every convolution is a matrix product with the matrix of patches (K, OH * OW), "im2col". That
matrix is KH * KW times as large as the image, so it is never built: a task gathers the few columns
it multiplies next into a buffer that stays in the cache. Pointwise convolutions need no gathering
and go to ``nn.kernels.matmul`` directly; depthwise ones have ``nn.kernels.depthwise``.
"""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from nn.kernels.machine.copy_rows import copy_rows, fetch_rows, visible
from nn.kernels.machine.jit import device, kernel
from nn.kernels.machine.parts import ceil_div, multiples
from nn.kernels.machine.register_blocks import ROWS, outer_tile
from nn.kernels.matmul import (
    DOT_N_BLOCK,
    K_BLOCK,
    LINE,
    TILE,
    add_dot_products,
    add_sections,
    in_order,
    rows_per_task,
    sections_of,
    start_sums,
    stretch_at,
    stretches_of,
)

GATHERED = 2 * TILE  # pixels whose patches are gathered at a time; one tile: a fifth slower


def unfold(input, kernel_size, out_size, stride, padding, dilation):
    """The patch under every output pixel: (N, C, KH, KW, OH, OW), zero outside the image."""
    N, C, H, W = input.shape
    (KH, KW), (OH, OW) = kernel_size, out_size
    top, left = (max(p, 0) for p in padding)
    reach = [
        (o - 1) * s + (k - 1) * d + 1
        for o, s, k, d in zip(out_size, stride, kernel_size, dilation, strict=True)
    ]
    crop = [max(-p, 0) for p in padding]
    canvas = np.zeros((N, C, max(reach[0], H) + top + crop[0], max(reach[1], W) + left + crop[1]),
                      input.dtype)  # fmt: skip
    canvas[:, :, top : top + H, left : left + W] = input
    canvas = canvas[:, :, crop[0] :, crop[1] :]
    patches = np.empty((N, C, KH, KW, OH, OW), input.dtype)
    for i in range(KH):
        for j in range(KW):
            rows = slice(i * dilation[0], i * dilation[0] + (OH - 1) * stride[0] + 1, stride[0])
            columns = slice(j * dilation[1], j * dilation[1] + (OW - 1) * stride[1] + 1, stride[1])
            patches[:, :, i, j] = canvas[:, :, rows, columns]
    return patches


def conv2d_forward_reference(input, weight, bias, out, stride, padding, dilation, relu):
    """Weight matrix times patch matrix, one product per group."""
    N, OC, OH, OW = out.shape
    groups, K = input.shape[1] // weight.shape[1], math.prod(weight.shape[1:])
    patches = unfold(input, weight.shape[2:], (OH, OW), stride, padding, dilation)
    products = weight.reshape(groups, OC // groups, K) @ patches.reshape(N, groups, K, OH * OW)
    out[:] = products.reshape(out.shape) + bias[:, None, None]
    if relu:
        np.maximum(out, 0, out=out)


@kernel(twin=conv2d_forward_reference)
def conv2d_forward(input, weight, bias, out, stride, padding, dilation, relu):
    """Fill ``out`` (N, OC, OH, OW) with the convolution and, if ``relu``, max(0, .) of it.

    ``input`` (N, C, H, W), ``weight`` (OC, C / groups, KH, KW), ``bias`` (OC,); ``stride``,
    ``padding`` and ``dilation`` are (vertical, horizontal) pairs. Pixels beyond the image count
    as zeros, wherever they lie, so padding may be negative and ``out`` of any size.
    """
    N, OC, OH, OW = out.shape
    C, group_C = input.shape[1], weight.shape[1]
    groups, K = C // group_C, group_C * weight.shape[2] * weight.shape[3]
    M, pixels = OC // groups, OH * OW
    flat_out = out.reshape(-1)
    flat_weight, matrix, w_group, w_row, w_column = in_order(
        weight.reshape(-1), groups, M, K, K, 1, N * pixels
    )
    panel_offsets = multiples(GATHERED + LINE, min(K, K_BLOCK))
    out_offsets = multiples(pixels, OC)

    tiles = ceil_div(pixels, GATHERED)
    rows = ROWS * rows_per_task(ceil_div(M, ROWS), N * groups * tiles)
    row_blocks = ceil_div(M, rows)
    for task in prange(N * groups * tiles * row_blocks):
        n = task // (groups * tiles * row_blocks)
        group = task // (tiles * row_blocks) % groups
        pixel = task // row_blocks % tiles * GATHERED
        first = task % row_blocks * rows
        last = min(first + rows, M)
        count = min(GATHERED, pixels - pixel)
        panel = np.empty((min(K, K_BLOCK), GATHERED + LINE), input.dtype)
        planes = input[n, group * group_C : (group + 1) * group_C]
        for k in range(0, K, K_BLOCK):
            depth = min(K_BLOCK, K - k)
            gather_patches(
                planes, k, depth, pixel, count, OW,
                weight.shape[2], weight.shape[3], stride, padding, dilation, panel,
            )  # fmt: skip
            outer_tile(
                flat_weight, group * matrix + first // ROWS * w_group + k * w_column,
                w_group, w_row, w_column,
                panel.reshape(-1), 0, panel_offsets,
                flat_out, n * OC * pixels + pixel, out_offsets, group * M + first,
                bias, depth, last - first, count,
                k > 0, 0.0 if relu and k + K_BLOCK >= K else -np.inf, np.inf,
            )  # fmt: skip


@device
def gather_patches(
    planes, first, depth, pixel, count, OW, KH, KW, stride, padding, dilation, panel
):
    """panel[k, j] = the input value that tap ``first + k`` sees at output pixel ``pixel + j``.

    ``planes`` (C, H, W) are the channels of one image and group; taps count channel by channel,
    row by row, output pixels row by row with ``OW`` in a row; k < ``depth``, j < ``count``.
    """
    H, W = planes.shape[1:]
    flat, flat_panel = planes.reshape(-1), panel.reshape(-1)
    same_width = OW == W and stride[0] == stride[1] == 1
    y, x = divmod(pixel, OW)
    # The output columns [inside, outside) are those whose input column lies in the image.
    inside, outside = np.empty(KW, np.int64), np.empty(KW, np.int64)
    for j in range(KW):
        inside[j], outside[j] = visible(W, j * dilation[1] - padding[1], stride[1], OW)
    c, tap = divmod(first, KH * KW)
    i, j = divmod(tap, KW)
    for k in range(depth):
        row, shift = y * stride[0] + i * dilation[0] - padding[0], j * dilation[1] - padding[1]
        at = k * panel.shape[1]
        if same_width:
            # Rows follow each other in the image as they do in the output: fetch all at once,
            # then wipe what was taken from beyond the end of a row.
            source = row * W + x
            low, high = max(-source, -source - shift), min(H * W - source, H * W - source - shift)
            copy_rows(flat, c * H * W + source + shift, 0, low, high,
                      flat_panel, at, 0, count, 1)  # fmt: skip
            wipe_columns(flat_panel, at, count, x, OW, 0, inside[j])
            wipe_columns(flat_panel, at, count, x, OW, outside[j], OW)
        else:
            done, start = 0, x
            while done < count:
                length = min(OW - start, count - done)
                low, high = (inside[j] - start, outside[j] - start) if 0 <= row < H else (0, 0)
                source = (c * H + row) * W + start * stride[1] + shift
                fetch_rows(flat, source, 0, stride[1], low, high,
                           flat_panel, at + done, 0, length, 1)  # fmt: skip
                done += length
                row, start = row + stride[0], 0
        j += 1
        if j == KW:
            i, j = i + 1, 0
            if i == KH:
                c, i = c + 1, 0


@device
def wipe_columns(panel, at, count, x, OW, first, last):
    """Zero the columns [first, last) of all rows of ``count`` pixels that begin in column x."""
    for row_start in range(-x if last > first else count, count, OW):
        for i in range(max(row_start + first, 0), min(row_start + last, count)):
            panel[at + i] = 0


def conv2d_grad_weight_reference(input, grad_output, grad_weight, stride, padding, dilation):
    """Output gradient times patch matrix transposed, summed over images."""
    N, OC, OH, OW = grad_output.shape
    K = math.prod(grad_weight.shape[1:])
    groups = input.shape[1] // grad_weight.shape[1]
    kernel_size = grad_weight.shape[2:]
    patches = unfold(input, kernel_size, (OH, OW), stride, padding, dilation)
    patches = patches.reshape(N, groups, K, OH * OW).transpose(0, 1, 3, 2)
    products = grad_output.reshape(N, groups, OC // groups, OH * OW) @ patches
    grad_weight[:] = products.sum(0).reshape(grad_weight.shape)


@kernel(twin=conv2d_grad_weight_reference)
def conv2d_grad_weight(input, grad_output, grad_weight, stride, padding, dilation):
    """Fill ``grad_weight`` (OC, C / groups, KH, KW) from ``input`` and ``grad_output``.

    grad_weight[o, k] = sum over images and pixels of grad_output[n, o, p] patch[n, k, p].
    A task owns a block of taps k and gathers their patches, some hundred pixels at a time; as in
    ``matmul_transposed``, few taps make the pixels be summed in sections.
    """
    N, OC, OH, OW = grad_output.shape
    KH, KW = grad_weight.shape[2:]
    C, group_C = input.shape[1], grad_weight.shape[1]
    groups, K = C // group_C, group_C * KH * KW
    M, pixels = OC // groups, OH * OW
    flat_grad = grad_output.reshape(-1)
    column_blocks = ceil_div(K, DOT_N_BLOCK)
    blocks = groups * column_blocks
    together, depth, stretches = stretches_of(N, pixels)
    sections = sections_of(stretches, blocks)
    partial = np.empty((sections if sections > 1 else 0, OC, K), input.dtype)
    zeros = multiples(0, DOT_N_BLOCK)
    grad_offsets = multiples(pixels, OC)
    panel_offsets = multiples(depth, DOT_N_BLOCK)
    for task in prange(sections * blocks):
        section = task // blocks
        group = task // column_blocks % groups
        k = task % column_blocks * DOT_N_BLOCK
        taps = min(DOT_N_BLOCK, K - k)
        panel = np.empty((together, taps, depth), input.dtype)
        total = partial[section] if sections > 1 else grad_weight.reshape(OC, K)
        target = total[group * M : (group + 1) * M, k : k + taps]
        start_sums(target, zeros, True)
        first, last = section * stretches // sections, (section + 1) * stretches // sections
        for stretch in range(first, last):
            n, images, pixel, count = stretch_at(stretch, N, pixels, together, depth)
            for image in range(images):
                planes = input[n + image, group * group_C : (group + 1) * group_C]
                gather_patches(
                    planes, k, taps, pixel, count, OW, KH, KW, stride, padding, dilation,
                    panel[image],
                )  # fmt: skip
            add_dot_products(
                flat_grad, n * OC * pixels + pixel, OC * pixels, grad_offsets, group * M, M,
                panel.reshape(-1), 0, taps * depth, panel_offsets, 0, taps,
                count, images, total.reshape(-1), group * M * K + k, K,
            )  # fmt: skip
    if sections > 1:
        add_sections(partial, grad_weight.reshape(OC, K))


def turn_weights_reference(weight, turned):
    """Taps turned by 180 degrees, channels exchanged."""
    groups = turned.shape[0] // weight.shape[1]
    swapped = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    turned[:] = swapped[..., ::-1, ::-1].reshape(turned.shape)


@kernel(twin=turn_weights_reference)
def turn_weights(weight, turned):
    """What a gradient on its way back sees of ``weight`` (OC, C / groups, KH, KW).

    Fills ``turned`` (C, OC / groups, KH, KW) with turned[c, o, i, j] = weight[o, c, -i, -j].
    """
    C, group_OC, KH, KW = turned.shape
    group_C = weight.shape[1]
    for c in prange(C):
        first = c // group_C * group_OC
        for o in range(group_OC):
            for i in range(KH):
                for j in range(KW):
                    turned[c, o, i, j] = weight[first + o, c % group_C, KH - 1 - i, KW - 1 - j]


def conv2d_grad_input(grad_output, weight, grad_input, stride, padding, dilation):
    """Fill ``grad_input`` (N, C, H, W) from ``grad_output`` (N, OC, OH, OW).

    The gradient of a stride-1 convolution is itself a convolution, of the output gradient with
    the turned weights. With stride s an input row y meets only the taps i for which
    y + padding - i dilation is a multiple of s; that depends on y modulo s alone. So the input
    falls into s x s phases, each the stride-1 gradient of a smaller kernel.
    """
    C, H, W = grad_input.shape[1:]
    groups = C // weight.shape[1]
    bias = np.zeros(C, weight.dtype)
    for y in range(min(stride[0], H)):
        rows = phase_taps(y, weight.shape[2], stride[0], padding[0], dilation[0])
        for x in range(min(stride[1], W)):
            columns = phase_taps(x, weight.shape[3], stride[1], padding[1], dilation[1])
            phase = grad_input[:, :, y :: stride[0], x :: stride[1]]
            if rows is None or columns is None:
                phase[:] = 0
                continue
            taps = np.ascontiguousarray(weight[:, :, rows[0], columns[0]])
            turned = np.empty((C, len(weight) // groups, *taps.shape[2:]), weight.dtype)
            turn_weights(taps, turned)
            out = phase if phase.flags.c_contiguous else np.empty(phase.shape, phase.dtype)
            around, spacing = (rows[1], columns[1]), (rows[2], columns[2])
            conv2d_forward(grad_output, turned, bias, out, (1, 1), around, spacing, False)
            if out is not phase:
                phase[:] = out


def phase_taps(position, kernel_size, stride, padding, dilation):
    """Along one axis: (slice of taps, padding, dilation) of the phase ``position``; None if empty.

    Tap i contributes where position + padding - i dilation is a multiple of the stride, which
    recurs every stride / gcd(stride, dilation) taps.
    """
    hits = [i for i in range(kernel_size) if (position + padding - i * dilation) % stride == 0]
    if not hits:
        return None
    step = stride // math.gcd(stride, dilation)
    phase_dilation = step * dilation // stride
    shift = (position + padding - hits[0] * dilation) // stride
    return slice(hits[0], None, step), (len(hits) - 1) * phase_dilation - shift, phase_dilation
