"""Layers with weights: convolutions, matrix products, normalisation."""

from __future__ import annotations

import numpy as np

from nn.ops.convolution import Conv2d, ConvTranspose2d
from nn.ops.linear import Linear, MatMul
from nn.ops.normalization import BatchNorm, GroupNorm, LocalResponseNorm, Normalize

UNIT = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}


def convolution(graph, seen, x, weight, *bias):
    return graph.add("Conv", x, weight, *bias, **_spacing(UNIT | seen.options))


def transposed_convolution(graph, seen, x, weight, *bias):
    more = _spacing(UNIT | seen.options)
    more["output_padding"] = list(seen.options["output_padding"])
    return graph.add("ConvTranspose", x, weight, *bias, **more)


def _spacing(options: dict) -> dict:
    return {
        "strides": list(options["stride"]),
        "pads": list(options["padding"]) * 2,
        "dilations": list(options["dilation"]),
        "group": options["groups"],
    }


def linear(graph, seen, x, weight, *bias):
    if seen.rank == 2:
        return graph.add("Gemm", x, weight, *bias, transB=1)
    product = graph.add("MatMul", x, graph.add("Transpose", weight, perm=[1, 0]))
    return graph.add("Add", product, *bias) if bias else product


def matrix_product(graph, seen, a, b):
    return graph.add("MatMul", a, b)


def batch_norm(graph, seen, x, weight, bias):
    options = seen.options
    statistics = options["running_mean"], options["running_var"]
    return graph.add("BatchNormalization", x, weight, bias, *statistics, epsilon=options["eps"])


def group_norm(graph, seen, x, weight, bias):
    """The groups as the channels of an instance norm, then each channel's own line."""
    groups, channels = seen.options["num_groups"], len(seen.first.inputs[1])
    ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    apart = graph.add("Reshape", x, [0, groups, -1])
    normal = graph.add("InstanceNormalization", apart, ones, zeros, epsilon=seen.options["eps"])
    normal = graph.add("Reshape", normal, graph.add("Shape", x))
    lines = [
        graph.add("Reshape", part, [1, channels] + [1] * (seen.rank - 2)) for part in (weight, bias)
    ]
    return graph.add("Add", graph.add("Mul", normal, lines[0]), lines[1])


def local_response_norm(graph, seen, x):
    options = seen.options
    return graph.add(
        "LRN", x, size=options["size"], alpha=options["alpha"], beta=options["beta"],
        bias=float(options["k"]),
    )  # fmt: skip


def normalize(graph, seen, x):
    length = graph.add("ReduceL2", x, [seen.options["dim"]], keepdims=1)
    return graph.add("Div", x, graph.add("Max", length, np.float32(seen.options["eps"])))


EMITTERS = {
    Conv2d: convolution,
    ConvTranspose2d: transposed_convolution,
    Linear: linear,
    MatMul: matrix_product,
    BatchNorm: batch_norm,
    GroupNorm: group_norm,
    LocalResponseNorm: local_response_norm,
    Normalize: normalize,
}
