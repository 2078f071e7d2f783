"""The table of steps while it is being written: rows by names, planes that have no place yet.

``Plan`` decides what the steps are; here they are cut into tasks, and in the end everything gets
its place and becomes the plain arrays that ``nn.kernels.program.interpreter.run_program`` takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nn.inference.arena import Plane
from nn.inference.constants import Constants, NewConstants
from nn.kernels import get_num_threads
from nn.kernels.machine.register_blocks import ROWS
from nn.kernels.matmul import K_BLOCK, PITCH, TILE, tile_of
from nn.kernels.program.step import STEP, Step

LEAST_PIXELS = 4096  # a task on whole planes takes several, if they are small
LEAST_PRODUCTS = 1 << 20  # a task of a pointwise convolution takes several tiles, if they are few
TASKS = 4  # for each thread, so that one that is held up can leave some to the others


@dataclass(eq=False)
class Row(Step):
    """A step whose planes are not laid out yet; ``offsets`` are what ``taps`` will point to."""

    source_planes: Sequence[Plane] = ()
    target_planes: Sequence[Plane] = ()
    second_planes: Sequence[Plane] = ()
    offsets: list[int] = field(default_factory=list)


class Table:
    """
    Args:
        images: of the batch.
        constants: what earlier tables have written down, and this one in the end.

    Attributes:
        rows: one after the other.
        constants: what this table adds.
        scratch: how much working memory a thread needs.
    """

    def __init__(self, images: int, constants: Constants):
        self.images, self.constants = images, NewConstants(constants)
        self.tasks_wanted = TASKS * get_num_threads()
        self.rows: list[Row] = []
        self.scratch = K_BLOCK * PITCH

    def add(
        self, source: Sequence[Plane], target: Sequence[Plane], second: Sequence[Plane] | None
    ) -> Row:
        """A new row at the end, with the geometry of ``source`` and ``target``."""
        row = Row(
            images=self.images,
            channels=len(source), height=source[0].shelf.height, width=source[0].shelf.width,
            outputs=len(target), out_height=target[0].shelf.height,
            out_width=target[0].shelf.width,
            source_planes=source, target_planes=target, second_planes=second or (),
        )  # fmt: skip
        self.rows.append(row)
        return row

    def need_scratch(self, numbers: int) -> None:
        self.scratch = max(self.scratch, numbers)

    # Tasks

    def share_tiles(self, row: Row, pixels: int, most: int = 1 << 60) -> None:
        """Cut a product: by tiles of pixels and, if those are few, by rows of outputs too.

        ``most``: rows of outputs in a task at most.
        """
        row.tile = tile_of(pixels)
        if row.pointwise and row.tile == TILE:  # no working memory that it has to fit into
            tiles = self.images * pixels // TILE // self.tasks_wanted
            products = TILE * row.outputs * row.channels // row.groups
            row.tile *= max(1, min(tiles, LEAST_PRODUCTS // products))
        row.tiles = -(-pixels // row.tile)
        together = ROWS if row.groups == 1 else row.outputs // row.groups
        blocks = -(-row.outputs // together)
        parts = max(-(-self.tasks_wanted // (self.images * row.tiles)), -(-row.outputs // most))
        parts = min(blocks, parts)
        row.rows = together * -(-blocks // parts)
        row.row_blocks = -(-row.outputs // row.rows)
        row.tasks = self.images * row.tiles * row.row_blocks

    def share_planes(self, row: Row) -> None:
        """Cut a step that goes plane by plane."""
        planes = self.images * row.channels
        few = -(-LEAST_PIXELS // (row.height * row.width))
        row.rows = max(1, min(few, planes), -(-planes // self.tasks_wanted))
        row.tasks = -(-planes // row.rows)

    def share_rows(self, row: Row, most: int) -> None:
        """Cut a step that goes by rows of the target, at most so many a task."""
        row.rows = max(1, min(most, -(-row.out_height // self.tasks_wanted)))
        row.tiles = -(-row.out_height // row.rows)
        row.tasks = self.images * row.tiles

    def share_outputs(self, row: Row, together: int) -> None:
        """Cut a fully connected layer by its outputs, which are computed so many at a time."""
        row.rows = together * -(-row.outputs // (together * self.tasks_wanted))
        row.tasks = -(-row.outputs // row.rows)

    # In the end

    def write(self) -> tuple[np.ndarray, np.ndarray]:
        """(table, places); the constants are where they belong."""
        places = list(range(0, K_BLOCK * PITCH, PITCH))
        lines = []
        for row in self.rows:
            row.external = row.source_planes[0].shelf.external
            row.source, row.source_image = _addresses(row.source_planes, places)
            row.packed = all(
                b - a == row.height * row.width
                for a, b in zip(places[row.source :], places[row.source + 1 :], strict=False)
            )
            row.target, row.target_image = _addresses(row.target_planes, places)
            if row.second_planes:
                row.second, row.second_image = _addresses(row.second_planes, places)
            row.taps = len(places)
            places += row.offsets
            lines.append(tuple(getattr(row, name) for name in STEP.names))
        self.constants.known.extend(self.constants)
        return np.array(lines, STEP), np.array(places, np.int64)


def _addresses(planes: Sequence[Plane], places: list[int]) -> tuple[int, int]:
    """Append to ``places``; where the list begins, and numbers from one image to the next."""
    places += [plane.place for plane in planes]
    return len(places) - len(planes), planes[0].shelf.image
