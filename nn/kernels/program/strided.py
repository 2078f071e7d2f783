"""Convolutions with a stride, of rows that are sorted by phase, perhaps pooled at once."""

from __future__ import annotations

import numpy as np

from nn.kernels.machine.addressed import addressed
from nn.kernels.machine.copy_rows import fetch_rows, visible
from nn.kernels.machine.jit import device
from nn.kernels.machine.register_blocks import ROWS, outer_tile
from nn.kernels.program.finish import finish, finish_reference
from nn.kernels.program.pooling import max_pool_reference, pool_rows
from nn.kernels.program.products import convolved
from nn.kernels.program.step import View


def strided_reference(view: View) -> None:
    """A convolution, and max pooling of its result if that is wanted."""
    step = view.step
    result = convolved(view, (step.middle_height, step.middle_width))
    if step.pooled:
        max_pool_reference(view, np.clip(result, step.low, step.high))
    else:
        finish_reference(view, result)


@addressed
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
    if step.pooled:
        first = max(0, top * step.pool_stride_y - step.pool_padding_y)
        last = (bottom - 1) * step.pool_stride_y - step.pool_padding_y
        last += (step.pool_kernel_height - 1) * step.pool_dilation_y + 1
        last = max(first, min(step.middle_height, last))
    width = step.middle_width
    pitch = sort_by_phase(step, n, first, last - first, places, source, work)
    K = step.kernel_height * step.kernel_width * step.channels
    taps, middle = places[step.taps :], places[step.taps + K :]
    result = work if step.pooled else arena
    for m in range(0, step.outputs, ROWS):
        planes = middle if step.pooled else places[step.target + m :]
        result_at = 0 if step.pooled else n * step.target_image + first * width
        count = min(ROWS, step.outputs - m)
        for y in range(last - first):
            outer_tile(
                weights, step.weight + m * K, 0, 1, ROWS, work, y * pitch, taps, result,
                result_at + y * width, planes, 0, weights[step.bias + m :], K, count, width,
                False, step.low, step.high,
            )  # fmt: skip
        if step.pooled:
            for r in range(count):
                target = places[step.target + m + r] + n * step.target_image
                pool_rows(step, work, middle[r], first, work, middle[ROWS],
                          arena, target, top, bottom)  # fmt: skip
        elif step.goes_on:
            pixels = (last - first) * width
            finish(step, n, m, m + count, first * width, pixels, places, arena)


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
            top = first * step.stride_y + p - step.padding_y
            for q in range(step.stride_x):
                fetch_seen(step, image, top, q - step.padding_x, rows, width, source, work, at)
                at += step.held * width
    return width


@device
def fetch_seen(step, image, top, left, rows, width, source, target, at):
    """target[at + y width + x] = the image's pixel (y stride_y + top, x stride_x + left), or 0."""
    above, below = visible(step.height, top, step.stride_y, rows)
    low, high = visible(step.width, left, step.stride_x, width)
    target[at : at + above * width] = 0
    target[at + below * width : at + rows * width] = 0
    fetch_rows(
        source, image + (above * step.stride_y + top) * step.width + left,
        step.stride_y * step.width, step.stride_x, low, high, target,
        at + above * width, width, width, below - above,
    )  # fmt: skip
