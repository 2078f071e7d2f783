"""From operations to the table of steps that ``nn.kernels.program`` runs.

The third step of ``nn.inference.compile``. Convolutions, max pooling, global means and fully
connected layers become rows of the table. Splitting, joining and shuffling channels become nothing
at all: they only reorder lists of planes. Anything else is run as in the plain model, between two
stretches of the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nn.inference.arena import LINE, Layout, Plane, Vectors, give_slots
from nn.inference.simplify import Convolution
from nn.inference.table import Side, Table
from nn.inference.trace import Call, Trace, Value
from nn.kernels import program_steps as kinds
from nn.kernels.matmul import TILE
from nn.kernels.register_blocks import DOT_ROWS, ROWS
from nn.kernels.winograd import PLACES, tiles_of, transform_weight
from nn.ops.channel_shuffle import ChannelShuffle
from nn.ops.indexing import Index
from nn.ops.linear import Linear
from nn.ops.pooling import MaxPool2d
from nn.ops.reduction import Mean
from nn.ops.shape import Cat

MOST_VECTORS = 8  # more rows of a fully connected layer are a matrix product of their own
WORK = 1 << 17  # numbers of working memory that stay in the cache: 512 KB
FOREVER = 1 << 60


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
        table, places, weights: as ``nn.kernels.program.run_program`` wants them.
        planes, vectors: what lies in the arena, and where; all other values are arrays.
        arena_size, scratch: how many numbers the arena and a thread's working memory have.
    """

    def __init__(self, trace: Trace, steps: Sequence[Convolution | Call]):
        self.input, self.images, self.dtype = trace.input, trace.input.shape[0], trace.input.dtype
        self.rows = Table(self.images, self.dtype)
        self.layouts: dict[tuple[int, int], Layout] = {}
        self.planes: dict[Value, list[Plane]] = {}
        self.vectors: dict[Value, Vectors] = {}
        self.scattered: list[list[Plane]] = []
        self.stages: list[Stretch | Import | Call] = []
        self.moment = 0

        users = [step for step in steps if any(v is self.input for v in step.inputs)]
        if len(self.input.shape) == 4 and all(_reads_in_place(step) for step in users):
            size, channels = self.input.shape[2:], self.input.shape[1]
            layout = Layout(*size, slots=channels, external=True)
            self.planes[self.input] = [Plane(layout, 0, FOREVER, c) for c in range(channels)]
        for step in steps:
            self.moment += 1
            self.add(step)
        for value in trace.outputs:
            self.read(self.planes.get(value, ()), FOREVER)
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
                self.read(self.planes.get(value, ()) if isinstance(value, Value) else ())
            self.stages.append(step)

    def add_convolution(self, conv: Convolution) -> None:
        source = self.planes_of(conv.input)
        target = self.planes[conv.onto] if conv.onto else self.new_planes(conv.output)
        self.planes[conv.output] = target
        self.read(target)
        if conv.is_sorted:
            self.add_strided(conv, source, target)
            return
        if conv.is_winograd:
            self.add_winograd(conv, source, target)
            return
        groups = 1 if conv.is_depthwise else conv.groups
        for group in range(groups):
            part = slice(group * len(target) // groups, (group + 1) * len(target) // groups)
            inputs = source[group * len(source) // groups : (group + 1) * len(source) // groups]
            row = self.new_row(inputs, target[part], relu=conv.relu)
            row["bias"] = self.rows.constant(conv.bias[part])
            row["accumulate"] = conv.onto is not None
            _set_pairs(row, conv.weight.shape[2:], conv.stride, conv.padding, conv.dilation)
            if conv.is_depthwise:
                self.set_depthwise(row, conv)
            else:
                self.set_product(row, conv.weight[part], conv.is_pointwise)
                row["flat"] = conv.keeps_size

    def add_strided(self, conv: Convolution, source: list[Plane], target: list[Plane]) -> None:
        """A strided convolution of planes that are sorted by phase, perhaps pooled."""
        row = self.new_row(source, target, kind=kinds.STRIDED, relu=conv.relu)
        row["weight"] = self.rows.constant(_packed(conv.weight))
        row["bias"], row["accumulate"] = self.rows.constant(conv.bias), conv.onto is not None
        _set_pairs(row, conv.weight.shape[2:], conv.stride, conv.padding, conv.dilation)
        row["middle_height"], row["middle_width"] = row["out_height"], row["out_width"]
        stride, reach = 1, 1  # from one row of the target to the next, and of one: rows of middle
        if conv.pool is not None:
            row["kind"] = kinds.STRIDED_MAX_POOL
            self.set_pool(row, conv.pool)
            stride = row["pool_stride_y"]
            reach = (row["pool_kernel_height"] - 1) * row["pool_dilation_y"] + 1
        (KH, KW), (SH, SW), (DH, DW) = conv.weight.shape[2:], conv.stride, conv.dilation
        below, width = (KH - 1) * DH // SH, row["middle_width"]
        pitch, phases = width + (KW - 1) * DW // SW, len(source) * SH * SW
        # As many rows a task as the cache next to the processor holds.
        fit = (WORK - phases * pitch * below) // (phases * pitch + ROWS * width)
        self.rows.share_rows(row, (fit - reach) // stride + 1)
        rows = (row["rows"] - 1) * stride + reach
        row["held"] = rows + below
        # Tap i looks at row y s + i d - p, which is row y + (i d) // s of phase (i d) mod s.
        taps = [
            ((c * SH + i * DH % SH) * SW + j * DW % SW) * row["held"] * pitch
            + i * DH // SH * pitch
            + j * DW // SW
            for i in range(KH)
            for j in range(KW)
            for c in range(len(source))
        ]
        end = phases * row["held"] * pitch
        row["taps"] = taps + [end + m * rows * width for m in range(ROWS + 1)]
        self.rows.need_scratch(row["taps"][-1] + _line(row))

    def add_winograd(self, conv: Convolution, source: list[Plane], target: list[Plane]) -> None:
        """The two steps of ``nn.kernels.winograd``: all tiles of the input, then the products."""
        size = tiles_of(target[0].layout.height), tiles_of(target[0].layout.width) + 1
        layout = self.layouts.setdefault((*size, "tiles"), Layout(*size))
        tiles = [Plane(layout, self.moment, self.moment) for _ in range(PLACES * len(source))]
        self.scattered.append(tiles)
        row = self.new_row(source, tiles, kind=kinds.WINOGRAD_INPUT)
        _set_pairs(row, (3, 3), padding=conv.padding)
        self.rows.share_planes(row)
        self.rows.need_scratch(4 * (size[0] + 1) * size[1])
        self.moment += 1
        row = self.new_row(tiles, target, kind=kinds.WINOGRAD, relu=conv.relu)
        row["bias"] = self.rows.constant(conv.bias)
        weights = [_packed(place[:, :, None, None]) for place in transform_weight(conv.weight)]
        row["weight"] = self.rows.constant(np.stack(weights))
        self.rows.share_tiles(row, size[0] * size[1], WORK // (PLACES * TILE))
        self.rows.need_scratch((PLACES + 4) * row["rows"] * TILE)

    def set_depthwise(self, row: dict, conv: Convolution) -> None:
        row["weight"] = self.rows.constant(conv.weight)
        self.rows.share_planes(row)
        (KH, KW), (SH, SW) = conv.weight.shape[2:], conv.stride
        geometry = (KH, KW), conv.padding, conv.dilation
        if geometry == ((3, 3), (1, 1), (1, 1)) and SH == SW <= 2:
            row["kind"] = kinds.STENCIL
            return
        row["kind"] = kinds.DEPTHWISE
        height = row["out_height"] + (KH - 1) * conv.dilation[0] // SH
        width = row["out_width"] + (KW - 1) * conv.dilation[1] // SW
        self.rows.need_scratch((SH * SW + 1) * height * width)

    def set_product(self, row: dict, weight: np.ndarray, is_pointwise: bool) -> None:
        row["kind"] = kinds.POINTWISE if is_pointwise else kinds.CONVOLUTION
        row["weight"] = self.rows.constant(_packed(weight))
        self.rows.share_tiles(row, row["out_height"] * row["out_width"])

    def add_max_pool(self, call: Call) -> bool:
        if len(call.output.shape) != 4:
            return False
        source, target = self.planes_of(call.inputs[0]), self.new_planes(call.output)
        row = self.new_row(source, target, kind=kinds.MAX_POOL)
        self.set_pool(row, call)
        self.rows.share_planes(row)
        self.rows.need_scratch(_line(row))
        return True

    def set_pool(self, row: dict, call: Call) -> None:
        row["middle_height"], row["middle_width"] = call.inputs[0].shape[2:]
        sizes = ("kernel_size", "stride", "padding", "dilation")
        _set_pairs(row, *(call.options[name] for name in sizes), prefix="pool_")

    def add_mean(self, call: Call) -> bool:
        value, dim = call.inputs[0], call.options["dim"]
        if value not in self.planes or dim != (2, 3) or call.options["keepdim"]:
            return False
        vectors = self.vectors[call.output] = Vectors(*call.output.shape)
        row = self.new_row(self.planes[value], vectors, kind=kinds.MEAN)
        pixels = row["height"] * row["width"]
        row["weight"] = self.rows.constant(np.full(pixels, 1 / pixels))
        self.rows.share_outputs(row, kinds.MEANS)
        return True

    def add_linear(self, call: Call) -> bool:
        value, weight, *bias = call.inputs
        constant = not any(isinstance(part, Value) for part in (weight, *bias))
        if value not in self.vectors or self.images > MOST_VECTORS or not constant:
            return False
        vectors = self.vectors[call.output] = Vectors(*call.output.shape)
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
        size = value.shape[2:]
        layout = self.layouts.setdefault(size, Layout(*size))
        self.planes[value] = [
            Plane(layout, self.moment, self.moment) for _ in range(value.shape[1])
        ]
        return self.planes[value]

    def read(self, planes: Sequence[Plane], moment: int | None = None) -> None:
        """Note that ``planes`` are needed now, or at ``moment``."""
        for plane in planes:
            plane.last = max(plane.last, self.moment if moment is None else moment)

    def new_row(self, source: Side, target: Side, **fields) -> dict:
        """A row of the table, run together with those just before it."""
        row = self.rows.add(source, target, **fields)
        if not isinstance(source, Vectors):
            self.read(source)
        if self.stages and isinstance(self.stages[-1], Stretch):
            self.stages[-1].last += 1
        else:
            self.stages.append(Stretch(len(self.rows.rows) - 1, len(self.rows.rows)))
        return row

    # The table itself

    def finish(self) -> None:
        """Find a place for everything and write the table."""
        lists = [planes for planes in self.planes.values() if not planes[0].layout.external]
        lists += self.scattered
        give_slots(list(dict.fromkeys(plane for planes in lists for plane in planes)))
        self.arena_size = 0
        for layout in self.layouts.values():
            layout.start = self.arena_size
            self.arena_size += -(-self.images * layout.image // LINE) * LINE
        for vectors in self.vectors.values():
            vectors.place = self.arena_size
            self.arena_size += -(-self.images * vectors.length // LINE) * LINE
        self.arena_size += TILE  # whole vectors may be read a little beyond the end
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


def _line(row: dict) -> int:
    """Working memory for the line of ``nn.kernels.program_steps.pool_rows``."""
    reach = (row["out_width"] - 1) * row["pool_stride_x"]
    reach += row["pool_kernel_width"] * row["pool_dilation_x"]
    return max(reach, row["pool_padding_x"] + row["middle_width"]) + TILE  # read in whole vectors


def _packed(weight: np.ndarray) -> np.ndarray:
    """Weights (OC, C, KH, KW) in the order in which they are used: (OC / ROWS, KH KW C, ROWS)."""
    OC = len(weight)
    rows = np.zeros((-(-OC // ROWS) * ROWS, weight[0].size), weight.dtype)
    rows[:OC] = weight.transpose(0, 2, 3, 1).reshape(OC, -1)
    return rows.reshape(-1, ROWS, rows.shape[1]).transpose(0, 2, 1)


def _set_pairs(
    row: dict, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), prefix: str = ""
) -> None:
    row[f"{prefix}kernel_height"], row[f"{prefix}kernel_width"] = kernel_size
    for name, pair in (("stride", stride), ("padding", padding), ("dilation", dilation)):
        row[f"{prefix}{name}_y"], row[f"{prefix}{name}_x"] = pair
