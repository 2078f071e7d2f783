"""Pooling over windows, over whole maps and over parts of them."""

from __future__ import annotations

import numpy as np

from nn.ops.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d


def max_pool(graph, seen, x):
    return graph.add("MaxPool", x, dilations=list(seen.options["dilation"]), **_window(seen))


def average_pool(graph, seen, x):
    include = int(seen.options.get("count_include_pad", True))
    if seen.options["ceil_mode"] and include:
        raise NotImplementedError("runtimes do not agree on ceil_mode where padding counts")
    return graph.add("AveragePool", x, count_include_pad=include, **_window(seen))


def _window(seen) -> dict:
    options = seen.options
    return {
        "kernel_shape": list(options["kernel_size"]),
        "strides": list(options["stride"]),
        "pads": list(options["padding"]) * 2,
        "ceil_mode": int(options["ceil_mode"]),
    }


def adaptive(name: str):
    """Over the whole map, or in parts that are all of one size; means of others, where the size of
    the map is known, as matrix products."""

    def emit(graph, seen, x):
        if seen.shape[-2:] == [1, 1]:
            return graph.add(f"Global{name}", x)
        size = [round(1 / factor) if factor else 0 for factor in seen.factor]
        if np.allclose(np.multiply(size, [factor or 0 for factor in seen.factor]), 1):
            return graph.add(name, x, kernel_shape=size, strides=size)
        if None in seen.factor or None in seen.shape[-2:] or name != "AveragePool":
            raise NotImplementedError("parts of several sizes, or whose size depends on the input")
        rows, columns = map(parts, seen.inputs[0].shape[-2:], seen.shape[-2:])
        return graph.add("MatMul", rows, graph.add("MatMul", x, np.ascontiguousarray(columns.T)))

    return emit


def parts(cells: int, count: int) -> np.ndarray:
    """(count, cells): the weight of each cell in the mean of each part, as PyTorch divides them."""
    weights = np.zeros((count, cells), np.float32)
    for part in range(count):
        start, end = part * cells // count, -(-(part + 1) * cells // count)
        weights[part, start:end] = 1 / (end - start)
    return weights


EMITTERS = {
    MaxPool2d: max_pool,
    AvgPool2d: average_pool,
    AdaptiveAvgPool2d: adaptive("AveragePool"),
    AdaptiveMaxPool2d: adaptive("MaxPool"),
}
