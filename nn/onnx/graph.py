"""An ONNX graph in the making: a method call for each node, names made up along the way.

Values are their names. Where a node takes a value it takes numbers too, which become constants.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, checker, helper, numpy_helper

# Operator set 18 (ONNX 1.13, 2022): as low as GridSample and the reductions used here allow.
OPSET, IR_VERSION = 18, 8
MOST_SHARED = 64  # numbers of a constant that is stored once however often it is used


class Graph:
    """
    Args:
        names: of arrays (by their ``id``) that should keep them: a network's weights.
    """

    def __init__(self, names: dict[int, str] | None = None):
        self.names = names or {}
        self.nodes, self.inputs, self.outputs = [], [], []
        self._constants: dict[object, tuple[str, np.ndarray]] = {}

    def input(self, name: str, dtype: type, shape: Sequence[int | str | None]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, _kind(dtype), shape))
        return name

    def output(self, name: str, value: str, dtype: type, shape: Sequence[int | str]) -> None:
        """``value`` is an output of the graph, under this name."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, _kind(dtype), shape))

    def constant(self, array) -> str:
        """Numbers as a value. Python's own are float32 or int64."""
        own_name = self.names.get(id(array))
        if not isinstance(array, np.ndarray | np.generic):
            array = np.asarray(array)
            array = array.astype(np.float32 if array.dtype == np.float64 else np.int64)
        array = np.asarray(array)
        key: object = id(array)
        if own_name is None and array.size <= MOST_SHARED:
            key = array.dtype.str, array.shape, array.tobytes()
        name = own_name or f"constant_{len(self._constants)}"
        # The array is kept, so that no other gets its id.
        return self._constants.setdefault(key, (name, array))[0]

    def add(self, operator: str, *inputs, outputs: int = 1, **attributes):
        """Append a node; its output's name, or a list of names.

        Args:
            inputs: names, or numbers; an empty name is an optional input that is left out.
        """
        values = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        names = [f"{operator.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, values, names, **attributes))
        return names[0] if outputs == 1 else names

    def cast(self, value: str, dtype: type) -> str:
        return self.add("Cast", value, to=_kind(dtype))

    def slice(self, value: str, start: int, end: int, axis: int) -> str:
        """value[..., start:end, ...] along ``axis``."""
        return self.add("Slice", value, [start], [end], [axis])

    def size(self, value: str, axis: int) -> str:
        """How long an axis is, an int64 of the shape (1,)."""
        return self.add("Shape", value, start=axis, end=axis + 1)

    def model(self, title: str, metadata: dict[str, str] | None = None) -> ModelProto:
        """The finished model, checked.

        Raises:
            onnx.checker.ValidationError: a node is none that ONNX knows.
        """
        constants = [
            numpy_helper.from_array(array, name) for name, array in self._constants.values()
        ]
        graph = helper.make_graph(self.nodes, title, self.inputs, self.outputs, constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(
            graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="lighthead"
        )
        helper.set_model_props(model, metadata or {})
        checker.check_model(model)
        return model


def _kind(dtype: type) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
