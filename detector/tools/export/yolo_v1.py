"""YOLO v1 in nodes of a graph: ``YOLOv1.detect`` step by step.

Its fully connected layers want one size, and every picture is stretched to that.
"""

from __future__ import annotations

import numpy as np

from detector.detectors.yolo_v1 import YOLOv1
from detector.heads.yolo_v1 import YOLOv1Head
from detector.parts.preprocess import SIZE_MULTIPLE
from detector.tools.export.one_stage import BEFORE, Detections, finish
from detector.tools.export.picture import add_picture
from nn.onnx.graph import Graph
from nn.onnx.network import add_module


def add_detector(graph: Graph, image: str, model: YOLOv1) -> Detections:
    """From (H, W, 3) uint8 RGB to detections.

    Raises:
        NoEquivalentError: something it computes cannot be said in ONNX.
    """
    side, head, C = model.image.short_side, model.head, model.num_classes
    padded = -(-side // SIZE_MULTIPLE) * SIZE_MULTIPLE
    square = graph.constant([side, side])
    batch, own_size, *_ = add_picture(graph, image, model.image, square)
    (outputs,) = add_module(graph, model, batch, [(1, 3, padded, padded)] * 2)
    outputs = graph.add("Squeeze", outputs, [0])
    classes = graph.add("Clip", graph.slice(outputs, 0, C, 1), 0.0, 1.0)
    said = graph.slice(outputs, C, C + 5 * head.settings.boxes, 1)
    said = graph.add("Reshape", said, [-1, head.settings.boxes, 5])
    fits = graph.add("Clip", graph.slice(said, 0, 1, 2), 0.0, 1.0)
    scores = graph.add("Mul", fits, graph.add("Unsqueeze", classes, [1]))  # (S S, B, C)
    probabilities = graph.add("Pad", graph.add("Reshape", scores, [-1, C]), BEFORE, np.float32(0))
    boxes = add_boxes(graph, head, said, padded)
    stay = graph.add("Mul", boxes, 0.0)
    return finish(graph, model, probabilities, stay, boxes, (own_size, square), (1.0,) * 4)


def add_boxes(graph: Graph, head: YOLOv1Head, said: str, side: int) -> str:
    """``YOLOv1Head.boxes`` of (S S, B, 5), in pixels of a square batch: (S S B, 4)."""
    S = head.settings.cells
    corners = np.stack(np.meshgrid(np.arange(S), np.arange(S)), axis=2).reshape(S * S, 1, 2)
    centres = graph.add("Add", graph.slice(said, 1, 3, 2), corners.astype(np.float32))
    centres = graph.add("Div", centres, float(S))
    roots = graph.slice(said, 3, 5, 2)
    half = graph.add("Mul", graph.add("Mul", roots, roots), 0.5)
    both = graph.add("Sub", centres, half), graph.add("Add", centres, half)
    boxes = graph.add("Mul", graph.add("Concat", *both, axis=2), float(side))
    return graph.add("Reshape", boxes, [-1, 4])
