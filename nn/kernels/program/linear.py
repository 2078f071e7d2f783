"""Fully connected layers: every output sees all numbers of an image."""

from __future__ import annotations

from nn.kernels.machine.jit import device
from nn.kernels.machine.register_blocks import DOT_COLUMNS, DOT_ROWS, dot_block
from nn.kernels.program.finish import ADD, ALONE, apply_function, finish_reference, scale_shift
from nn.kernels.program.step import View


def linear_reference(view: View) -> None:
    step, x = view.step, view.source.reshape(-1)
    weight = view.array(step.weight, step.outputs, x.size)
    result = weight @ x + view.array(step.bias, step.outputs)
    finish_reference(view, result[:, None, None])


@device
def linear(step, task, places, weights, source, arena, work):
    """``rows`` outputs for DOT_COLUMNS images, whose numbers are brought together first."""
    first = task % step.row_blocks * step.rows
    last = min(first + step.rows, step.outputs)
    first_image = task // step.row_blocks * DOT_COLUMNS
    images = min(DOT_COLUMNS, step.images - first_image)
    pixels = step.height * step.width
    K = step.channels * pixels
    row_starts = places[step.taps :]  # the multiples of K
    for i in range(images):
        for c in range(step.channels):
            at = places[step.source + c] + (first_image + i) * step.source_image
            start = i * K + c * pixels
            for x in range(pixels):
                work[start + x] = source[at + x]
    # result[m - first, i]
    result = work[images * K :]
    for m in range(first, last):
        for i in range(DOT_COLUMNS):
            result[(m - first) * DOT_COLUMNS + i] = weights[step.bias + m]
    for m in range(first, last, DOT_ROWS):
        dot_block(
            weights, step.weight + m * K, 0, row_starts, 0, work, 0, 0, row_starts, 0, K, 1,
            result, (m - first) * DOT_COLUMNS, DOT_COLUMNS, min(DOT_ROWS, last - m), images,
        )  # fmt: skip
    count = (last - first) * DOT_COLUMNS
    scale_shift(result, 0, result, 0, 1, 0, step.low, step.high, result, 0, count)
    if step.goes_on:
        if step.join != ALONE:
            join_numbers(step, first, last, first_image, images, places, arena, result)
        apply_function(step.function, result, 0, result, 0, step.slope, 0, step.last_low,
                       step.last_high, result, 0, count)  # fmt: skip
    for i in range(images):
        image = (first_image + i) * step.target_image
        for m in range(first, last):
            arena[places[step.target + m] + image] = result[(m - first) * DOT_COLUMNS + i]


@device
def join_numbers(step, first, last, first_image, images, places, arena, result):
    """``finish`` for planes of one pixel."""
    for i in range(images):
        for m in range(first, last):
            at = places[step.second + m] + (first_image + i) * step.second_image
            place = (m - first) * DOT_COLUMNS + i
            if step.join == ADD:
                result[place] += arena[at]
            else:
                result[place] *= arena[at]
