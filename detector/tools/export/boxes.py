"""Boxes in nodes of a graph: ``detector.boxes`` and ``AnchorGenerator.grid``. All are (R, 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.boxes import MAX_LOG_SCALE
from detector.parts.anchors import AnchorGenerator
from nn.onnx.graph import Graph


def add_anchors(graph: Graph, generator: AnchorGenerator, image_size: str) -> str:
    """All anchors of the map that belongs to an input of ``image_size`` (2,) int64, whose cells
    are rounded up."""
    stride = int(generator.stride)
    cells = graph.add("Div", graph.add("Add", image_size, stride - 1), stride)
    step = [float(generator.stride)] * 2
    return grid(graph, generator.shapes, cells, *step)


def grid(graph: Graph, shapes: np.ndarray, cells: str, step_y, step_x) -> str:
    """Boxes of (A, 2) widths and heights on each of ``cells`` (2,) int64: ``anchor_grid``."""
    parts = []
    for axis, step, mask in ((0, step_y, [0.0, 1, 0, 1]), (1, step_x, [1.0, 0, 1, 0])):
        count = graph.add("Squeeze", graph.slice(cells, axis, axis + 1, 0))
        middles = graph.cast(graph.add("Range", 0, count, 1), np.float32)
        middles = graph.add("Mul", graph.add("Add", middles, 0.5), step)
        middles = graph.add("Unsqueeze", middles, [1, 2, 3] if axis == 0 else [0, 2, 3])
        parts.append(graph.add("Mul", middles, mask))
    half = (shapes / 2).astype(np.float32)
    corners = np.concatenate([-half, half], axis=1)
    placed = graph.add("Add", graph.add("Add", *parts), corners)  # (H, W, A, 4)
    return graph.add("Reshape", placed, [-1, 4])


def decode(graph: Graph, deltas: str, anchors: str, stds: Sequence[float]) -> str:
    deltas = graph.add("Mul", deltas, np.asarray(stds, np.float32))
    first, last = graph.slice(anchors, 0, 2, -1), graph.slice(anchors, 2, 4, -1)
    sides = graph.add("Sub", last, first)
    centres = graph.add("Mul", graph.add("Add", first, last), 0.5)
    shift = graph.add("Mul", graph.slice(deltas, 0, 2, -1), sides)
    centres = graph.add("Add", centres, shift)
    growth = graph.add("Exp", graph.add("Min", graph.slice(deltas, 2, 4, -1), MAX_LOG_SCALE))
    half = graph.add("Mul", graph.add("Mul", sides, growth), 0.5)
    return graph.add(
        "Concat", graph.add("Sub", centres, half), graph.add("Add", centres, half), axis=-1
    )


def clip(graph: Graph, boxes: str, image_size: str) -> str:
    limits = graph.cast(graph.add("Gather", image_size, [1, 0, 1, 0]), np.float32)
    return graph.add("Min", graph.add("Max", boxes, 0.0), limits)


def rescale(graph: Graph, boxes: str, size: str, own_size: str) -> str:
    """Boxes of a picture of ``size`` in pixels of what it was made of: ``scale_boxes``."""
    scale = graph.add("Div", graph.cast(own_size, np.float32), graph.cast(size, np.float32))
    return graph.add("Mul", boxes, graph.add("Gather", scale, [1, 0, 1, 0]))


def longer_than(graph: Graph, boxes: str, least: float) -> str:
    """Whether both sides of each box are longer; (..., 4) -> (...) bool."""
    sides = graph.add("Sub", graph.slice(boxes, 2, 4, -1), graph.slice(boxes, 0, 2, -1))
    shorter = graph.add("ReduceMin", sides, [-1], keepdims=0)
    return graph.add("Greater", shorter, float(least))


def indices_of(graph: Graph, mask: str) -> str:
    """(R,) bool -> int64 indices of what is true."""
    return graph.add("Squeeze", graph.add("NonZero", mask), [0])


def nms(graph: Graph, boxes: str, scores: str, limit: int, iou: float, least: float = 0) -> str:
    """Boxes (B, R, 4) and scores (B, C, R) -> rows (K, 3) int64: batch, class, box.

    What scores ``least`` or less is left out.
    """
    return graph.add("NonMaxSuppression", boxes, scores, [limit], [float(iou)], [float(least)])


def column(graph: Graph, rows: str, number: int) -> str:
    """(K, 3) -> (K,)"""
    return graph.add("Gather", rows, number, axis=1)
