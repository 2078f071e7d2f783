"""The table of steps while it is being written: rows by names, planes that have no place yet.

``Plan`` decides what the steps are; here they are cut into tasks, their constants are laid out one
after the other, and in the end everything gets its place and becomes the plain arrays that
``nn.kernels.program.interpreter.run_program`` takes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nn.inference.arena import LINE, Plane, Vectors, zeros
from nn.kernels import get_num_threads
from nn.kernels.machine.register_blocks import ROWS
from nn.kernels.machine.simd import LANES
from nn.kernels.matmul import K_BLOCK, TILE
from nn.kernels.program.twins import STEP

LEAST_PIXELS = 4096  # a task on whole planes takes several, if they are small
TASKS = 4  # for each thread, so that one that is held up can leave some to the others

Side = Sequence[Plane] | Vectors


class Table:
    """
    Args:
        images: of the batch.
        dtype: of all numbers.

    Attributes:
        rows: dicts with the fields of ``STEP``; ``source`` and ``target`` are planes or vectors,
            ``taps`` a list of numbers.
        scratch: how much working memory a thread needs.
    """

    def __init__(self, images: int, dtype: np.dtype):
        self.images, self.dtype = images, dtype
        self.tasks_wanted = TASKS * get_num_threads()
        self.rows: list[dict] = []
        self.scratch = K_BLOCK * TILE
        self._constants: list[np.ndarray] = [np.zeros(0, dtype)]
        self._constants_size = 0

    def add(self, source: Side, target: Side, **fields) -> dict:
        """A new row at the end, with the geometry of ``source`` and ``target``."""
        row = dict.fromkeys(STEP.names, 0) | {"images": self.images, "tasks": 1}
        row |= {"source": source, "target": target, **fields}
        for side, prefix, count in ((source, "", "channels"), (target, "out_", "outputs")):
            if isinstance(side, Vectors):
                row[count] = side.length
                continue
            layout = side[0].layout
            row[count] = len(side)
            row[f"{prefix}height"], row[f"{prefix}width"] = layout.height, layout.width
        self.rows.append(row)
        return row

    def constant(self, array: np.ndarray) -> int:
        """Where among the constants the numbers of ``array`` begin."""
        start = self._constants_size
        flat = np.zeros(-(-array.size // LINE) * LINE, self.dtype)
        flat[: array.size] = array.reshape(-1)
        self._constants.append(flat)
        self._constants_size += flat.size
        return start

    def need_scratch(self, numbers: int) -> None:
        self.scratch = max(self.scratch, numbers)

    # Tasks

    def share_tiles(self, row: dict, pixels: int, most: int = 1 << 60) -> None:
        """Cut a product: by tiles of pixels and, if those are few, by rows of outputs too.

        ``most``: rows of outputs in a task at most.
        """
        row["tile"] = min((TILE, TILE - LANES + 1), key=lambda tile: _vectors(pixels, tile))
        row["tiles"] = -(-pixels // row["tile"])
        groups = -(-row["outputs"] // ROWS)
        parts = max(
            -(-self.tasks_wanted // (self.images * row["tiles"])), -(-row["outputs"] // most)
        )
        parts = min(groups, parts)
        row["rows"] = ROWS * -(-groups // parts)
        row["row_blocks"] = -(-row["outputs"] // row["rows"])
        row["tasks"] = self.images * row["tiles"] * row["row_blocks"]

    def share_planes(self, row: dict) -> None:
        """Cut a step that goes plane by plane."""
        planes = self.images * row["channels"]
        few = -(-LEAST_PIXELS // (row["height"] * row["width"]))
        row["rows"] = max(1, min(few, planes), -(-planes // self.tasks_wanted))
        row["tasks"] = -(-planes // row["rows"])

    def share_rows(self, row: dict, most: int) -> None:
        """Cut a step that goes by rows of the target, at most so many a task."""
        row["rows"] = max(1, min(most, -(-row["out_height"] // self.tasks_wanted)))
        row["tiles"] = -(-row["out_height"] // row["rows"])
        row["tasks"] = self.images * row["tiles"]

    def share_outputs(self, row: dict, together: int) -> None:
        """Cut a fully connected layer by its outputs, which are computed so many at a time."""
        row["rows"] = together * -(-row["outputs"] // (together * self.tasks_wanted))
        row["tasks"] = -(-row["outputs"] // row["rows"])

    # In the end

    def write(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(table, places, weights)"""
        places = list(range(0, K_BLOCK * TILE, TILE))
        lines = []
        for row in self.rows:
            line = dict(row)
            for side in ("source", "target"):
                line[side], line[f"{side}_image"] = _addresses(row[side], places)
            if row["taps"]:
                line["taps"] = len(places)
                places += row["taps"]
            source = row["source"]
            line["external"] = not isinstance(source, Vectors) and source[0].layout.external
            lines.append(tuple(int(line[name]) for name in STEP.names))
        weights = zeros(self._constants_size, self.dtype)
        np.concatenate(self._constants, out=weights)
        return np.array(lines, STEP), np.array(places, np.int64), weights


def _addresses(side: Side, places: list[int]) -> tuple[int, int]:
    """Append to ``places``; where the list begins, and numbers from one image to the next."""
    if isinstance(side, Vectors):
        places.append(side.place)
        return len(places) - 1, side.length
    places += [plane.place for plane in side]
    return len(places) - len(side), side[0].layout.image


def _vectors(pixels: int, tile: int) -> float:
    """How many vectors the tiles take: a single pixel behind the last is a part of one."""

    def vectors(count: int) -> float:
        whole, rest = divmod(count, LANES)
        return whole + (1 / ROWS if rest == 1 else rest > 0)

    return pixels // tile * vectors(tile) + vectors(pixels % tile)
