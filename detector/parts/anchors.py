"""Anchors: the boxes of fixed shapes around which the region proposal network looks for objects.

Each cell of the feature map carries the same A boxes, centred on the cell (Faster R-CNN, 3.1.1).
The thesis takes five sizes and three ratios, so A = 15 (section 3.2.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.settings import Positive, Settings

THESIS_SIZES = (32.0, 64.0, 128.0, 256.0, 512.0)
THESIS_RATIOS = (0.5, 1.0, 2.0)
MOST_ANCHORS = 512  # of a cell


@dataclass(frozen=True)
class AnchorSettings(Settings):
    """Which anchors lie on a cell.

    Attributes:
        sizes, ratios: square roots of areas in pixels, and heights over widths; the thesis's.
        shapes: (width, height) pairs used instead, fitted to a data set: ``parts.anchor_fitting``.
    """

    sizes: tuple[Positive, ...] = THESIS_SIZES
    ratios: tuple[Positive, ...] = THESIS_RATIOS
    shapes: tuple[tuple[Positive, Positive], ...] | None = None

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.count <= MOST_ANCHORS:
            raise ValueError(f"there must be from 1 to {MOST_ANCHORS} anchors, not {self.count}")

    @property
    def count(self) -> int:
        """A, the anchors of a cell."""
        return len(self.sizes) * len(self.ratios) if self.shapes is None else len(self.shapes)

    def generator(self, stride: int) -> AnchorGenerator:
        """The anchors of a map of this stride."""
        return AnchorGenerator(self.sizes, self.ratios, stride, self.shapes)


def anchor_shapes(sizes: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
    """Widths and heights of every size in every ratio.

    w = size / sqrt(ratio), h = size sqrt(ratio): the area is size^2 whatever the ratio h / w.

    Returns:
        (len(ratios) * len(sizes), 2) float64: all sizes of the first ratio, then the next ratio.
    """
    roots = np.sqrt(np.asarray(ratios, np.float64))[:, None]
    sizes = np.asarray(sizes, np.float64)[None, :]
    return np.stack([sizes / roots, sizes * roots], axis=2).reshape(-1, 2)


class AnchorGenerator:
    """Lays A anchors on every cell of a feature map.

    Args:
        sizes: square roots of the anchors' areas, in pixels of the network's input.
        ratios: heights over widths.
        stride: pixels from one cell to the next.
        shapes: (A, 2) widths and heights in pixels, used instead of sizes and ratios: for anchors
            fitted to a data set (``detector.parts.anchor_fitting``).
    """

    def __init__(
        self,
        sizes: Sequence[float] = THESIS_SIZES,
        ratios: Sequence[float] = THESIS_RATIOS,
        stride: int = 16,
        shapes: Sequence[Sequence[float]] | np.ndarray | None = None,
    ):
        if shapes is None:
            shapes = anchor_shapes(sizes, ratios)
        self.shapes = np.asarray(shapes, np.float64)
        self.stride = stride
        if self.shapes.ndim != 2 or self.shapes.shape[1] != 2 or len(self.shapes) == 0:
            raise ValueError(
                f"anchor shapes must be a list of (width, height), not {self.shapes.shape}"
            )
        if not (np.isfinite(self.shapes).all() and (self.shapes > 0).all()):
            raise ValueError(f"anchors need positive sides, not {self.shapes.tolist()}")

    @property
    def num_anchors_per_cell(self) -> int:
        """A, the number of anchors on one cell."""
        return len(self.shapes)

    def count_text(self) -> str:
        """How many there are, in words."""
        return f"{self.num_anchors_per_cell} anchors a cell"

    def grid(self, feature_size: tuple[int, int]) -> np.ndarray:
        """All anchors of a feature map of ``feature_size`` (H, W).

        The cell in row y and column x is centred at ((x + 0.5) stride, (y + 0.5) stride).

        Returns:
            (H * W * A, 4) float32, rows of cells first, then cells, then the anchors of a cell in
            the order of ``shapes``: anchor a of cell (y, x) is number (y * W + x) * A + a.
        """
        H, W = feature_size
        x = (np.arange(W) + 0.5) * self.stride
        y = (np.arange(H) + 0.5) * self.stride
        centres = np.stack(np.meshgrid(x, y), axis=2)[:, :, None, :]  # (H, W, 1, 2)
        half = self.shapes / 2
        corners = np.concatenate([centres - half, centres + half], axis=3)  # (H, W, A, 4)
        return corners.reshape(-1, 4).astype(np.float32)

    def grids(self, feature_sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """The same for the one map there is: what ``PyramidAnchors`` does for many."""
        return [self.grid(size) for size in feature_sizes]


class PyramidAnchors:
    """The anchors of a feature pyramid: each map has those of its size (Lin et al. 2017, 4.1).

    The shapes are dealt out by their areas, as many to each map, the smallest to the finest: five
    sizes in three ratios are three shapes on each of five maps.

    Args:
        settings: which shapes there are.
        strides: of the maps, finest first.

    Attributes:
        shapes: (A, 2) of all maps, a map's together.
        stride: (A,) of the map that each lies on.

    Raises:
        ValueError: there are not as many shapes for each map.
    """

    def __init__(self, settings: AnchorSettings, strides: Sequence[int]):
        shapes = settings.generator(1).shapes
        if len(shapes) % len(strides):
            raise ValueError(
                f"{len(shapes)} anchors cannot be shared out evenly to {len(strides)} maps"
            )
        by_area = np.argsort(shapes.prod(axis=1), kind="stable")
        parts = np.sort(by_area.reshape(len(strides), -1), axis=1)
        self.shapes, self.stride = shapes[parts.ravel()], np.repeat(strides, parts.shape[1])
        self.levels = [
            AnchorGenerator(shapes=shapes[part], stride=stride)
            for part, stride in zip(parts, strides, strict=True)
        ]

    @property
    def num_anchors_per_cell(self) -> int:
        """The number of anchors on one cell of each map."""
        return self.levels[0].num_anchors_per_cell

    def count_text(self) -> str:
        """How many there are, in words."""
        return f"{self.num_anchors_per_cell} anchors a cell on each of {len(self.levels)} maps"

    def grids(self, feature_sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """All anchors of each map, given its (H, W): see ``AnchorGenerator.grid``."""
        return [level.grid(size) for level, size in zip(self.levels, feature_sizes, strict=True)]
