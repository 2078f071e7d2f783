"""Default boxes: anchors on several maps at once, small ones on fine maps, large ones on coarse.

Where the region proposal network reads one map, a single-stage detector reads several: what is too
large for one is looked for on the next (SSD, section 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.parts.anchor_fitting import spread_anchors
from detector.parts.anchors import MOST_ANCHORS, anchor_grid
from detector.settings import Positive, Settings

Shapes = tuple[tuple[Positive, Positive], ...]

# A fitted shape belongs to the coarsest map of which it covers so many cells in a row. (SSD300's
# smallest boxes cover 3.75 cells of its first map, 2.1 of its fifth.)
LEAST_CELLS = 2.0


@dataclass(frozen=True)
class DefaultBoxSettings(Settings):
    """Which boxes lie on a cell of each map.

    Attributes:
        sizes: of the squares of each map in pixels, finest first, and one more: between a size and
            the next there is another square, of their geometric mean. SSD300's for VOC.
        ratios: of each map: each gives a box of that width over height, and one of the inverse.
        shapes: (width, height) pairs of each map used instead, fitted to a data set; a map may have
            none.
    """

    sizes: tuple[Positive, ...] = (30.0, 60.0, 111.0, 162.0, 213.0, 264.0, 315.0)
    ratios: tuple[tuple[Positive, ...], ...] = ((2.0,), *((2.0, 3.0),) * 3, (2.0,), (2.0,))
    shapes: tuple[Shapes, ...] | None = None

    def of_maps(self) -> list[np.ndarray]:
        """(A, 2) widths and heights in pixels for each map: size, mean of sizes, then the ratios.

        Of a ratio r, w = size sqrt(r), h = size / sqrt(r).

        Raises:
            ValueError: the sizes are not one more than the ratios.
        """
        if self.shapes is not None:
            return [np.asarray(shapes, np.float64).reshape(-1, 2) for shapes in self.shapes]
        if len(self.sizes) != len(self.ratios) + 1:
            raise ValueError(
                "anchors need one size more than there are maps with ratios, not "
                f"{len(self.sizes)} for {len(self.ratios)}"
            )
        found = []
        for size, larger, ratios in zip(self.sizes, self.sizes[1:], self.ratios, strict=False):
            mean = np.sqrt(size * larger)
            shapes = [(size, size), (mean, mean)]
            for root in np.sqrt(ratios):
                shapes += [(size * root, size / root), (size / root, size * root)]
            found.append(np.asarray(shapes))
        return found

    def fit(
        self, widths_heights: np.ndarray, sizes: int, ratios: int, strides: Sequence[int]
    ) -> list[np.ndarray]:
        """The ``shapes`` for boxes (R, 2) of these widths and heights.

        Those of ``spread_anchors``, each on the coarsest map of which it covers ``LEAST_CELLS``.
        """
        shapes = spread_anchors(widths_heights, sizes, ratios)
        cells = np.sqrt(shapes.prod(axis=1))[:, None] / np.asarray(strides, np.float64)
        level = np.maximum((cells >= LEAST_CELLS).sum(axis=1) - 1, 0)
        return [shapes[level == number] for number in range(len(strides))]


class DefaultBoxes:
    """Lays boxes on the cells of several maps.

    Args:
        shapes: (A, 2) widths and heights in pixels for each map, A may be 0.
        strides: of the maps: pixels from one cell to the next.

    Attributes:
        of_maps, strides: the shapes and the stride of each map.
        shapes, stride: (sum of A, 2) all of them in order, and the stride of each.
    """

    def __init__(self, shapes: Sequence[np.ndarray], strides: Sequence[int]):
        if len(shapes) != len(strides):
            raise ValueError(
                f"there are boxes for {len(shapes)} maps, but {len(strides)} maps, of the strides "
                f"{', '.join(map(str, strides))}"
            )
        if not 0 < max(map(len, shapes)) <= MOST_ANCHORS:
            raise ValueError(f"there must be anchors, and at most {MOST_ANCHORS} on a cell")
        self.of_maps, self.strides = list(shapes), list(strides)
        self.shapes = np.concatenate(self.of_maps)
        self.stride = np.repeat(strides, self.counts)

    @property
    def counts(self) -> list[int]:
        """A of each map."""
        return [len(shapes) for shapes in self.of_maps]

    def count_text(self) -> str:
        """How many there are, in words."""
        return f"{', '.join(map(str, self.counts))} anchors a cell of each map"

    def grid(self, map_sizes: Sequence[tuple[int, int]], image_size: tuple[int, int]) -> np.ndarray:
        """All boxes, map by map, in the order of ``AnchorGenerator.grid``.

        The cells of a map divide the picture evenly, which also gives a map its step that is not
        half as large as the one before: SSD's last two.

        Args:
            map_sizes: (H, W) of each map, the last may be missing.
            image_size: (h, w) in pixels, padding included.

        Returns:
            (M, 4) float32, M the sum of H W A.
        """
        height, width = image_size
        return np.concatenate(
            [
                anchor_grid(shapes, (H, W), (height / H, width / W))
                for shapes, (H, W) in zip(self.of_maps, map_sizes, strict=False)
            ]
        )
