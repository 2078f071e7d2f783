"""Winograd's convolution (``nn.kernels.winograd``) as two steps of a network.

The first transforms the input, plane by plane; the second takes up to PITCH tiles of some outputs
through the 16 products and back to pixels.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.depthwise import spread, tap_offsets, weave, weighted_sum
from nn.kernels.machine.jit import device
from nn.kernels.machine.parts import ceil_div
from nn.kernels.machine.register_blocks import ROWS, outer_tile
from nn.kernels.matmul import PITCH
from nn.kernels.program.finish import finish, finish_reference
from nn.kernels.program.step import View
from nn.kernels.winograd import PLACES, A, B


def winograd_input_reference(view: View) -> None:
    """B^T d B of all tiles d, 4 x 4 pixels every 2 pixels."""
    step = view.step
    TH, TW = step.out_height, step.out_width
    canvas = np.zeros((step.channels, *(2 * size + 2 for size in (TH, TW))), view.arena.dtype)
    inside = canvas[:, step.padding_y :, step.padding_x :][:, : step.height, : step.width]
    inside[:] = view.source[:, : inside.shape[1], : inside.shape[2]]
    tiles = np.lib.stride_tricks.sliding_window_view(canvas, (4, 4), (1, 2))[:, ::2, ::2]
    view.put(np.einsum("ia,cyxij,jb->abcyx", B, tiles, B).reshape(-1, TH, TW))


def winograd_reference(view: View) -> None:
    """Y = A^T M A + bias, M the sum over channels of each place of the tiles."""
    step = view.step
    channels, groups = step.channels // PLACES, -(-step.outputs // ROWS)
    packed = view.array(step.weight, PLACES, groups, channels, ROWS).transpose(0, 1, 3, 2)
    weight = packed.reshape(4, 4, groups * ROWS, channels)[:, :, : step.outputs]
    tiles = view.source.reshape(4, 4, channels, step.height, step.width)
    products = np.einsum("aboc,abcyx->aboyx", weight, tiles)
    pixels = np.einsum("ai,aboyx,bj->oyixj", A, products, A)
    result = pixels.reshape(step.outputs, 2 * step.height, 2 * step.width)
    result = result[:, : step.out_height, : step.out_width]
    finish_reference(view, result + view.array(step.bias, step.outputs, 1, 1))


@device
def factors_of(matrix, i, j, distance, dtype):
    """What number (i, j) of ``matrix``^T X ``matrix`` takes from X: factors that are not 0, and
    where, places being ``distance`` apart."""
    factors, places = np.empty(PLACES, dtype), np.empty(PLACES, np.int64)
    count = 0
    for place in range(PLACES):
        factor = matrix[place // 4, i] * matrix[place % 4, j]
        if factor != 0:
            factors[count], places[count] = factor, place * distance
            count += 1
    return factors[:count], places[:count]


@device
def winograd_input(step, task, places, weights, source, arena, work):
    """B^T d B of all tiles of some planes: plane c becomes planes c, C + c, 2 C + c, ..."""
    height, width = step.out_height + 1, step.out_width
    offsets = tap_offsets(4, 4, height, width, (2, 2), (1, 1))
    order, zero = np.zeros(1, np.int64), np.zeros(1, arena.dtype)
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        at = places[step.source + c] + n * step.source_image
        pixels = source[at : at + step.height * step.width].reshape(step.height, step.width)
        spread(pixels, (2, 2), (step.padding_y, step.padding_x), height, width, work)
        for place in range(PLACES):
            factors, taps = factors_of(B, place // 4, place % 4, 1, arena.dtype)
            target = places[step.target + place * step.channels + c] + n * step.target_image
            weighted_sum(
                factors, order, factors.size, work, 0, offsets[taps], zero, arena, target,
                step.out_height * width - 1, -np.inf, np.inf,
            )  # fmt: skip


@device
def winograd(step, task, places, weights, source, arena, work):
    """A stretch of ``tile`` tiles of ``rows`` outputs: 16 products, then Y = A^T M A + bias."""
    n = task // (step.tiles * step.row_blocks)
    tile = task // step.row_blocks % step.tiles * step.tile
    first = task % step.row_blocks * step.rows
    last = min(first + step.rows, step.outputs)
    count = min(step.tile, step.height * step.width - tile)
    channels = step.channels // PLACES
    groups = ceil_div(step.outputs, ROWS)
    held = step.rows * PITCH  # numbers of M at one place
    zeros = np.zeros(step.rows, arena.dtype)
    for place in range(PLACES):
        planes = places[step.source + place * channels :]
        outer_tile(
            weights, step.weight + (place * groups + first // ROWS) * channels * ROWS,
            channels * ROWS, 1, ROWS, arena, n * step.source_image + tile, planes,
            work, place * held, places, 0, zeros, channels, last - first, count,
            False, -np.inf, np.inf,
        )  # fmt: skip
    pixels, order = work[PLACES * held :], np.zeros(1, np.int64)
    for i in range(2):
        for j in range(2):
            factors, taps = factors_of(A, i, j, held, arena.dtype)
            for m in range(first, last):
                weighted_sum(
                    factors, order, factors.size, work, (m - first) * PITCH, taps,
                    weights[step.bias + m :], pixels, ((m - first) * 4 + 2 * i + j) * PITCH,
                    count, step.low, step.high,
                )  # fmt: skip
    for m in range(first, last):
        store_tiles(step, n, m, tile, count, pixels[(m - first) * 4 * PITCH :], places, arena)


@device
def store_tiles(step, n, m, tile, count, pixels, places, arena):
    """Pixels (2, 2, PITCH) of ``count`` tiles to where they belong in a plane."""
    target = places[step.target + m] + n * step.target_image
    y, x = divmod(tile, step.width)
    done = 0
    while done < count:
        length = min(step.width - x, count - done)
        wide = max(0, min(2 * length, step.out_width - 2 * x))
        for i in range(min(2, step.out_height - 2 * y)):
            pixel = (2 * y + i) * step.out_width + 2 * x
            weave(pixels[i * 2 * PITCH + done :], PITCH, PITCH, arena, target + pixel,
                  step.out_width, wide, 1, 2)  # fmt: skip
            if step.goes_on:
                finish(step, n, m, m + 1, pixel, wide, places, arena)
        done += length
        x, y = 0, y + 1
