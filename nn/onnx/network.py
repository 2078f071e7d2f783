"""A module as nodes of an ONNX graph, for inputs of any height and width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto

from nn.inference.any_size import NoEquivalentError, traces
from nn.inference.trace import Value
from nn.module import Module
from nn.onnx.emitters import EMITTERS
from nn.onnx.graph import Graph


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
    trace, calls = traces(module, shapes)
    named = {id(trace.input): input}

    def value_of(part: Value | np.ndarray) -> str | np.ndarray:
        return named[id(part)] if isinstance(part, Value) else part

    for seen in calls:
        name = seen.operation.__name__
        if seen.operation not in EMITTERS:
            raise NoEquivalentError(f"{name} has no form in ONNX here")
        inputs = map(value_of, seen.inputs)
        try:
            named[id(seen.first.output)] = EMITTERS[seen.operation](graph, seen, *inputs)
        except NotImplementedError as error:
            raise NoEquivalentError(f"{name} has no form in ONNX here: {error}") from None
    return [named[id(value)] for value in trace.outputs if isinstance(value, Value)]


def network_model(module: Module, shapes: Sequence[Sequence[int]]) -> ModelProto:
    """A network by itself: ``images`` (N, C, H, W) float32 -> ``scores`` (N, classes).

    Args:
        shapes: as in ``add_module``. Where both have one size, the graph is for that size.

    Raises:
        NoEquivalentError: something it computes cannot be said in ONNX.
    """
    graph = Graph({id(array): name for name, array in module.state_dict().items()})
    shape = [a if a == b else f"axis {i}" for i, (a, b) in enumerate(zip(*shapes, strict=True))]
    images = graph.input("images", np.float32, shape)
    scores, *_ = add_module(graph, module, images, shapes)
    graph.output("scores", scores, np.float32, [shape[0], None])
    return graph.model("network")
