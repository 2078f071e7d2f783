"""The networks as ONNX graphs, from our state_dicts."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.onnx_graph import Graph

BLOCKS = {"stage2": 4, "stage3": 8, "stage4": 4}


def classifier(state, shape) -> bytes:
    """ShuffleNet v2: images (N, 3, H, W) -> scores (N, classes)."""
    graph = Graph(state)
    _, stage4 = backbone(graph, graph.input("images", shape), shape[0], "")
    conv5 = conv_bn_relu(graph, stage4, "conv5", 0)
    mean = graph.add("GlobalAveragePool", conv5)
    mean = graph.reshape(mean, (shape[0], -1))
    return graph.model(graph.linear(mean, "fc"))


def network(state, shape, regions: int) -> bytes:
    """The S detector's network part: images and pooled features (K, 490) -> objectness (N, M),
    deltas (N, M, 4), the thin map, class logits (K, 1 + C) and box deltas (K, 4)."""
    graph = Graph(state)
    images = graph.input("images", shape)
    pooled = graph.input("pooled", (regions, state["head.hidden.weight"].shape[1]))
    N = shape[0]
    stage3, stage4 = backbone(graph, images, N, "backbone.")

    hidden = graph.add("Relu", graph.conv(stage3, "rpn.conv.0"))
    scores = graph.conv(hidden, "rpn.objectness")
    scores = graph.reshape(graph.add("Transpose", scores, perm=[0, 2, 3, 1]), (N, -1, 2))
    background, foreground = graph.halves(scores, 1, axis=2)
    objectness = graph.reshape(graph.add("Sub", foreground, background), (N, -1))
    deltas = graph.add("Transpose", graph.conv(hidden, "rpn.deltas"), perm=[0, 2, 3, 1])
    deltas = graph.reshape(deltas, (N, -1, 4))

    branches = []
    for name in ("tall_wide", "wide_tall"):
        branch = f"thin_map.conv.{name}"
        branches.append(graph.conv(graph.conv(stage4, f"{branch}.0"), f"{branch}.1"))
    thin = graph.add("Relu", graph.add("Add", *branches))

    features = graph.add("Relu", graph.linear(pooled, "head.hidden"))
    logits, boxes = graph.linear(features, "head.classes"), graph.linear(features, "head.boxes")
    return graph.model(objectness, deltas, thin, logits, boxes)


def convolution(state, shape, stride: int, groups: int) -> bytes:
    """One convolution, its weights called "conv.weight" and "conv.bias"."""
    graph = Graph(state)
    return graph.model(graph.conv(graph.input("images", shape), "conv", stride, groups))


def matrix_product(size: int) -> bytes:
    graph = Graph({})
    a, b = graph.input("a", (size, size)), graph.input("b", (size, size))
    return graph.model(graph.add("MatMul", a, b))


def backbone(graph: Graph, x: str, N: int, prefix: str) -> tuple[str, str]:
    """The maps of stages 3 and 4."""
    x = conv_bn_relu(graph, x, f"{prefix}conv1", 0, stride=2)
    x = graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    maps = {}
    for stage, blocks in BLOCKS.items():
        for number in range(blocks):
            x = block(graph, x, N, f"{prefix}{stage}.{number}", 1 if number else 2)
        maps[stage] = x
    return maps["stage3"], maps["stage4"]


def block(graph: Graph, x: str, N: int, name: str, stride: int) -> str:
    if stride == 2:
        left, right = depthwise_bn(graph, x, f"{name}.branch1", 0, 2), x
        left = conv_bn_relu(graph, left, f"{name}.branch1", 2)
    else:
        half = graph.state[f"{name}.branch2.0.weight"].shape[1]
        left, right = graph.halves(x, half, axis=1)
    right = conv_bn_relu(graph, right, f"{name}.branch2", 0)
    right = depthwise_bn(graph, right, f"{name}.branch2", 3, stride)
    right = conv_bn_relu(graph, right, f"{name}.branch2", 5)
    x = graph.add("Concat", left, right, axis=1)
    return channel_shuffle(graph, x, 2 * len(graph.state[f"{name}.branch2.5.weight"]))


def channel_shuffle(graph: Graph, x: str, channels: int) -> str:
    """Rows and columns exchanged, with height and width left as they are."""
    size = graph.add("Shape", x, start=2)
    apart = graph.constant(f"apart_{channels}", np.array([0, 2, channels // 2], np.int64))
    together = graph.constant(f"together_{channels}", np.array([0, channels], np.int64))
    x = graph.add("Reshape", x, graph.add("Concat", apart, size, axis=0))
    x = graph.add("Transpose", x, perm=[0, 2, 1, 3, 4])
    return graph.add("Reshape", x, graph.add("Concat", together, size, axis=0))


def conv_bn_relu(graph: Graph, x: str, name: str, first: int, stride: int = 1) -> str:
    x = graph.conv(x, f"{name}.{first}", stride)
    return graph.add("Relu", graph.batch_norm(x, f"{name}.{first + 1}"))


def depthwise_bn(graph: Graph, x: str, name: str, first: int, stride: int) -> str:
    groups = len(graph.state[f"{name}.{first}.weight"])
    x = graph.conv(x, f"{name}.{first}", stride, groups)
    return graph.batch_norm(x, f"{name}.{first + 1}")
