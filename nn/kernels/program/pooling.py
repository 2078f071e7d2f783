"""Pooling: the largest of each window, the mean of each window and of whole planes."""

from __future__ import annotations

import numpy as np

from nn.kernels.machine.addressed import addressed
from nn.kernels.machine.jit import device
from nn.kernels.machine.register_blocks import make_dot_block
from nn.kernels.machine.window_max import window_max, window_max_by
from nn.kernels.pooling import avg_pool2d_forward_reference, max_pool2d_forward_reference
from nn.kernels.program.finish import multiply
from nn.kernels.program.planes import weigh_centred
from nn.kernels.program.products import tap_rows
from nn.kernels.program.step import View

MEANS = 8  # planes that are summed side by side
mean_block = make_dot_block(1, MEANS)


def max_pool_reference(view: View, input=None) -> None:
    """The largest value under each window; the padding never wins."""
    step = view.step
    input = view.source if input is None else input
    out = np.empty((len(input), step.out_height, step.out_width), input.dtype)
    kernel_size = step.pool_kernel_height, step.pool_kernel_width
    indices = np.empty(out.shape, np.int32)
    max_pool2d_forward_reference(input, kernel_size, *view.spacing("pool_"), out, indices)
    view.put(out)


@addressed
def max_pool(step, task, places, weights, source, arena, work):
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


def mean_reference(view: View) -> None:
    view.put(view.source.mean((1, 2), dtype=np.float64, keepdims=True))


@addressed
def mean(step, task, places, weights, source, arena, work):
    """The means of some planes, as products with a row of 1 / pixels."""
    first, last = task * step.rows, min((task + 1) * step.rows, step.channels)
    for n in range(step.images):
        for c in range(first, last, MEANS):
            count = min(MEANS, last - c)
            work[:count] = 0
            mean_block(
                weights, step.weight, 0, places, 0,
                source, n * step.source_image, 0, places, step.source + c,
                step.height * step.width, 1,
                work, 0, 1, 1, count,
            )  # fmt: skip
            for r in range(count):
                arena[places[step.target + c + r] + n * step.target_image] = work[r]


def average_reference(view: View) -> None:
    """Windows are lists of (first, end) rows and columns; ``weights`` has 1 / numbers in each."""
    step = view.step
    OH, OW = step.out_height, step.out_width
    ends = view.places[step.taps :][: 2 * (OH + OW)].reshape(-1, 2)
    out = np.empty((step.outputs, OH, OW), view.arena.dtype)
    divisor = 1 / view.array(step.weight, OH, OW)
    avg_pool2d_forward_reference(view.source, ends[:OH], ends[OH:], divisor, out)
    view.put(out)


@addressed
def average(step, task, places, weights, source, arena, work):
    """Some planes of the means of windows: the sums of their columns first, in ``work``.

    If the window is that of a stencil (its 0 and its taps, 1 each, are the ``bias``), it does it.
    """
    OH, OW, width = step.out_height, step.out_width, step.width
    ends = places[step.taps :]
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        at = places[step.source + c] + n * step.source_image
        target = places[step.target + c] + n * step.target_image
        if step.centred:
            weigh_centred(step, source, at, weights, step.bias + 1, step.bias, arena, target)
            multiply(arena, target, weights, step.weight, 0.0, 0.0, -np.inf, np.inf,
                     arena, target, OH * OW)  # fmt: skip
            continue
        for y in range(OH):
            line = work[:width]
            line[:] = 0
            for row in range(ends[2 * y], ends[2 * y + 1]):
                pixels = source[at + row * width : at + (row + 1) * width]
                for x in range(width):
                    line[x] += pixels[x]
            for x in range(OW):
                total = line[0] * 0
                for column in range(ends[2 * (OH + x)], ends[2 * (OH + x) + 1]):
                    total += line[column]
                arena[target + y * OW + x] = total * weights[step.weight + y * OW + x]
