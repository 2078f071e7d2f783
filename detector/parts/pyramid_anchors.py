"""Anchors of a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.parts.anchors import AnchorGenerator, AnchorSettings


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
