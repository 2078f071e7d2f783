"""Pooling over windows and over whole maps."""

from __future__ import annotations

from nn.ops.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d


def max_pool(graph, seen, x):
    return graph.add("MaxPool", x, dilations=list(seen.options["dilation"]), **_window(seen))


def average_pool(graph, seen, x):
    if seen.options["ceil_mode"]:
        raise NotImplementedError("runtimes do not agree on ceil_mode")
    include = int(seen.options.get("count_include_pad", True))
    return graph.add("AveragePool", x, count_include_pad=include, **_window(seen))


def _window(seen) -> dict:
    options = seen.options
    return {
        "kernel_shape": list(options["kernel_size"]),
        "strides": list(options["stride"]),
        "pads": list(options["padding"]) * 2,
        "ceil_mode": int(options["ceil_mode"]),
    }


def whole(operator: str):
    def emit(graph, seen, x):
        if tuple(seen.shape[-2:]) != (1, 1):
            raise NotImplementedError("only the pooling of whole maps")
        return graph.add(operator, x)

    return emit


EMITTERS = {
    MaxPool2d: max_pool,
    AvgPool2d: average_pool,
    AdaptiveAvgPool2d: whole("GlobalAveragePool"),
    AdaptiveMaxPool2d: whole("GlobalMaxPool"),
}
