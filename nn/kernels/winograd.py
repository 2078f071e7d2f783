"""Winograd's convolution: 3 x 3 taps with 16 multiplications for four pixels instead of 36.

Two neighbouring sums of three products each need only four products between them: with
d = (d0, d1, d2, d3) and g = (g0, g1, g2)

    (d0 g0 + d1 g1 + d2 g2, d1 g0 + d2 g1 + d3 g2) = A^T [(G g) * (B^T d)],   * element by element

In two dimensions a tile of 4 x 4 input pixels gives 2 x 2 output pixels Y:

    Y = A^T [(G g G^T) * (B^T d B)] A

(Winograd, Arithmetic complexity of computations, 1980; Lavin and Gray, Fast algorithms for
convolutional neural networks, 2016, section 4.1: F(2 x 2, 3 x 3).) Summed over channels, each of
the 16 places in a tile is a matrix product of its own, (outputs, channels) by (channels, tiles).
B and A hold nothing but 0, 1 and -1; G g G^T is worked out once. A NaN or an infinity spreads over
its tile.

Tiles begin at every second pixel of the image with its padding. Here they count along rows of
TW + 1, the width of the planes they are cut from, as if there was one more tile a row; what it
holds is not used. A step of ``nn.kernels.program`` transforms the input, plane by plane; the next
takes up to TILE tiles of some outputs through the 16 products and back to pixels.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.depthwise import spread, tap_offsets, weave, weighted_sum
from nn.kernels.machine.jit import device
from nn.kernels.machine.parts import ceil_div
from nn.kernels.machine.register_blocks import COLUMNS, ROWS, outer_block
from nn.kernels.matmul import TILE

B = np.array([[1, 0, 0, 0], [0, 1, -1, 1], [-1, 1, 1, 0], [0, 0, 0, -1]], np.float64)
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float64)
A = np.array([[1, 0], [1, 1], [1, -1], [0, -1]], np.float64)
PLACES = 16  # in a tile, row by row


def tiles_of(size: int) -> int:
    """How many tiles cover ``size`` output pixels."""
    return ceil_div(size, 2)


def transform_weight(weight: np.ndarray) -> np.ndarray:
    """G g G^T of every pair of channels: (OC, C, 3, 3) -> (16, OC, C)."""
    transformed = np.einsum("ai,ocij,bj->aboc", G, weight, G)
    return transformed.reshape(PLACES, *weight.shape[:2]).astype(weight.dtype)


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
def winograd_input(step, task, places, source, arena, work):
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
                step.out_height * width - 1, False,
            )  # fmt: skip


@device
def winograd(step, task, places, weights, arena, work):
    """A stretch of ``tile`` tiles of ``rows`` outputs: 16 products, then Y = A^T M A + bias."""
    n = task // (step.tiles * step.row_blocks)
    tile = task // step.row_blocks % step.tiles * step.tile
    first = task % step.row_blocks * step.rows
    last = min(first + step.rows, step.outputs)
    count = min(step.tile, step.height * step.width - tile)
    channels = step.channels // PLACES
    groups = ceil_div(step.outputs, ROWS)
    held = step.rows * TILE  # numbers of M at one place
    zeros = np.zeros(step.rows, arena.dtype)
    for place in range(PLACES):
        planes = places[step.source + place * channels :]
        for x in range(0, count, COLUMNS):
            for m in range(first, last, ROWS):
                outer_block(
                    weights, step.weight + (place * groups + m // ROWS) * channels * ROWS, 1, ROWS,
                    arena, n * step.source_image + tile + x, planes, work, place * held + x, places,
                    m - first, zeros, channels, min(ROWS, last - m), min(COLUMNS, count - x),
                    False, False,
                )  # fmt: skip
    pixels, order = work[PLACES * held :], np.zeros(1, np.int64)
    for i in range(2):
        for j in range(2):
            factors, taps = factors_of(A, i, j, held, arena.dtype)
            for m in range(first, last):
                weighted_sum(
                    factors, order, factors.size, work, (m - first) * TILE, taps,
                    weights[step.bias + m :], pixels, ((m - first) * 4 + 2 * i + j) * TILE,
                    count, step.relu,
                )  # fmt: skip
    for m in range(first, last):
        target = places[step.target + m] + n * step.target_image
        store_tiles(step, tile, count, pixels[(m - first) * 4 * TILE :], arena, target)


@device
def store_tiles(step, tile, count, pixels, arena, target):
    """Pixels (2, 2, TILE) of ``count`` tiles to where they belong in a plane."""
    y, x = divmod(tile, step.width)
    done = 0
    while done < count:
        length = min(step.width - x, count - done)
        wide = max(0, min(2 * length, step.out_width - 2 * x))
        for i in range(min(2, step.out_height - 2 * y)):
            weave(
                pixels[i * 2 * TILE + done :], TILE, TILE, arena,
                target + (2 * y + i) * step.out_width + 2 * x, step.out_width, wide, 1, 2,
            )  # fmt: skip
        done += length
        x, y = 0, y + 1
