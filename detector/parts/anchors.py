"""Anchors: the boxes of fixed shapes around which the region proposal network looks for objects.

Each cell of the feature map carries the same A boxes, centred on the cell (Faster R-CNN, 3.1.1).
The thesis takes five sizes and three ratios, so A = 15 (section 3.2.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.parts.anchor_fitting import anchor_shapes, fit_anchors, spread_anchors
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

    def fit(self, widths_heights: np.ndarray, sizes: int, ratios: int) -> np.ndarray:
        """The ``shapes`` for boxes (R, 2) of these widths and heights: see ``spread_anchors``."""
        return spread_anchors(widths_heights, sizes, ratios)


@dataclass(frozen=True)
class ClusteredAnchors(AnchorSettings):
    """Anchors that are fitted by k-means."""

    def fit(self, widths_heights: np.ndarray, sizes: int, ratios: int) -> np.ndarray:
        """At most ``sizes`` times ``ratios`` shapes for boxes (R, 2): see ``fit_anchors``."""
        return fit_anchors(widths_heights, sizes * ratios)


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
        return anchor_grid(self.shapes, feature_size, (self.stride, self.stride))

    def grids(self, feature_sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """The same for the one map there is: what ``PyramidAnchors`` does for many."""
        return [self.grid(size) for size in feature_sizes]


def anchor_grid(
    shapes: np.ndarray, feature_size: tuple[int, int], step: tuple[float, float]
) -> np.ndarray:
    """Boxes of (A, 2) widths and heights on each of H x W cells, ``step`` (y, x) pixels apart.

    Returns:
        (H * W * A, 4) float32, see ``AnchorGenerator.grid``.
    """
    H, W = feature_size
    y, x = (np.arange(H) + 0.5) * step[0], (np.arange(W) + 0.5) * step[1]
    centres = np.stack(np.meshgrid(x, y), axis=2)[:, :, None, :]  # (H, W, 1, 2)
    half = shapes / 2
    corners = np.concatenate([centres - half, centres + half], axis=3)  # (H, W, A, 4)
    return corners.reshape(-1, 4).astype(np.float32)
