"""From operations to the table of steps that ``nn.kernels.program.interpreter`` runs.

The third step of ``nn.inference.compile``. Convolutions, max pooling, global means and fully
connected layers become rows of the table. Splitting, joining and shuffling channels become nothing
at all: they only reorder lists of planes. Anything else is run as in the plain model, between two
stretches of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nn.inference.arena import FOREVER, Arena, Plane, Vectors, external_planes
from nn.inference.convolution_rows import (
    fill_depthwise,
    fill_max_pool,
    fill_product,
    fill_strided,
    fill_winograd,
    fill_winograd_input,
)
from nn.inference.simplify import Convolution
from nn.inference.table import Side, Table
from nn.inference.trace import Call, Trace, Value
from nn.kernels.machine.register_blocks import DOT_ROWS
from nn.kernels.program import steps as kinds
from nn.kernels.winograd import PLACES, tiles_of
from nn.ops.channel_shuffle import ChannelShuffle
from nn.ops.indexing import Index
from nn.ops.linear import Linear
from nn.ops.pooling import MaxPool2d
from nn.ops.reduction import Mean
from nn.ops.shape import Cat

MOST_VECTORS = 8  # more rows of a fully connected layer are a matrix product of their own


@dataclass
class Stretch:
    """Rows ``first`` to ``last`` (exclusive) of the table, run in one go."""

    first: int
    last: int


@dataclass
class Import:
    """An array that has to be copied into the arena."""

    value: Value


class Plan:
    """The program for one input shape.

    Attributes:
        stages: in order, ``Stretch``, ``Import`` or ``Call``.
        table, places, weights: as ``nn.kernels.program.interpreter.run_program`` wants them.
        planes, vectors: what lies in the arena, and where; all other values are arrays.
        arena_size, scratch: how many numbers the arena and a thread's working memory have.
    """

    def __init__(self, trace: Trace, steps: Sequence[Convolution | Call]):
        self.input, self.images, self.dtype = trace.input, trace.input.shape[0], trace.input.dtype
        self.rows = Table(self.images, self.dtype)
        self.arena = Arena(self.images)
        self.planes: dict[Value, list[Plane]] = {}
        self.vectors: dict[Value, Vectors] = {}
        self.stages: list[Stretch | Import | Call] = []

        users = [step for step in steps if any(v is self.input for v in step.inputs)]
        if len(self.input.shape) == 4 and all(_reads_in_place(step) for step in users):
            self.planes[self.input] = external_planes(*self.input.shape[1:])
        for step in steps:
            self.arena.moment += 1
            self.add(step)
        for value in trace.outputs:
            self.arena.read(self.planes.get(value, ()), FOREVER)
        self.finish()

    # What becomes of each step

    def add(self, step: Convolution | Call) -> None:
        if isinstance(step, Convolution):
            self.add_convolution(step)
            return
        lower = {
            MaxPool2d: self.add_max_pool,
            Mean: self.add_mean,
            Linear: self.add_linear,
            Index: self.reorder_slice,
            Cat: self.reorder_cat,
            ChannelShuffle: self.reorder_shuffle,
        }.get(step.operation)
        if lower is None or not lower(step):
            for value in step.inputs:
                self.arena.read(self.planes.get(value, ()) if isinstance(value, Value) else ())
            self.stages.append(step.with_copies())

    def add_convolution(self, conv: Convolution) -> None:
        source = self.planes_of(conv.input)
        target = self.planes[conv.onto] if conv.onto else self.new_planes(conv.output)
        self.planes[conv.output] = target
        self.arena.read(target)
        if conv.is_sorted:
            fill_strided(self.rows, self.new_row(source, target), conv)
        elif conv.is_winograd:
            self.add_winograd(conv, source, target)
        elif conv.is_depthwise:
            fill_depthwise(self.rows, self.new_row(source, target), conv)
        else:
            for group in range(conv.groups):
                inputs, part = (
                    slice(group * count // conv.groups, (group + 1) * count // conv.groups)
                    for count in (len(source), len(target))
                )
                fill_product(self.rows, self.new_row(source[inputs], target[part]), conv, part)

    def add_winograd(self, conv: Convolution, source: list[Plane], target: list[Plane]) -> None:
        """The two steps of ``nn.kernels.winograd``: all tiles of the input, then the products."""
        size = tiles_of(target[0].layout.height), tiles_of(target[0].layout.width) + 1
        tiles = self.arena.new_planes(size, PLACES * len(source), "tiles")
        fill_winograd_input(self.rows, self.new_row(source, tiles), conv)
        self.arena.moment += 1
        fill_winograd(self.rows, self.new_row(tiles, target), conv)

    def add_max_pool(self, call: Call) -> bool:
        if len(call.output.shape) != 4:
            return False
        source, target = self.planes_of(call.inputs[0]), self.new_planes(call.output)
        fill_max_pool(self.rows, self.new_row(source, target), call)
        return True

    def add_mean(self, call: Call) -> bool:
        value, dim = call.inputs[0], call.options["dim"]
        if value not in self.planes or dim != (2, 3) or call.options["keepdim"]:
            return False
        vectors = self.new_vectors(call.output)
        row = self.new_row(self.planes[value], vectors, kind=kinds.MEAN)
        pixels = row["height"] * row["width"]
        row["weight"] = self.rows.constant(np.full(pixels, 1 / pixels))
        self.rows.share_outputs(row, kinds.MEANS)
        return True

    def add_linear(self, call: Call) -> bool:
        value, weight, *bias = call.inputs
        if any(isinstance(part, Value) for part in (weight, *bias)):
            return False
        if value not in self.vectors or self.images > MOST_VECTORS:
            return False
        vectors = self.new_vectors(call.output)
        row = self.new_row(self.vectors[value], vectors, kind=kinds.LINEAR, images=self.images)
        row["weight"] = self.rows.constant(weight)
        row["bias"] = self.rows.constant(bias[0] if bias else np.zeros(len(weight), self.dtype))
        row["taps"] = [m * weight.shape[1] for m in range(DOT_ROWS)]
        self.rows.share_outputs(row, DOT_ROWS)
        return True

    # What only reorders planes

    def reorder_slice(self, call: Call) -> bool:
        index, value = call.options["index"], call.inputs[0]
        if value not in self.planes or not isinstance(index, tuple) or len(index) != 2:
            return False
        if not all(isinstance(part, slice) for part in index) or index[0] != slice(None):
            return False
        self.planes[call.output] = self.planes[value][index[1]]
        return len(self.planes[call.output]) > 0

    def reorder_cat(self, call: Call) -> bool:
        if len(call.output.shape) != 4 or call.options["dim"] not in (1, -3):
            return False
        if not all(isinstance(value, Value) for value in call.inputs):
            return False
        parts = [self.planes_of(value) for value in call.inputs]
        self.planes[call.output] = [plane for part in parts for plane in part]
        return True

    def reorder_shuffle(self, call: Call) -> bool:
        value, groups = call.inputs[0], call.options["groups"]
        if value not in self.planes:
            return False
        each = len(self.planes[value]) // groups
        self.planes[call.output] = [
            self.planes[value][group * each + j] for j in range(each) for group in range(groups)
        ]
        return True

    # Parts of the table

    def planes_of(self, value: Value) -> list[Plane]:
        """The planes of a map; an array is brought into the arena first."""
        if value not in self.planes:
            self.planes[value] = self.new_planes(value)
            self.stages.append(Import(value))
        return self.planes[value]

    def new_planes(self, value: Value) -> list[Plane]:
        self.planes[value] = self.arena.new_planes(value.shape[2:], value.shape[1])
        return self.planes[value]

    def new_vectors(self, value: Value) -> Vectors:
        self.vectors[value] = self.arena.new_vectors(*value.shape)
        return self.vectors[value]

    def new_row(self, source: Side, target: Side, **fields) -> dict:
        """A row of the table, run together with those just before it."""
        row = self.rows.add(source, target, **fields)
        if not isinstance(source, Vectors):
            self.arena.read(source)
        if self.stages and isinstance(self.stages[-1], Stretch):
            self.stages[-1].last += 1
        else:
            self.stages.append(Stretch(len(self.rows.rows) - 1, len(self.rows.rows)))
        return row

    # The table itself

    def finish(self) -> None:
        """Find a place for everything and write the table."""
        self.arena_size = self.arena.lay_out()
        for stage in self.stages:
            if isinstance(stage, Stretch):
                tasks = 0
                for row in self.rows.rows[stage.first : stage.last]:
                    row["first"] = tasks
                    tasks += row["tasks"]
        self.table, self.places, self.weights = self.rows.write()
        self.scratch = self.rows.scratch


def _reads_in_place(step: Convolution | Call) -> bool:
    """Whether a step can read the network's input where it is."""
    if isinstance(step, Call):
        return step.operation is MaxPool2d and len(step.output.shape) == 4
    return True
