"""The first step: an image in a few hundred pieces of one colour, by a graph of its pixels."""

from __future__ import annotations

import math

import numpy as np

from nn.kernels.graph_segmentation import graph_segmentation


def smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian over the rows and columns of (H, W, C) float64, cut off after 4 sigma.

    The image goes on mirrored beyond its edges, the pixel at the edge twice.
    """
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-9)) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        widths = [(reach, reach) if each == axis else (0, 0) for each in range(3)]
        padded, length = np.pad(image, widths, "symmetric"), image.shape[axis]
        image = sum(
            weight * padded.take(range(shift, shift + length), axis)
            for shift, weight in enumerate(weights)
        )
    return image


def neighbours(height: int, width: int) -> np.ndarray:
    """The pairs of pixels that touch, corners included: (E, 2) int64 of row width + column."""
    pixel = np.arange(height * width).reshape(height, width)
    pairs = (
        (pixel[:, :-1], pixel[:, 1:]),
        (pixel[:-1], pixel[1:]),
        (pixel[:-1, :-1], pixel[1:, 1:]),
        (pixel[1:, :-1], pixel[:-1, 1:]),
    )
    return np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in pairs])


class PixelGraph:
    """Pixels and how much each differs from its eight neighbours: sorted once, cut several times.

    Args:
        image: (H, W, C) float64, smoothed.
    """

    def __init__(self, image: np.ndarray):
        self.size = image.shape[:2]
        edges, pixels = neighbours(*self.size), image.reshape(-1, image.shape[2])
        weights = np.sqrt(np.square(pixels[edges[:, 0]] - pixels[edges[:, 1]]).sum(1))
        order = np.argsort(weights, kind="stable")
        self.edges, self.weights = edges[order], weights[order]

    def pieces(self, scale: float, min_size: int) -> np.ndarray:
        """(H, W) int64, the piece of each pixel, numbered from 0 in reading order.

        Args:
            scale: k of the paper: the larger, the larger the pieces.
            min_size: pixels that a piece has at least.

        Source: Felzenszwalb and Huttenlocher, Efficient Graph-Based Image Segmentation, 2004.
        """
        labels = np.empty(math.prod(self.size), np.int64)
        graph_segmentation(self.edges, self.weights, float(scale), int(min_size), labels)
        return np.unique(labels, return_inverse=True)[1].reshape(self.size)
