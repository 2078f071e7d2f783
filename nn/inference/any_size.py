"""What a module computes at any height and width: its traces at two sizes, call beside call.

What is the same in both is the same always; what differs depends on the input. This is what it
takes to write a network down for other programs (``nn.onnx``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nn.inference.trace import Call, Trace, Value, trace
from nn.module import Module
from nn.ops.operation import Operation


class NoEquivalentError(ValueError):
    """Another program has no word for what a module does; the message names it."""


@dataclass(frozen=True)
class Seen:
    """An operation in both traces: the calls ``first`` and ``second``."""

    first: Call
    second: Call

    @property
    def operation(self) -> type[Operation]:
        return self.first.operation

    @property
    def inputs(self) -> tuple[Value | np.ndarray, ...]:
        return self.first.inputs

    @property
    def options(self) -> dict:
        return self.first.options

    @property
    def rank(self) -> int:
        """Of the first input."""
        return len(self.inputs[0].shape)

    @property
    def shape(self) -> list[int | None]:
        """Of the output; None where it varies."""
        return _same(self.first.output.shape, self.second.output.shape)

    @property
    def factor(self) -> list[float | None]:
        """The output's height and width divided by the input's; None where that varies."""
        return _same(*(
            np.divide(call.output.shape[2:], call.inputs[0].shape[2:]).tolist()
            for call in (self.first, self.second)
        ))  # fmt: skip

    @property
    def keeps_batch(self) -> bool:
        """Whether the first axis is as long as the input's."""
        return all(
            call.output.shape[:1] == call.inputs[0].shape[:1] for call in (self.first, self.second)
        )


def traces(module: Module, shapes: Sequence[Sequence[int]]) -> tuple[Trace, list[Seen]]:
    """What ``module`` in evaluation mode does.

    Args:
        shapes: two that its input may have, different wherever they may differ in use.

    Returns:
        the first trace, and its calls beside those of the second.

    Raises:
        NoEquivalentError: it does one thing at the one size and another at the other.
    """
    first, second = (trace(module, shape) for shape in shapes)
    if [done(call) for call in first.calls] != [done(call) for call in second.calls]:
        raise NoEquivalentError("what is computed depends on the size of the input")
    return first, [Seen(*calls) for calls in zip(first.calls, second.calls, strict=True)]


def done(call: Call) -> tuple:
    """The operation, and what it does at the borders of a map."""
    return call.operation, *(call.options.get(name) for name in ("stride", "padding", "widths"))


def _same(a: Sequence, b: Sequence) -> list:
    return [one if one == other else None for one, other in zip(a, b, strict=True)]
