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
holds is not used. ``nn.kernels.program.winograd`` has the two steps of a network that do it.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.machine.parts import ceil_div

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
