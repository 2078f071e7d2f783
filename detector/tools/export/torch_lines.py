"""ONNX's operators as lines of PyTorch: ``OPERATORS`` is the table, ``lines_of`` writes a graph.

An entry is a function (node) that returns an expression; ``Node`` has the arguments as code, their
values where they are constants, and the attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import GraphProto, helper, numpy_helper

KINDS = {np.dtype(np.float32): "float32", np.dtype(np.int64): "int64", np.dtype(bool): "bool"}


@dataclass(frozen=True)
class Node:
    """args: code; values: arrays, or None where they are computed; options: attributes."""

    args: list[str]
    values: list[np.ndarray | None]
    options: dict[str, Any]

    def list(self, index: int) -> list:
        """A constant argument as Python's numbers."""
        return np.atleast_1d(self.values[index]).tolist()

    def get(self, name: str, default=None):
        return self.options.get(name, default)


def lines_of(graph: GraphProto) -> list[str]:
    """The nodes in their order, each an assignment; inputs and outputs have their own names."""
    arrays = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    code = {name: _constant(name, array) for name, array in arrays.items()}
    code |= {each.name: each.name for each in graph.input} | {"": "None"}
    last = {name: i for i, node in enumerate(graph.node) for name in node.input}
    lines = []
    for number, node in enumerate(graph.node):
        options = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        inputs = list(node.input)
        expression = OPERATORS[node.op_type](
            Node([code[name] for name in inputs], [arrays.get(name) for name in inputs], options)
        )
        names = [_name(output, number, index) for index, output in enumerate(node.output)]
        code |= dict(zip(node.output, names, strict=True))
        targets = [
            name if output in last or output == name else "_"
            for output, name in zip(node.output, names, strict=True)
        ]
        lines.append(f"{', '.join(targets)} = {expression}")
    return lines


def _name(output: str, number: int, index: int) -> str:
    made_up = output.rsplit("_", 2)[1:] == [str(number), str(index)]
    return f"x{number}" + "abc"[index] * (index > 0) if made_up else output


def _constant(name: str, array: np.ndarray) -> str:
    if not name.startswith("constant_"):
        return f'w["{name}"]'
    if array.ndim == 0:
        return repr(array.item())
    return f"torch.tensor({array.tolist()}, dtype=torch.{KINDS[array.dtype]})"


def of(pattern: str) -> Callable[[Node], str]:
    """``"{0} + {1}"``: the arguments put in."""
    return lambda node: pattern.format(*node.args)


def reduce(name: str) -> Callable[[Node], str]:
    def expression(node: Node) -> str:
        axes, keep = node.list(1), bool(node.get("keepdims", 1))
        return f"{node.args[0]}.{name}({tuple(axes)}, keepdim={keep})"

    return expression


def divide(node: Node) -> str:
    """Whole numbers, and only positive ones, stay whole."""
    return f"divide({node.args[0]}, {node.args[1]})"


def extreme(name: str) -> Callable[[Node], str]:
    """Of two values, of which the second may be a number."""

    def expression(node: Node) -> str:
        a, b = node.args
        if node.values[1] is not None and node.values[1].ndim == 0:
            return f"{a}.clamp({'max' if name == 'minimum' else 'min'}={b})"
        return f"torch.{name}({a}, {b})"

    return expression


def shape(node: Node) -> str:
    start, end = node.get("start", 0), node.get("end", "")
    return f"torch.tensor({node.args[0]}.shape[{start}:{end}])"


def slices(node: Node) -> str:
    starts, ends, axes = (node.list(index) for index in (1, 2, 3))
    steps = node.list(4) if len(node.args) > 4 else [1] * len(axes)
    code = node.args[0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        picked = f"{start}:{'' if end >= 2**62 else end}" + f":{step}" * (step != 1)
        if axis == -1:
            code += f"[..., {picked}]"
        else:
            code += f"[{':, ' * axis}{picked}]"
    return code


def squeeze(node: Node) -> str:
    if len(node.args) == 1:
        return f"{node.args[0]}.squeeze()"
    return node.args[0] + "".join(f".squeeze({a})" for a in sorted(node.list(1))[::-1])


def unsqueeze(node: Node) -> str:
    return node.args[0] + "".join(f".unsqueeze({a})" for a in sorted(node.list(1)))


def reshape(node: Node) -> str:
    x = node.args[0]
    if node.values[1] is None:
        return f"{x}.reshape(tuple({node.args[1]}.tolist()))"
    sizes = [f"{x}.shape[{i}]" if n == 0 else str(n) for i, n in enumerate(node.list(1))]
    return f"{x}.reshape({', '.join(sizes)})"


def cast(node: Node) -> str:
    kind = KINDS[np.dtype(helper.tensor_dtype_to_np_dtype(node.options["to"]))]
    return f"{node.args[0]}.to(torch.{kind})"


def window(node: Node) -> str:
    if node.get("dilations", [1, 1]) != [1, 1]:
        return f"{_spacing(node, 'strides')}, dilation={tuple(node.options['dilations'])}"
    return _spacing(node, "strides")


def _spacing(node: Node, strides: str) -> str:
    stride, pads = tuple(node.options[strides]), node.get("pads", [0] * 4)
    return f"stride={stride}, padding={tuple(pads[:2])}"


def conv(node: Node) -> str:
    bias = node.args[2] if len(node.args) > 2 else "None"
    group = node.get("group", 1)
    return f"F.conv2d({node.args[0]}, {node.args[1]}, {bias}, {window(node)}, groups={group})"


def batch_norm(node: Node) -> str:
    x, weight, bias, mean, variance = node.args
    eps = f"eps={node.options['epsilon']:.6g}"
    return f"F.batch_norm({x}, {mean}, {variance}, {weight}, {bias}, {eps})"


def max_pool(node: Node) -> str:
    size = tuple(node.options["kernel_shape"])
    ceil = bool(node.get("ceil_mode", 0))
    return f"F.max_pool2d({node.args[0]}, {size}, {window(node)}, ceil_mode={ceil})"


def average_pool(node: Node) -> str:
    size = tuple(node.options["kernel_shape"])
    include = f"count_include_pad={bool(node.get('count_include_pad', 0))}"
    return f"F.avg_pool2d({node.args[0]}, {size}, {_spacing(node, 'strides')}, {include})"


def gemm(node: Node) -> str:
    return f"F.linear({', '.join(node.args)})"


def resize(node: Node) -> str:
    factors = tuple(node.list(2)[2:])
    if node.get("mode", b"nearest") == b"nearest":
        return f"F.interpolate({node.args[0]}, scale_factor={factors})"
    corners = node.options["coordinate_transformation_mode"] == b"align_corners"
    how = f"mode='bilinear', align_corners={corners}"
    return f"F.interpolate({node.args[0]}, scale_factor={factors}, {how})"


def pad(node: Node) -> str:
    """Of the last two axes, at their ends."""
    return f"F.pad({node.args[0]}, (0, int({node.args[1]}[-1]), 0, int({node.args[1]}[-2])))"


def gather(node: Node) -> str:
    axis, places = node.get("axis", 0), node.args[1]
    if node.values[1] is not None:
        places = str(node.values[1].tolist())
    return f"{node.args[0]}[{':, ' * axis}{places}]"


def nms(node: Node) -> str:
    limit, iou, least = (node.list(index)[0] for index in (2, 3, 4))
    return f"nms({node.args[0]}, {node.args[1]}, {limit}, {iou}, {least})"


def number_range(node: Node) -> str:
    return f"torch.arange({', '.join(_number(arg) for arg in node.args)})"


def _number(code: str) -> str:
    return code if code[0] in "-0123456789" else f"{code}.item()"


OPERATORS: dict[str, Callable[[Node], str]] = {
    "Abs": of("{0}.abs()"),
    "Add": of("{0} + {1}"),
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Cast": cast,
    "Clip": of("{0}.clamp({1}, {2})"),
    "Concat": lambda node: f"torch.cat([{', '.join(node.args)}], dim={node.options['axis']})",
    "Conv": conv,
    "Div": divide,
    "Exp": of("{0}.exp()"),
    "Floor": of("{0}.floor()"),
    "Gather": gather,
    "GatherND": of("{0}[tuple({1}.T)]"),
    "Gemm": gemm,
    "GlobalAveragePool": of("{0}.mean((2, 3), keepdim=True)"),
    "Greater": of("{0} > {1}"),
    "GridSample": of("F.grid_sample({0}, {1}, padding_mode='border', align_corners=False)"),
    "HardSigmoid": of("F.hardsigmoid({0})"),
    "HardSwish": of("F.hardswish({0})"),
    "Identity": of("{0}"),
    "LeakyRelu": lambda node: f"F.leaky_relu({node.args[0]}, {node.options['alpha']:.6g})",
    "Less": of("{0} < {1}"),
    "MatMul": of("{0} @ {1}"),
    "Max": extreme("maximum"),
    "MaxPool": max_pool,
    "Min": extreme("minimum"),
    "Mul": of("{0} * {1}"),
    "NonMaxSuppression": nms,
    "NonZero": of("{0}.nonzero().T"),
    "Pad": pad,
    "Pow": of("{0} ** {1}"),
    "Range": number_range,
    "ReduceMax": reduce("amax"),
    "ReduceMean": reduce("mean"),
    "ReduceMin": reduce("amin"),
    "ReduceSum": reduce("sum"),
    "Relu": of("F.relu({0})"),
    "Reshape": reshape,
    "Resize": resize,
    "Shape": shape,
    "Sigmoid": of("{0}.sigmoid()"),
    "Slice": slices,
    "Softmax": lambda node: f"{node.args[0]}.softmax({node.options['axis']})",
    "Squeeze": squeeze,
    "Sub": of("{0} - {1}"),
    "Tanh": of("{0}.tanh()"),
    "TopK": lambda node: f"top({node.args[0]}, {node.args[1]})",
    "Transpose": lambda node: f"{node.args[0]}.permute({tuple(node.options['perm'])})",
    "Unsqueeze": unsqueeze,
    "Where": of("torch.where({0}, {1}, {2})"),
}
