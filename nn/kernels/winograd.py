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

Tiles begin at every second pixel of the image with its padding. A vector holds the same place of
LANES neighbouring tiles. ``nn.kernels.program.winograd`` has the two steps of a network.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.machine.emitted import emitted
from nn.kernels.machine.parts import ceil_div
from nn.kernels.machine.simd import LANES, Vectors, loop, numbered
from nn.kernels.machine.window import Window

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


def transform(builder, matrix, tile):
    """matrix^T X matrix of vectors X[i][j] = ``tile[i][j]``; nothing but sums and differences."""

    def sums(column, values):
        terms = sorted(zip(column, values, strict=True), key=lambda term: term[0] < 0)
        (_, total), *others = [(factor, value) for factor, value in terms if factor]
        for factor, value in others:
            total = (builder.fadd if factor > 0 else builder.fsub)(total, value)
        return total

    rows = [[sums(column, values) for values in zip(*tile, strict=True)] for column in matrix.T]
    return [[sums(column, row) for column in matrix.T] for row in rows]


@emitted
def tiles_of_plane(
    builder, plane, plane_at, H, W, top, left, out, out_at, places, first, step, TH, TW
):  # fmt: skip
    """B^T d B of the tiles of one plane (H, W) with ``top`` rows and ``left`` columns of padding.

    Number ``place`` of tile (y, x) goes to out[places[first + place step] + out_at + y TW + x].
    """
    vector, plane = Vectors(builder, plane.element), plane.at(plane_at)
    targets = [out.at(places[first + step * place] + out_at) for place in range(PLACES)]
    with loop(TW, LANES) as x:
        window = Window(vector, plane, H, W, x, 2, side=4, padding=left)
        with loop(TH) as y:
            tile = [window.row(y * 2 - top + i) for i in range(4)]
            numbers = sum(transform(builder, B, tile), [])
            places = [target.at(y * TW + x) for target in targets]
            vector.store_each(numbers, places, [TW - x] * PLACES)


@emitted
def pixels_of_tiles(
    builder, sums, sums_at, distance, bias, bias_at, low, high, pixels, pixels_at, row, count
):  # fmt: skip
    """A^T M A + bias, clamped, of ``count`` tiles: two rows of pixels, ``row`` apart.

    M of tile x lies at sums[sums_at + place distance + x]. Whole vectors are read and written.
    """
    vector = Vectors(builder, sums.element)
    start, low, high = (vector.splat(each) for each in (bias[bias_at], low, high))
    with loop(count, LANES) as x:
        at = [sums.at(sums_at + distance * place + x) for place in range(PLACES)]
        tile = [[vector.load(at[4 * i + j]) for j in range(4)] for i in range(4)]
        for i, halves in enumerate(transform(builder, A, tile)):
            halves = [vector.clamp(builder.fadd(half, start), low, high) for half in halves]
            for first in (0, LANES):
                turns = [(first + k) // 2 + k % 2 * LANES for k in range(LANES)]
                woven = builder.shuffle_vector(*halves, numbered(turns))
                vector.store(woven, pixels.at(pixels_at + row * i + x * 2 + first))
