"""What works element by element, and reductions."""

from __future__ import annotations

import numpy as np

from nn.ops import activation, arithmetic, elementwise, reduction


def node(operator: str, *constants: float):
    """An operator with the inputs as they are, and maybe numbers after them."""

    def emit(graph, seen, *inputs):
        return graph.add(operator, *inputs, *(np.float32(number) for number in constants))

    return emit


def hard_sigmoid(graph, seen, x):
    return graph.add("HardSigmoid", x, alpha=1 / 6, beta=0.5)


def silu(graph, seen, x):
    return graph.add("Mul", x, graph.add("Sigmoid", x))


def leaky_relu(graph, seen, x):
    return graph.add("LeakyRelu", x, alpha=float(seen.options["negative_slope"]))


def along(operator: str):
    """An operator along one axis."""

    def emit(graph, seen, x):
        return graph.add(operator, x, axis=int(seen.options["dim"]) % seen.rank)

    return emit


def power(graph, seen, x):
    return graph.add("Pow", x, np.float32(seen.options["exponent"]))


def clamp(graph, seen, x):
    limits = (seen.options["min"], seen.options["max"])
    return graph.add("Clip", x, *("" if each is None else np.float32(each) for each in limits))


def where(graph, seen, condition, a, b):
    return graph.add("Where", graph.cast(graph.add("Identity", condition), bool), a, b)


def reduce(operator: str):
    def emit(graph, seen, x):
        dim, keep = seen.options["dim"], int(seen.options["keepdim"])
        if dim is None:
            return graph.add(operator, x, keepdims=keep)
        axes = [int(axis) % seen.rank for axis in (dim if isinstance(dim, tuple | list) else [dim])]
        return graph.add(operator, x, axes, keepdims=keep)

    return emit


EMITTERS = {
    arithmetic.Add: node("Add"),
    arithmetic.Subtract: node("Sub"),
    arithmetic.Multiply: node("Mul"),
    arithmetic.Divide: node("Div"),
    arithmetic.Negate: node("Neg"),
    arithmetic.Power: power,
    elementwise.Exp: node("Exp"),
    elementwise.Log: node("Log"),
    elementwise.Abs: node("Abs"),
    elementwise.Sqrt: node("Sqrt"),
    elementwise.Clamp: clamp,
    elementwise.Where: where,
    activation.ReLU: node("Relu"),
    activation.ReLU6: node("Clip", 0, 6),
    activation.Sigmoid: node("Sigmoid"),
    activation.Tanh: node("Tanh"),
    activation.LeakyReLU: leaky_relu,
    activation.Hardsigmoid: hard_sigmoid,
    activation.Hardswish: node("HardSwish"),
    activation.SiLU: silu,
    activation.Softmax: along("Softmax"),
    activation.LogSoftmax: along("LogSoftmax"),
    reduction.Sum: reduce("ReduceSum"),
    reduction.Mean: reduce("ReduceMean"),
    reduction.Max: reduce("ReduceMax"),
    reduction.Min: reduce("ReduceMin"),
    reduction.Prod: reduce("ReduceProd"),
}
