"""Writing ONNX graphs by hand: a method for each operator, names made up along the way.

Without PyTorch's exporter, so that ONNX Runtime can be measured where PyTorch is not installed.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Graph:
    """A graph in the making; values are their names.

    Args:
        state: arrays by name, from a state_dict; those that are used become initializers.
    """

    def __init__(self, state: dict[str, np.ndarray]):
        self.state = state
        self.nodes, self.inputs, self.initializers = [], [], {}

    def input(self, name: str, shape) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def weight(self, name: str) -> str:
        """An array of the state by its name."""
        return self.constant(name, self.state[name])

    def constant(self, name: str, array) -> str:
        self.initializers[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes):
        """Append a node; its output's name, or a list of names."""
        names = [f"{operator.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x: str, name: str, stride: int = 1, groups: int = 1) -> str:
        """The convolution whose weights are called ``name``, padded to keep the size."""
        kernel = self.state[f"{name}.weight"].shape[2:]
        inputs = [x, self.weight(f"{name}.weight")]
        if f"{name}.bias" in self.state:
            inputs.append(self.weight(f"{name}.bias"))
        padding = [kernel[0] // 2, kernel[1] // 2]
        return self.add(
            "Conv", *inputs, kernel_shape=kernel, strides=[stride] * 2, group=groups,
            pads=padding * 2,
        )  # fmt: skip

    def batch_norm(self, x: str, name: str) -> str:
        parts = ("weight", "bias", "running_mean", "running_var")
        inputs = [self.weight(f"{name}.{part}") for part in parts]
        return self.add("BatchNormalization", x, *inputs, epsilon=1e-5)

    def linear(self, x: str, name: str) -> str:
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("Gemm", x, weight, bias, transB=1)

    def reshape(self, x: str, shape) -> str:
        name = "shape_" + "_".join(map(str, shape))
        return self.add("Reshape", x, self.constant(name, np.array(shape, np.int64)))

    def halves(self, x: str, size: int, axis: int) -> list[str]:
        """Two parts, ``size`` long each: who reads the graph need not know how long ``x`` is."""
        sizes = self.constant(f"twice_{size}", np.array([size, size], np.int64))
        return self.add("Split", x, sizes, outputs=2, axis=axis)

    def model(self, *outputs: str) -> bytes:
        """The finished model; ONNX Runtime checks it and works out the shapes."""
        results = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
        graph = helper.make_graph(
            self.nodes, "benchmark", self.inputs, results, list(self.initializers.values())
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
