"""A photograph of any size, made what the network reads, in nodes of a graph: ``parts.preprocess``.

Resizing is two matrix products, along the rows and along the columns, since runtimes do not agree
on ONNX's own node for it (some leave out the averaging that makes a picture smaller). The matrices
are those of Pillow's bilinear filter::

    M[i, j] = max(1 - |j + 1/2 - (i + 1/2) r| / max(r, 1), 0),  each row divided by its sum

for r = old size / new size, and after each product numbers are rounded, as bytes are. Nearly all of
a matrix is 0, away from its diagonal; so it is cut into blocks of rows, and a block is multiplied
with just the pixels that it weighs.
"""

from __future__ import annotations

import numpy as np

from detector.parts.preprocess import SIZE_MULTIPLE, ImageSettings
from nn.onnx.graph import Graph

BLOCKS = 16  # of rows of a matrix


def add_picture(
    graph: Graph, image: str, settings: ImageSettings, size: str | None = None
) -> tuple[str, str, str, str]:
    """From (H, W, 3) uint8 RGB to (1, 3, h, w) float32, normalised and padded.

    Args:
        size: (2,) int64 that the network sees, if it is not what ``settings`` say.

    Returns:
        the batch; the sizes (2,) int64, height and width, of the image, of what the network sees of
        it, and of the batch.
    """
    own_size = graph.add("Shape", image, start=0, end=2)
    size = size or network_size(graph, own_size, settings)
    planes = graph.add("Transpose", graph.cast(image, np.float32), perm=[2, 0, 1])
    for axis in (1, 0):
        planes = resized(graph, planes, own_size, size, axis)

    std = np.asarray(settings.std, np.float64)
    scale = (1 / (255 * std)).astype(np.float32).reshape(3, 1, 1)
    shift = (-np.asarray(settings.mean) / std).astype(np.float32).reshape(3, 1, 1)
    planes = graph.add("Add", graph.add("Mul", planes, scale), shift)

    cells = graph.add("Div", graph.add("Add", size, SIZE_MULTIPLE - 1), SIZE_MULTIPLE)
    padded = graph.add("Mul", cells, SIZE_MULTIPLE)
    widths = graph.add("Concat", [0, 0, 0, 0], graph.add("Sub", padded, size), axis=0)
    batch = graph.add("Unsqueeze", graph.add("Pad", planes, widths), [0])
    return batch, own_size, size, padded


def network_size(graph: Graph, own_size: str, settings: ImageSettings) -> str:
    """``preprocess.network_size`` in whole numbers: side * n / d, rounded, halves to even ones.

    n / d is short_side / shorter or max_side / longer, whichever is less.
    """
    shorter, longer = (graph.add(f"Reduce{which}", own_size, [0]) for which in ("Min", "Max"))
    is_long = graph.add(
        "Less",
        graph.add("Mul", shorter, settings.max_side),
        graph.add("Mul", longer, settings.short_side),
    )
    n = graph.add("Where", is_long, settings.max_side, settings.short_side)
    d = graph.add("Where", is_long, longer, shorter)
    product = graph.add("Mul", own_size, n)
    whole = graph.add("Div", product, d)
    rest = graph.add("Sub", product, graph.add("Mul", whole, d))
    odd = graph.add("Sub", whole, graph.add("Mul", graph.add("Div", whole, 2), 2))
    twice = graph.add("Add", graph.add("Mul", rest, 2), odd)
    more = graph.cast(graph.add("Greater", twice, d), np.int64)
    size = graph.add("Min", graph.add("Add", whole, more), settings.max_side)
    return graph.add("Max", size, 1)


def resized(graph: Graph, planes: str, old_size: str, new_size: str, axis: int) -> str:
    """(3, H, W) with ``new_size[axis]`` rows or columns (axis 0 or 1) instead of ``old_size``'s."""
    old, new = (graph.slice(size, axis, axis + 1, 0) for size in (old_size, new_size))
    ratio = graph.add("Div", graph.cast(old, np.float32), graph.cast(new, np.float32))
    reach = graph.add("Max", ratio, 1.0)
    edges = [graph.add("Div", graph.add("Mul", new, i), BLOCKS) for i in range(BLOCKS + 1)]
    parts = []
    for i in range(BLOCKS):
        top, bottom = (
            graph.add("Mul", graph.cast(edge, np.float32), ratio) for edge in edges[i : i + 2]
        )
        first = graph.cast(graph.add("Max", graph.add("Sub", top, reach), 0.0), np.int64)
        last = graph.cast(graph.add("Add", graph.add("Add", bottom, reach), 1.0), np.int64)
        last = graph.add("Min", last, old)
        matrix = resizing(graph, ratio, reach, (edges[i], edges[i + 1]), (first, last))
        pixels = graph.add("Slice", planes, first, last, [axis + 1])
        if axis == 0:
            parts.append(graph.add("MatMul", matrix, pixels))
        else:
            parts.append(graph.add("MatMul", pixels, graph.add("Transpose", matrix, perm=[1, 0])))
    return graph.add("Floor", graph.add("Add", graph.add("Concat", *parts, axis=axis + 1), 0.5))


def resizing(
    graph: Graph, ratio: str, reach: str, rows: tuple[str, str], columns: tuple[str, str]
) -> str:
    """A block of M: its rows, the pixels that there will be, and columns, those that there are."""
    middles, pixels = (
        graph.add("Add", graph.cast(graph.add("Range", *scalars(graph, ends), 1), np.float32), 0.5)
        for ends in (rows, columns)
    )
    middles = graph.add("Unsqueeze", graph.add("Mul", middles, ratio), [1])
    far = graph.add("Div", graph.add("Abs", graph.add("Sub", pixels, middles)), reach)
    weights = graph.add("Relu", graph.add("Sub", 1.0, far))
    return graph.add("Div", weights, graph.add("ReduceSum", weights, [1]))


def scalars(graph: Graph, values: tuple[str, ...]) -> list[str]:
    """(1,) -> ()"""
    return [graph.add("Squeeze", value, [0]) for value in values]
