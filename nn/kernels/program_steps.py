"""The steps that ``nn.kernels.program`` runs: each function here does one task of one step.

Legend: ``step`` is a row of the table, ``task`` the number of the task within the step, ``places``
the lists of planes and taps. Pixels count along the pitched rows of the target: pixel
y * out_pitch + x. The NumPy twins, and what each field of a step means, are in
``nn.kernels.program_twins``.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.copy_rows import copy_seen, fetch_rows, visible
from nn.kernels.jit import device
from nn.kernels.matmul import K_BLOCK, TILE
from nn.kernels.register_blocks import (
    COLUMNS,
    DOT_ROWS,
    ROWS,
    dot_block,
    make_outer_block,
    outer_block,
)
from nn.kernels.simd import LANES
from nn.kernels.window_max import window_max, window_max_by

ROW_VECTORS = 4  # of a block one row high: enough sums for the multiplier never to wait for one
ROW_COLUMNS = ROW_VECTORS * LANES
row_block = make_outer_block(1, ROW_VECTORS)

# Kinds of steps.
POINTWISE, CONVOLUTION, POINTWISE_MAX_POOL, DEPTHWISE, STRIDED_DEPTHWISE = range(5)
SORT_BY_PHASE, MAX_POOL, MEAN, LINEAR = range(5, 9)


@device
def do_task(step, task, places, weights, image, arena, work):
    source = image if step.external else arena
    if step.kind <= CONVOLUTION:
        convolve(step, task, places, weights, source, arena, work)
    elif step.kind == POINTWISE_MAX_POOL:
        pointwise_max_pool(step, task, places, weights, arena, work)
    elif step.kind == DEPTHWISE:
        depthwise(step, task, places, weights, arena)
    elif step.kind == STRIDED_DEPTHWISE:
        strided_depthwise(step, task, places, weights, arena, work)
    elif step.kind == SORT_BY_PHASE:
        sort_by_phase(step, task, places, source, arena)
    elif step.kind == MAX_POOL:
        max_pool(step, task, places, source, arena)
    elif step.kind == MEAN:
        mean(step, task, places, arena)
    else:
        linear(step, task, places, weights, arena)


@device
def convolve(step, task, places, weights, source, arena, panel):
    """A tile of TILE output pixels of ``rows`` channels: target = weight * patches + bias.

    The patches of a pointwise convolution are the source's planes themselves; those of any other
    are gathered into ``panel`` (K_BLOCK, TILE). K counts tap by tap, channels within, so taps that
    see only zeros above or below the image are left out as a whole.
    """
    n = task // (step.tiles * step.row_blocks)
    pixel = task // step.row_blocks % step.tiles * TILE
    first = task % step.row_blocks * step.rows
    last = min(first + step.rows, step.outputs)
    count = min(TILE, step.out_height * step.out_pitch - pixel)
    image_at = n * step.source_image
    target_at = n * step.target_image + pixel
    depth_of_tap_row = step.kernel_width * step.channels
    K = step.kernel_height * depth_of_tap_row
    begin, end = 0, K
    if step.kind == CONVOLUTION:
        above, below = tap_rows(
            step, pixel // step.out_pitch, (pixel + count - 1) // step.out_pitch
        )
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
    wipe_borders(step, places, arena, target_at - pixel, first, last, pixel, count)


@device
def tap_rows(step, top, bottom):
    """The range of kernel rows that see the image from any of the output rows top..bottom."""
    first, last = 0, step.kernel_height
    while first < last and bottom * step.stride_y + first * step.dilation_y < step.padding_y:
        first += 1
    limit = step.height + step.padding_y
    while last > first and top * step.stride_y + (last - 1) * step.dilation_y >= limit:
        last -= 1
    return first, last


@device
def wipe_borders(step, places, arena, at, first, last, pixel, count):
    """Make the pixels between two rows zero again, in a stretch of some planes of the target."""
    if not step.wipe:
        return
    for column in range(step.out_width, step.out_pitch):
        for i in range(pixel + (column - pixel) % step.out_pitch, pixel + count, step.out_pitch):
            for m in range(step.target + first, step.target + last):
                arena[places[m] + at + i] = 0


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
            start = plane + pixel + down * step.pitch + right
            copy_seen(source, start, panel, r * TILE, seen)
        else:
            gather_strided(step, plane, down, right, pixel, count, source, panel, r * TILE)
        channel = (channel + 1) % step.channels


@device
def pixels_seen(step, down, right, pixel, count):
    """Bit x: does output pixel ``pixel`` + x see the image through a tap so far down and right?"""
    seen = 0
    y, x = divmod(pixel, step.out_pitch)
    for bit in range(count):
        inside = 0 <= y + down < step.height and 0 <= x + right < step.width
        seen |= np.int64(inside and x < step.out_width) << bit
        x += 1
        if x == step.out_pitch:
            x, y = 0, y + 1
    return seen


@device
def gather_strided(step, plane, down, right, pixel, count, source, panel, at):
    """The same for one tap of any stride: row by row."""
    inside, outside = visible(step.width, right, step.stride_x, step.out_width)
    y, x = divmod(pixel, step.out_pitch)
    done = 0
    while done < count:
        length = min(step.out_pitch - x, count - done)
        row = y * step.stride_y + down
        low, high = (inside - x, outside - x) if 0 <= row < step.height else (0, 0)
        start = plane + row * step.pitch + x * step.stride_x + right
        fetch_rows(source, start, 0, step.stride_x, low, high, panel, at + done, 0, length, 1)
        done += length
        x, y = 0, y + 1


@device
def depthwise(step, task, places, weights, arena):
    """Some planes of a depthwise convolution that keeps the size: ``rows`` of them a task."""
    taps = places[step.taps + 1 :]
    number = places[step.taps]
    length = step.out_height * step.out_pitch
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        source = places[step.source + c] + n * step.source_image
        target = n * step.target_image
        for x in range(0, length, ROW_COLUMNS):
            row_block(
                weights, step.weight + c * number, 0, 1, arena, source + x, taps,
                arena, target + x, places[step.target :], c, weights[step.bias :],
                number, 1, min(ROW_COLUMNS, length - x), False, step.relu,
            )  # fmt: skip
        wipe_borders(step, places, arena, target, c, c + 1, 0, length)


@device
def strided_depthwise(step, task, places, weights, arena, work):
    """Some planes of a depthwise convolution that leaves out pixels.

    The rows that are wanted are computed in full, because neighbours in memory make a vector; then
    every second number of them is kept. Cheaper than gathering every second number of nine taps.
    """
    taps = places[step.taps + 1 :]
    number = places[step.taps]
    length = (step.out_width - 1) * step.stride_x + 1
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        source = places[step.source + c] + n * step.source_image
        for y in range(step.out_height):
            row = source + y * step.stride_y * step.pitch
            for x in range(0, length, ROW_COLUMNS):
                row_block(
                    weights, step.weight + c * number, 0, 1, arena, row + x, taps,
                    work, y * length + x, places, 0, weights[step.bias + c :],
                    number, 1, min(ROW_COLUMNS, length - x), False, step.relu,
                )  # fmt: skip
        target = places[step.target + c] + n * step.target_image
        fetch_rows(work, 0, length, step.stride_x, 0, step.out_width,
                   arena, target, step.out_pitch, step.out_width, step.out_height)  # fmt: skip
        wipe_borders(step, places, arena, n * step.target_image, c, c + 1, 0,
                     step.out_height * step.out_pitch)  # fmt: skip


@device
def sort_by_phase(step, task, places, source, arena):
    """Sort some planes: rows and columns 0, s, 2s, ... to one plane, 1, s + 1, ... to the next.

    Plane (p, q) of the target's stride_y x stride_x for each channel is
    source[y stride_y + p - padding_y, x stride_x + q - padding_x], zero beyond the source's edge.
    There, the taps of a convolution with that stride are at the same distance from every output
    pixel: it becomes a sum over planes like any pointwise convolution.
    """
    width, height = step.out_pitch, step.out_height
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        image = places[step.source + c] + n * step.source_image
        phase = step.target + c * step.stride_y * step.stride_x
        for p in range(step.stride_y):
            shift = p - step.padding_y
            first, last = visible(step.height, shift, step.stride_y, height)
            for q in range(step.stride_x):
                left = q - step.padding_x
                low, high = visible(step.width, left, step.stride_x, width)
                at = places[phase] + n * step.target_image
                arena[at : at + first * width] = 0
                arena[at + last * width : at + height * width] = 0
                fetch_rows(
                    source, image + (first * step.stride_y + shift) * step.pitch + left,
                    step.stride_y * step.pitch, step.stride_x, low, high, arena,
                    at + first * width, width, width, last - first,
                )  # fmt: skip
                phase += 1


@device
def max_pool(step, task, places, source, arena):
    """Some planes of max pooling."""
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        at = places[step.source + c] + n * step.source_image
        target = places[step.target + c] + n * step.target_image
        pool_rows(step, source, at, 0, arena, target, 0, step.out_height)
        wipe_borders(step, places, arena, n * step.target_image, c, c + 1, 0,
                     step.out_height * step.out_pitch)  # fmt: skip


@device
def pool_rows(step, source, at, first, arena, target, top, bottom):
    """Output rows top..bottom - 1 of a plane of max pooling; ``source[at]`` begins row ``first``.

    Windows that lie inside the image go together, those at its two sides one by one.
    """
    reach = (step.kernel_width - 1) * step.dilation_x
    left = min(-(-step.padding_x // step.stride_x), step.out_width)
    right = (step.width - 1 - reach + step.padding_x) // step.stride_x + 1
    right = max(left, min(right, step.out_width))
    for y in range(top, bottom):
        above, below = tap_rows(step, y, y)
        row = y * step.stride_y + above * step.dilation_y - step.padding_y
        row_at = at + (row - first) * step.pitch
        row_step, out = step.dilation_y * step.pitch, target + y * step.out_pitch
        window_max_by(
            step.stride_x, source, row_at + left * step.stride_x - step.padding_x, below - above,
            row_step, step.kernel_width, step.dilation_x, arena, out + left, right - left,
        )  # fmt: skip
        for x in range(step.out_width):
            if left <= x < right:
                continue
            column = x * step.stride_x - step.padding_x
            skipped = max(0, -(column // step.dilation_x)) if column < 0 else 0
            column += skipped * step.dilation_x
            seen = min(
                step.kernel_width - skipped, (step.width - 1 - column) // step.dilation_x + 1
            )
            window_max(source, row_at + column, below - above, row_step, max(0, seen),
                       step.dilation_x, arena, out + x, 1)  # fmt: skip


@device
def pointwise_max_pool(step, task, places, weights, arena, work):
    """``rows`` rows of max pooling after a pointwise convolution.

    The rows of the convolution that they need are computed into working memory and pooled while
    they are still in the cache; those at the seam of two tasks are computed twice. ``height``,
    ``width`` and ``pitch`` are the convolution's output; ``taps`` lists where its planes begin in
    ``work``.
    """
    n, band = divmod(task, step.tiles)
    top = band * step.rows
    bottom = min(top + step.rows, step.out_height)
    first = max(0, top * step.stride_y - step.padding_y)
    reach = (step.kernel_height - 1) * step.dilation_y + 1
    last = max(first, min(step.height, (bottom - 1) * step.stride_y - step.padding_y + reach))
    size, at = (last - first) * step.pitch, n * step.source_image + first * step.pitch
    planes = places[step.taps :]
    for x in range(0, size, COLUMNS):
        for m in range(0, step.outputs, ROWS):
            outer_block(
                weights, step.weight + m * step.channels, 1, ROWS,
                arena, at + x, places[step.source :], work, x, planes, m, weights[step.bias :],
                step.channels, min(ROWS, step.outputs - m), min(COLUMNS, size - x),
                False, step.relu,
            )  # fmt: skip
    for c in range(step.outputs):
        target = places[step.target + c] + n * step.target_image
        pool_rows(step, work, planes[c], first, arena, target, top, bottom)
        wipe_borders(step, places, arena, n * step.target_image, c, c + 1, top * step.out_pitch,
                     (bottom - top) * step.out_pitch)  # fmt: skip


@device
def mean(step, task, places, arena):
    """The mean of some planes; the result is a row of numbers for each image."""
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        at = places[step.source + c] + n * step.source_image
        # Eight sums side by side, so that no addition has to wait for the one before. What lies
        # between the rows is zero.
        sums = np.zeros(8, np.float64)
        pixels = arena[at : at + step.height * step.pitch]
        for x in range(0, pixels.size - 7, 8):
            for i in range(8):
                sums[i] += pixels[x + i]
        for x in range(pixels.size - pixels.size % 8, pixels.size):
            sums[0] += pixels[x]
        total = sums.sum() / (step.height * step.width)
        arena[places[step.target] + n * step.target_image + c] = total


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
