"""A module as nodes of an ONNX graph, for inputs of any height and width.

The module is traced twice (``nn.inference.trace``), at two sizes. What is the same in both traces
is a constant of the graph; what differs depends on the input and is left to the graph to find out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nn.inference.trace import Call, Value, trace
from nn.module import Module
from nn.onnx.emitters import EMITTERS
from nn.onnx.graph import Graph


class NoEquivalentError(ValueError):
    """There is no ONNX node for what a module does; the message names it."""


@dataclass(frozen=True)
class Seen:
    """An operation in both traces.

    Attributes:
        first, second: the calls.
        shape: of the output, None where it varies.
    """

    first: Call
    second: Call

    @property
    def shape(self) -> list[int | None]:
        sizes = zip(self.first.output.shape, self.second.output.shape, strict=True)
        return [a if a == b else None for a, b in sizes]

    @property
    def options(self) -> dict:
        return self.first.options

    @property
    def rank(self) -> int:
        """Of the first input."""
        return len(self.first.inputs[0].shape)


def add_module(
    graph: Graph, module: Module, input: str, shapes: Sequence[Sequence[int]]
) -> list[str]:
    """Write ``module`` in evaluation mode into the graph.

    Args:
        input: the value that it reads.
        shapes: two that it could have, different wherever it may differ in use.

    Returns:
        the values of the tensors that the module returns, in their order.

    Raises:
        NoEquivalentError: something it computes cannot be said in ONNX.
    """
    traces = [trace(module, shape) for shape in shapes]
    named = {id(traces[0].input): input}

    def value_of(part: Value | np.ndarray) -> str | np.ndarray:
        return named[id(part)] if isinstance(part, Value) else part

    for first, second in zip(*(each.calls for each in traces), strict=True):
        operation = first.operation
        if operation not in EMITTERS:
            raise NoEquivalentError(f"{operation.__name__} has no form in ONNX here")
        inputs = [value_of(part) for part in first.inputs]
        try:
            named[id(first.output)] = EMITTERS[operation](graph, Seen(first, second), *inputs)
        except NotImplementedError as error:
            raise NoEquivalentError(
                f"{operation.__name__} has no form in ONNX here: {error}"
            ) from None
    return [named[id(value)] for value in traces[0].outputs if isinstance(value, Value)]
