"""Fully connected layers: every output sees all numbers of an image.

A row of sums for COLUMNS outputs stays in registers, and the weights, of which each is used once an
image, pass by in the order in which they lie: nothing else asks as much of memory.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.depthwise import COLUMNS, row_block
from nn.kernels.machine.addressed import addressed
from nn.kernels.machine.jit import device
from nn.kernels.machine.parts import multiples
from nn.kernels.matmul import K_BLOCK
from nn.kernels.program.finish import ADD, ALONE, apply_function, finish_reference
from nn.kernels.program.step import View

IMAGES = 4  # that one task does: weights in the cache serve all of them


def linear_reference(view: View) -> None:
    """Weights are packed (OUT / COLUMNS, K, COLUMNS)."""
    step, x = view.step, view.source.reshape(-1)
    blocks = -(-step.outputs // COLUMNS)
    packed = view.array(step.weight, blocks, x.size, COLUMNS).transpose(0, 2, 1)
    weight = packed.reshape(-1, x.size)[: step.outputs]
    result = weight @ x + view.array(step.bias, step.outputs)
    finish_reference(view, result[:, None, None])


@addressed
def linear(step, task, places, weights, source, arena, work):
    """``rows`` outputs for IMAGES images, whose numbers are brought together first."""
    first = task % step.row_blocks * step.rows
    last = min(first + step.rows, step.outputs)
    first_image = task // step.row_blocks * IMAGES
    images = min(IMAGES, step.images - first_image)
    pixels = step.height * step.width
    K = step.channels * pixels
    numbers, numbers_at, image = work, 0, K
    if step.packed:
        image = step.source_image
        numbers, numbers_at = source, places[step.source] + first_image * image
    else:
        for i in range(images):
            for c in range(step.channels):
                at = places[step.source + c] + (first_image + i) * step.source_image
                start = i * K + c * pixels
                for x in range(pixels):
                    work[start + x] = source[at + x]
    result = work[images * K :]  # [i, m - first]
    for i in range(images):
        for m in range(first, last):
            result[i * step.rows + m - first] = weights[step.bias + m]
    rows = multiples(COLUMNS, K_BLOCK)
    for m in range(first, last, COLUMNS):
        count = min(COLUMNS, last - m)
        for k in range(0, K, K_BLOCK):
            low, high = (step.low, step.high) if k + K_BLOCK >= K else (-np.inf, np.inf)
            for i in range(images):
                row_block(
                    numbers, numbers_at + i * image + k, 1,
                    weights, step.weight + (m // COLUMNS * K + k) * COLUMNS, rows, result,
                    i * step.rows + m - first, places, 0, weights,
                    min(K_BLOCK, K - k), count, True, low, high,
                )  # fmt: skip
    for i in range(images):
        at = i * step.rows
        if step.goes_on:
            if step.join != ALONE:
                join_numbers(step, first, last, first_image + i, places, arena, result, at)
            apply_function(step.function, result, at, result, at, step.slope, 0.0, step.last_low,
                           step.last_high, result, at, last - first)  # fmt: skip
        for m in range(first, last):
            target = places[step.target + m] + (first_image + i) * step.target_image
            arena[target] = result[at + m - first]


@device
def join_numbers(step, first, last, n, places, arena, result, at):
    """The other operands, planes of one pixel."""
    for m in range(first, last):
        other = arena[places[step.second + m] + n * step.second_image]
        if step.join == ADD:
            result[at + m - first] += other
        else:
            result[at + m - first] *= other
