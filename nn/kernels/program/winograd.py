"""Winograd's convolution (``nn.kernels.winograd``) as two steps of a network.

The first transforms the input, plane by plane; the second takes up to PITCH tiles of some outputs
through the 16 products and back to pixels.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.machine.addressed import addressed
from nn.kernels.machine.copy_rows import copy_rows
from nn.kernels.machine.jit import device
from nn.kernels.machine.parts import ceil_div
from nn.kernels.machine.register_blocks import ROWS, outer_tile
from nn.kernels.matmul import PITCH
from nn.kernels.program.finish import finish, finish_reference
from nn.kernels.program.step import View
from nn.kernels.winograd import PLACES, A, B, pixels_of_tiles, tiles_of_plane


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


@addressed
def winograd_input(step, task, places, weights, source, arena, work):
    """B^T d B of all tiles of some planes: plane c becomes planes c, C + c, 2 C + c, ..."""
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        tiles_of_plane(
            source, places[step.source + c] + n * step.source_image, step.height, step.width,
            step.padding_y, step.padding_x, arena, n * step.target_image,
            places, step.target + c, step.channels, step.out_height, step.out_width,
        )  # fmt: skip


@addressed
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
    pixels = PLACES * held
    for m in range(first, last):
        pixels_of_tiles(work, (m - first) * PITCH, held, weights, step.bias + m, step.low,
                        step.high, work, pixels, 2 * PITCH, count)  # fmt: skip
        store_tiles(step, n, m, tile, count, work, pixels, places, arena)


@device
def store_tiles(step, n, m, tile, count, pixels, at, places, arena):
    """Pixels (2, 2 PITCH) of ``count`` tiles to where they belong in a plane."""
    target = places[step.target + m] + n * step.target_image
    y, x = divmod(tile, step.width)
    done = 0
    while done < count:
        length = min(step.width - x, count - done)
        wide = min(2 * length, step.out_width - 2 * x)
        rows = min(2, step.out_height - 2 * y)
        pixel = 2 * y * step.out_width + 2 * x
        copy_rows(pixels, at + 2 * done, 2 * PITCH, 0, wide, arena, target + pixel,
                  step.out_width, wide, rows)  # fmt: skip
        if step.goes_on:
            for i in range(rows):
                finish(step, n, m, m + 1, pixel + i * step.out_width, wide, places, arena)
        done += length
        x, y = 0, y + 1
