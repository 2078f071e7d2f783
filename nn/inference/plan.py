"""From steps to the table that ``nn.kernels.program.interpreter`` runs.

The third step of ``nn.inference.compile``. Every step adds itself (``add_to``): as rows of the
table, as another order of planes, or, if it is a call that has no lowering, as a stage of its own
between two stretches of the table, run as in the plain model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nn.inference.arena import FOREVER, Arena, Plane, external_planes, slots_of
from nn.inference.constants import Constants
from nn.inference.table import Row, Table
from nn.inference.trace import Call, Trace, Value
from nn.kernels.program.kinds import KINDS


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

    Args:
        trace: of a module.
        steps: what it was lowered to; used up.
        constants: of other plans too, and of this one from now on.

    Attributes:
        stages: in order, ``Stretch``, ``Import`` or ``Call``.
        table, places: as ``nn.kernels.program.interpreter.run_program`` wants them.
        slots: where in the arena those values lie that are looked at from outside of the table, if
            they are no arrays.
        arena_size, scratch: how many numbers the arena and a thread's working memory have.
    """

    def __init__(self, trace: Trace, steps: list, constants: Constants):
        self.input, self.images, self.dtype = trace.input, trace.input.shape[0], trace.input.dtype
        self.rows = Table(self.images, constants)
        self.arena = Arena(self.images)
        self.planes: dict[Value, list[Plane]] = {}
        self.stages: list[Stretch | Import | Call] = []

        users = [step for step in steps if any(value is self.input for value in step.inputs)]
        if is_map(self.input, self.images) and all(
            _reads_in_place(step, self.input) for step in users
        ):
            self.planes[self.input] = external_planes(*channels_and_size(self.input))
        while steps:  # with each its weights go: they stand in the table now
            self.arena.moment += 1
            steps.pop(0).add_to(self)
        for value in values_among(trace.outputs):
            self.arena.read(self.planes.get(value, ()), FOREVER)
        self.finish(values_among(trace.outputs))

    @property
    def kinds(self) -> list[str]:
        """The name of the kind of each row of the table."""
        return [KINDS[number].name for number in self.table["kind"]]

    # For steps that add themselves

    def planes_of(self, value: Value) -> list[Plane]:
        """The planes of a map, read now; an array is brought into the arena first."""
        if value not in self.planes:
            self.new_planes(value)
            self.stages.append(Import(value))
        self.arena.read(self.planes[value])
        return self.planes[value]

    def new_planes(self, value: Value) -> list[Plane]:
        channels, *size = channels_and_size(value)
        self.planes[value] = self.arena.new_planes(tuple(size), channels)
        return self.planes[value]

    def new_row(
        self,
        source: Sequence[Plane],
        target: Sequence[Plane],
        second: Sequence[Plane] | None = None,
    ) -> Row:
        """A row of the table, run together with those just before it."""
        row = self.rows.add(source, target, second)
        for planes in (source, second or ()):
            self.arena.read(planes)
        if self.stages and isinstance(self.stages[-1], Stretch):
            self.stages[-1].last += 1
        else:
            self.stages.append(Stretch(len(self.rows.rows) - 1, len(self.rows.rows)))
        return row

    def add_stage(self, call: Call) -> None:
        """Run ``call`` as in the plain model."""
        for value in values_among(call.inputs):
            self.arena.read(self.planes.get(value, ()))
        self.stages.append(call.with_copies())

    # The table itself

    def finish(self, outputs: list[Value]) -> None:
        """Find a place for everything and write the table; what served to write it goes."""
        self.arena_size = self.arena.lay_out()
        for stage in self.stages:
            if isinstance(stage, Stretch):
                tasks = 0
                for row in self.rows.rows[stage.first : stage.last]:
                    row.first = tasks
                    tasks += row.tasks
        seen = set(outputs)
        for stage in self.stages:
            if isinstance(stage, Import):
                seen.add(stage.value)
            elif isinstance(stage, Call):
                seen.update(values_among(stage.inputs))
        self.slots = {
            value: (planes[0].shelf, slots_of(planes))
            for value, planes in self.planes.items()
            if value in seen
        }
        self.table, self.places = self.rows.write()
        self.scratch = self.rows.scratch
        del self.rows, self.arena, self.planes


def values_among(parts: Sequence) -> list[Value]:
    """Those of the inputs of a call, or of a trace's outputs, that are no constants."""
    return [part for part in parts if isinstance(part, Value)]


def is_map(value: Value, images: int) -> bool:
    """Whether it can lie in planes: (N, C, H, W), or (N, C), which is maps of one pixel."""
    return len(value.shape) in (2, 4) and value.shape[0] == images


def channels_and_size(value: Value) -> tuple[int, int, int]:
    return (*value.shape[1:], 1, 1)[:3]


def _reads_in_place(step, input: Value) -> bool:
    """Whether a step can read the network's input where it is, outside of the arena: a call, or a
    step that reads one map in this way."""
    others = [value for value in step.inputs if value is not input]
    return isinstance(step, Call) or (
        getattr(step, "input", None) is input and len(others) + 1 == len(step.inputs)
    )
