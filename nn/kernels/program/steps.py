"""The steps that ``interpreter`` runs: each function here does one task of one step.

Legend: ``step`` is a row of the table, ``task`` the number of the task within the step, ``places``
the lists of planes and taps. Pixels count along the rows of the target: pixel y * out_width + x.
The NumPy twins, and what each field of a step means, are in ``nn.kernels.program.twins``.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.depthwise import phase_size, spread, tap_offsets, weighted_sum
from nn.kernels.machine.copy_rows import copy_rows, copy_seen, fetch_rows, visible
from nn.kernels.machine.jit import device
from nn.kernels.machine.register_blocks import (
    COLUMNS,
    DOT_ROWS,
    ROWS,
    dot_block,
    make_dot_block,
    outer_block,
)
from nn.kernels.machine.window_max import window_max, window_max_by
from nn.kernels.matmul import K_BLOCK, TILE
from nn.kernels.stencil import weigh, weigh_by_two
from nn.kernels.winograd import winograd, winograd_input

MEANS = 8  # planes that are summed side by side
mean_block = make_dot_block(1, MEANS)

# Kinds of steps; STENCIL is the depthwise convolution of ``nn.kernels.stencil``, the last two are
# those of ``nn.kernels.winograd``.
POINTWISE, CONVOLUTION, STRIDED, STRIDED_MAX_POOL, STENCIL, DEPTHWISE = range(6)
MAX_POOL, MEAN, LINEAR, WINOGRAD_INPUT, WINOGRAD = range(6, 11)


@device
def do_task(step, task, places, weights, image, arena, work):
    source = image if step.external else arena
    if step.kind <= CONVOLUTION:
        convolve(step, task, places, weights, source, arena, work)
    elif step.kind <= STRIDED_MAX_POOL:
        strided(step, task, places, weights, source, arena, work)
    elif step.kind == STENCIL:
        stencil(step, task, places, weights, source, arena)
    elif step.kind == DEPTHWISE:
        depthwise(step, task, places, weights, source, arena, work)
    elif step.kind == MAX_POOL:
        max_pool(step, task, places, source, arena, work)
    elif step.kind == MEAN:
        mean(step, task, places, weights, arena)
    elif step.kind == LINEAR:
        linear(step, task, places, weights, arena)
    elif step.kind == WINOGRAD_INPUT:
        winograd_input(step, task, places, source, arena, work)
    else:
        winograd(step, task, places, weights, arena, work)


@device
def convolve(step, task, places, weights, source, arena, panel):
    """A tile of ``tile`` output pixels of ``rows`` channels: target = weight * patches + bias.

    The patches of a pointwise convolution are the source's planes themselves; those of any other
    are gathered into ``panel`` (K_BLOCK, TILE). K counts tap by tap, channels within, so taps that
    see only zeros above or below the image are left out as a whole.
    """
    n = task // (step.tiles * step.row_blocks)
    pixel = task // step.row_blocks % step.tiles * step.tile
    first = task % step.row_blocks * step.rows
    last = min(first + step.rows, step.outputs)
    count = min(step.tile, step.out_height * step.out_width - pixel)
    image_at = n * step.source_image
    target_at = n * step.target_image + pixel
    depth_of_tap_row = step.kernel_width * step.channels
    K = step.kernel_height * depth_of_tap_row
    begin, end = 0, K
    if step.kind == CONVOLUTION:
        above, below = tap_rows(
            pixel // step.out_width, (pixel + count - 1) // step.out_width, step.height,
            step.kernel_height, step.stride_y, step.padding_y, step.dilation_y,
        )  # fmt: skip
        begin, end = above * depth_of_tap_row, below * depth_of_tap_row
    target = places[step.target :]
    bias = weights[step.bias :]
    for k in range(begin, max(end, begin + 1), K_BLOCK):
        depth = min(K_BLOCK, end - k)
        if step.kind == POINTWISE:
            rows_of_b, at, b_offsets = source, image_at + pixel, places[step.source + k :]
        else:
            gather(step, k, depth, pixel, count, image_at, places, source, panel)
            rows_of_b, at, b_offsets = panel, 0, places
        for x in range(0, count, COLUMNS):
            for m in range(first, last, ROWS):
                outer_block(
                    weights, step.weight + m * K + k * ROWS, 1, ROWS, rows_of_b, at + x, b_offsets,
                    arena, target_at + x, target, m, bias, depth, min(ROWS, last - m),
                    min(COLUMNS, count - x), k > begin or step.accumulate,
                    step.relu and k + K_BLOCK >= end,
                )  # fmt: skip


@device
def tap_rows(top, bottom, height, kernel, stride, padding, dilation):
    """The range of a window's rows that see the image from any of the output rows top..bottom."""
    first, last = 0, kernel
    while first < last and bottom * stride + first * dilation < padding:
        first += 1
    while last > first and top * stride + (last - 1) * dilation >= height + padding:
        last -= 1
    return first, last


@device
def gather(step, k, depth, pixel, count, image_at, places, source, panel):
    """panel[r] = what tap ``k`` + r (tap by tap, channels within) sees at ``count`` pixels."""
    channel = k % step.channels
    for r in range(depth):
        if r == 0 or channel == 0:
            tap, channel = divmod(k + r, step.channels)
            i, j = divmod(tap, step.kernel_width)
            down = i * step.dilation_y - step.padding_y
            right = j * step.dilation_x - step.padding_x
            seen = pixels_seen(step, down, right, pixel, count)
        plane = places[step.source + channel] + image_at
        if step.flat:
            # Pixels follow each other as in the output; only what is beyond the image is left out.
            start = plane + pixel + down * step.width + right
            copy_seen(source, start, panel, r * TILE, seen)
        else:
            gather_strided(step, plane, down, right, pixel, count, source, panel, r * TILE)
        channel = (channel + 1) % step.channels


@device
def pixels_seen(step, down, right, pixel, count):
    """Bit x: does output pixel ``pixel`` + x see the image through a tap so far down and right?"""
    seen = 0
    y, x = divmod(pixel, step.out_width)
    for bit in range(count):
        seen |= np.int64(0 <= y + down < step.height and 0 <= x + right < step.width) << bit
        x += 1
        if x == step.out_width:
            x, y = 0, y + 1
    return seen


@device
def gather_strided(step, plane, down, right, pixel, count, source, panel, at):
    """The same for one tap of any stride: row by row."""
    inside, outside = visible(step.width, right, step.stride_x, step.out_width)
    y, x = divmod(pixel, step.out_width)
    done = 0
    while done < count:
        length = min(step.out_width - x, count - done)
        row = y * step.stride_y + down
        low, high = (inside - x, outside - x) if 0 <= row < step.height else (0, 0)
        start = plane + row * step.width + x * step.stride_x + right
        fetch_rows(source, start, 0, step.stride_x, low, high, panel, at + done, 0, length, 1)
        done += length
        x, y = 0, y + 1


@device
def stencil(step, task, places, weights, source, arena):
    """Some planes of a depthwise convolution with 3 x 3 taps, padding 1 and stride 1 or 2."""
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        at = places[step.source + c] + n * step.source_image
        target = places[step.target + c] + n * step.target_image
        if step.stride_x == 1:
            weigh(source, at, step.height, step.width, weights, step.weight + 9 * c,
                  weights, step.bias + c, arena, target, step.out_height, step.out_width,
                  step.relu)  # fmt: skip
        else:
            weigh_by_two(source, at, step.height, step.width, weights, step.weight + 9 * c,
                         weights, step.bias + c, arena, target, step.out_height, step.out_width,
                         step.relu)  # fmt: skip


@device
def depthwise(step, task, places, weights, source, arena, work):
    """Some planes of any other depthwise convolution, as ``nn.kernels.depthwise`` does them."""
    stride = step.stride_y, step.stride_x
    padding, dilation = (step.padding_y, step.padding_x), (step.dilation_y, step.dilation_x)
    KH, KW, OH, OW = step.kernel_height, step.kernel_width, step.out_height, step.out_width
    height, width = phase_size(OH, OW, KH, KW, stride, dilation)
    offsets = tap_offsets(KH, KW, height, width, stride, dilation)
    order = np.arange(KH * KW)
    result = work[stride[0] * stride[1] * height * width :]
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        at = places[step.source + c] + n * step.source_image
        pixels = source[at : at + step.height * step.width].reshape(step.height, step.width)
        spread(pixels, stride, padding, height, width, work)
        weighted_sum(
            weights[step.weight + c * KH * KW :], order, KH * KW, work, 0, offsets,
            weights[step.bias + c :], result, 0, (OH - 1) * width + OW, step.relu,
        )  # fmt: skip
        target = places[step.target + c] + n * step.target_image
        copy_rows(result, 0, width, 0, OW, arena, target, OW, OW, OH)


@device
def strided(step, task, places, weights, source, arena, work):
    """A convolution with a stride, perhaps with max pooling, for ``rows`` rows of the target.

    What these rows see of the input is sorted by phase in working memory; there, every tap is at
    the same distance from all output pixels, and what is left is a product. If it is pooled, its
    result, ROWS planes at a time, stays in working memory too; rows at the seam of two tasks are
    computed twice. ``taps`` lists where the taps of output pixel (0, 0) lie in ``work``, then
    where these planes do, then where there is room for a line.
    """
    n, band = divmod(task, step.tiles)
    top = band * step.rows
    bottom = min(top + step.rows, step.out_height)
    first, last = top, bottom
    is_pooled = step.kind == STRIDED_MAX_POOL
    if is_pooled:
        first = max(0, top * step.pool_stride_y - step.pool_padding_y)
        last = (bottom - 1) * step.pool_stride_y - step.pool_padding_y
        last += (step.pool_kernel_height - 1) * step.pool_dilation_y + 1
        last = max(first, min(step.middle_height, last))
    width = step.middle_width
    pitch = sort_by_phase(step, n, first, last - first, places, source, work)
    K = step.kernel_height * step.kernel_width * step.channels
    taps, middle = places[step.taps :], places[step.taps + K :]
    result = work if is_pooled else arena
    for m in range(0, step.outputs, ROWS):
        planes = middle if is_pooled else places[step.target + m :]
        result_at = 0 if is_pooled else n * step.target_image + first * width
        count = min(ROWS, step.outputs - m)
        for y in range(last - first):
            for x in range(0, width, COLUMNS):
                outer_block(
                    weights, step.weight + m * K, 1, ROWS, work, y * pitch + x, taps,
                    result, result_at + y * width + x, planes, 0, weights[step.bias + m :],
                    K, count, min(COLUMNS, width - x), step.accumulate, step.relu,
                )  # fmt: skip
        if is_pooled:
            for r in range(count):
                target = places[step.target + m + r] + n * step.target_image
                pool_rows(step, work, middle[r], first, work, middle[ROWS],
                          arena, target, top, bottom)  # fmt: skip


@device
def sort_by_phase(step, n, first, rows, places, source, work):
    """Sort what ``rows`` rows of a convolution see, from row ``first`` on; the sorted rows' length.

    A channel becomes stride_y x stride_x planes: rows and columns 0, s, 2s, ... go to one, 1,
    s + 1, ... to the next. Plane (p, q) is source[y stride_y + p - padding_y,
    x stride_x + q - padding_x], zero beyond the edge; it has room for ``held`` rows.
    """
    rows += (step.kernel_height - 1) * step.dilation_y // step.stride_y
    width = step.middle_width + (step.kernel_width - 1) * step.dilation_x // step.stride_x
    at = 0
    for c in range(step.channels):
        image = places[step.source + c] + n * step.source_image
        for p in range(step.stride_y):
            shift = first * step.stride_y + p - step.padding_y
            above, below = visible(step.height, shift, step.stride_y, rows)
            for q in range(step.stride_x):
                left = q - step.padding_x
                low, high = visible(step.width, left, step.stride_x, width)
                work[at : at + above * width] = 0
                work[at + below * width : at + rows * width] = 0
                fetch_rows(
                    source, image + (above * step.stride_y + shift) * step.width + left,
                    step.stride_y * step.width, step.stride_x, low, high, work,
                    at + above * width, width, width, below - above,
                )  # fmt: skip
                at += step.held * width
    return width


@device
def max_pool(step, task, places, source, arena, work):
    """Some planes of max pooling."""
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        at = places[step.source + c] + n * step.source_image
        target = places[step.target + c] + n * step.target_image
        pool_rows(step, source, at, 0, work, 0, arena, target, 0, step.out_height)


@device
def pool_rows(step, source, at, first, line, line_at, arena, target, top, bottom):
    """Output rows top..bottom - 1 of a plane of max pooling; ``source[at]`` begins row ``first``.

    The largest number under a window is the largest of its columns' largest. Those of a row of
    windows are brought together in ``line``, where the padding is -inf.
    """
    padding, width = step.pool_padding_x, step.middle_width
    reach = (step.out_width - 1) * step.pool_stride_x
    reach += (step.pool_kernel_width - 1) * step.pool_dilation_x + 1
    line[line_at : line_at + max(reach, padding + width)] = -np.inf
    for y in range(top, bottom):
        above, below = tap_rows(
            y, y, step.middle_height, step.pool_kernel_height, step.pool_stride_y,
            step.pool_padding_y, step.pool_dilation_y,
        )  # fmt: skip
        row = y * step.pool_stride_y + above * step.pool_dilation_y - step.pool_padding_y
        window_max(source, at + (row - first) * width, below - above,
                   step.pool_dilation_y * width, line, line_at + padding, width)  # fmt: skip
        window_max_by(step.pool_stride_x, line, line_at, step.pool_kernel_width,
                      step.pool_dilation_x, arena, target + y * step.out_width,
                      step.out_width)  # fmt: skip


@device
def mean(step, task, places, weights, arena):
    """The means of some channels, as products with a row of 1 / pixels."""
    first, last = task * step.rows, min((task + 1) * step.rows, step.channels)
    for n in range(step.images):
        target = places[step.target] + n * step.target_image
        arena[target + first : target + last] = 0
        for c in range(first, last, MEANS):
            mean_block(
                weights, step.weight, 0, places, 0,
                arena, n * step.source_image, 0, places, step.source + c,
                step.height * step.width, 1,
                arena, target + c, 1, 1, min(MEANS, last - c),
            )  # fmt: skip


@device
def linear(step, task, places, weights, arena):
    """Some outputs of a fully connected layer, for all images: bias + weight x."""
    first, last = task * step.rows, min((task + 1) * step.rows, step.outputs)
    row_starts = places[step.taps :]  # the multiples of ``channels``
    for n in range(step.images):
        source = places[step.source] + n * step.source_image
        target = places[step.target] + n * step.target_image
        for m in range(first, last):
            arena[target + m] = weights[step.bias + m]
        for m in range(first, last, DOT_ROWS):
            dot_block(
                weights, step.weight + m * step.channels, 0, row_starts, 0,
                arena, source, 0, places, 0, step.channels, 1,
                arena, target + m, 1, min(DOT_ROWS, last - m), 1,
            )  # fmt: skip
