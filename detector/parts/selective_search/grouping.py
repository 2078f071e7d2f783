"""The second step: the two neighbours that are most alike become one, until one is left.

Uijlings et al., Selective Search for Object Recognition, 2013, sections 3.1 and 3.2. Every region
on the way is a proposal, so that objects of all sizes are found. How alike two regions are is a sum
of up to four numbers from 0 to 1:

    colour   sum over bins of min(p_a, p_b), p the histogram of colours with sum 1
    texture  the same of the slopes of the image in eight directions
    size     1 - (|a| + |b|) / |image|: small ones first, so that none swallows the rest
    fill     1 - (|box of both| - |a| - |b|) / |image|: first what fits into each other
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from detector.parts.selective_search.segmentation import neighbours, smooth

COLOUR_BINS, TEXTURE_BINS, DIRECTIONS = 25, 10, 8
COLOUR, TEXTURE, SIZE, FILL = range(4)


@dataclass
class Regions:
    """What is known of each of R regions.

    Attributes:
        sizes: (R,) pixels. boxes: (R, 4) x1, y1, x2, y2.
        colours, textures: (R, bins), histograms with sum 1.
        touching: for each region the set of its neighbours' numbers.
        area: pixels of the image.
    """

    sizes: np.ndarray
    boxes: np.ndarray
    colours: np.ndarray
    textures: np.ndarray
    touching: list[set[int]]
    area: int

    def likeness(self, a: int, others: np.ndarray) -> np.ndarray:
        """How alike region ``a`` is to each of ``others`` (M,): (4, M), see above."""
        together = self.sizes[a] + self.sizes[others]
        corners, other_corners = self.boxes[a], self.boxes[others]
        low = np.minimum(corners[:2], other_corners[:, :2])
        box = (np.maximum(corners[2:], other_corners[:, 2:]) - low).prod(axis=1)
        return np.stack(
            [
                np.minimum(self.colours[a], self.colours[others]).sum(axis=1),
                np.minimum(self.textures[a], self.textures[others]).sum(axis=1),
                1 - together / self.area,
                1 - (box - together) / self.area,
            ]
        )

    def join(self, a: int, b: int, new: int) -> None:
        """Region ``new`` becomes a and b together. A histogram of both is the mean of theirs."""
        self.sizes[new] = self.sizes[a] + self.sizes[b]
        self.boxes[new, :2] = np.minimum(self.boxes[a, :2], self.boxes[b, :2])
        self.boxes[new, 2:] = np.maximum(self.boxes[a, 2:], self.boxes[b, 2:])
        share = self.sizes[a] / self.sizes[new]
        for histograms in (self.colours, self.textures):
            histograms[new] = share * histograms[a] + (1 - share) * histograms[b]
        self.touching.append((self.touching[a] | self.touching[b]) - {a, b})
        for other in self.touching[new]:
            self.touching[other] -= {a, b}
            self.touching[other].add(new)


def regions_of(image: np.ndarray, steepness: np.ndarray, pieces: np.ndarray) -> Regions:
    """What is known of the pieces of an image, with room for all that they join to.

    Args:
        image: (H, W, C), values from 0 to 255. steepness: its ``slopes``. pieces: (H, W).
    """
    count, labels = int(pieces.max()) + 1, pieces.ravel()
    room = 2 * count - 1
    sizes = np.zeros(room, np.int64)
    sizes[:count] = np.bincount(labels)
    boxes = np.zeros((room, 4), np.int64)
    for corner, places in enumerate(np.indices(pieces.shape)[::-1]):
        boxes[:count, corner] = pieces.size
        np.minimum.at(boxes[:, corner], labels, places.ravel())
        np.maximum.at(boxes[:, corner + 2], labels, places.ravel() + 1)
    histograms = []
    for values, bins in ((image / 256, COLOUR_BINS), (steepness, TEXTURE_BINS)):
        values = values.reshape(len(labels), -1)
        found = (np.clip(values, 0, 1 - 1e-9) * bins).astype(np.int64)
        columns = found + bins * np.arange(found.shape[1])
        width = bins * found.shape[1]
        counts = np.bincount((labels[:, None] * width + columns).ravel(), minlength=room * width)
        counts = counts.reshape(room, width)
        histograms.append(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    edges = labels[neighbours(*pieces.shape)]
    touching = [set() for _ in range(count)]
    for a, b in np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0):
        touching[a].add(int(b))
        touching[b].add(int(a))
    return Regions(sizes, boxes, *histograms, touching, pieces.size)


def slopes(image: np.ndarray) -> np.ndarray:
    """How steeply each channel rises in eight directions, (H, W, 8 C), 0 to 1 (the steepest).

    Of the image smoothed by a Gaussian of one pixel; what falls in a direction counts 0 there.
    """
    down, right = np.gradient(smooth(image, 1.0), axis=(0, 1))
    angles = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
    rises = [np.cos(angle) * right + np.sin(angle) * down for angle in angles]
    rises = np.maximum(np.concatenate(rises, axis=2), 0)
    return rises / max(rises.max(), 1e-9)


def group(regions: Regions, mix: tuple[int, ...]) -> np.ndarray:
    """The boxes of all regions, those joined last first: (R, 4) int64; joins ``regions`` in place.

    Args:
        mix: which of colour, texture, size and fill count.
    """
    parts, pairs = list(mix), []

    def compare(a: int, others: set[int]) -> None:
        """Remember how alike a is to the others; the most alike come first, then low numbers."""
        others = sorted(others)
        likeness = regions.likeness(a, np.array(others, np.int64))[parts].sum(axis=0)
        for other, value in zip(others, likeness.tolist(), strict=True):
            heapq.heappush(pairs, (-value, other, a))

    for a in range(len(regions.touching)):
        compare(a, {other for other in regions.touching[a] if other < a})
    gone = set()
    while pairs:
        _, a, b = heapq.heappop(pairs)
        if a in gone or b in gone:
            continue
        gone |= {a, b}
        new = len(regions.touching)
        regions.join(a, b, new)
        compare(new, regions.touching[new])
    return regions.boxes[len(regions.touching) - 1 :: -1]
