"""A single-stage detector in nodes of a graph: ``OneStageDetector.detect`` step by step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.detectors.one_stage import OneStageDetector
from detector.detectors.yolo_v2 import YOLOv2
from detector.heads.retina import RetinaHead
from detector.necks.extra_maps import ExtraMaps
from detector.parts.default_boxes import DefaultBoxes
from detector.tools.export import SIZES, boxes
from detector.tools.export.picture import add_picture
from detector.tools.export.two_stage import select
from nn.inference.any_size import NoEquivalentError
from nn.onnx.graph import Graph
from nn.onnx.network import add_module

Detections = tuple[str, str, str]  # boxes (R, 4), scores (R,), labels (R,)
BEFORE = [0, 1, 0, 0]  # a column of padding before the first, for the background


def add_dense(graph: Graph, image: str, model: OneStageDetector) -> Detections:
    """From (H, W, 3) uint8 RGB to detections of a ``DenseHead``.

    Raises:
        NoEquivalentError: something it computes cannot be said in ONNX.
    """
    if isinstance(model.neck, ExtraMaps) and model.neck.padded < len(model.neck.extra):
        raise NoEquivalentError("neck.unpadded: there are maps for large pictures only")
    batch, own_size, size, padded = add_picture(graph, image, model.image)
    answers = add_module(graph, model, batch, SIZES)
    return read_answers(graph, model, answers, padded, (own_size, size))


def read_answers(
    graph: Graph, model: OneStageDetector, answers: Sequence[str], padded: str,
    sizes: tuple[str, str],
) -> Detections:  # fmt: skip
    """What a ``DenseHead`` says, logits and deltas (1, M, K), as detections; see ``finish``."""
    logits, deltas = (graph.add("Squeeze", answer, [0]) for answer in answers)
    if isinstance(model.head, RetinaHead):
        probabilities = graph.add("Pad", graph.add("Sigmoid", logits), BEFORE, np.float32(0))
    else:
        probabilities = graph.add("Softmax", logits, axis=1)
    anchors = default_boxes(graph, model.head.anchor_generator, padded)
    stds = model.head.settings.stds
    return finish(graph, model, probabilities, deltas, anchors, sizes, stds)


def add_yolo_v2(graph: Graph, image: str, model: YOLOv2) -> Detections:
    """From (H, W, 3) uint8 RGB to detections; ``YOLOv2Head.deltas`` and its scores."""
    batch, own_size, size, padded = add_picture(graph, image, model.image)
    (outputs,) = add_module(graph, model, batch, SIZES)
    outputs, C = graph.add("Squeeze", outputs, [0]), model.num_classes
    fit = graph.add("Sigmoid", graph.slice(outputs, 4, 5, 1))
    classes = graph.add("Softmax", graph.slice(outputs, 5, 5 + C, 1), axis=1)
    probabilities = graph.add("Pad", graph.add("Mul", fit, classes), BEFORE, np.float32(0))
    generator = model.head.anchor_generator
    anchors = boxes.add_anchors(graph, generator, padded)
    sides = graph.add("Sub", graph.slice(anchors, 2, 4, 1), graph.slice(anchors, 0, 2, 1))
    within = graph.add("Sub", graph.add("Sigmoid", graph.slice(outputs, 0, 2, 1)), 0.5)
    shift = graph.add("Div", graph.add("Mul", within, float(generator.stride)), sides)
    deltas = graph.add("Concat", shift, graph.slice(outputs, 2, 4, 1), axis=1)
    return finish(graph, model, probabilities, deltas, anchors, (own_size, size), (1.0,) * 4)


def default_boxes(graph: Graph, generator: DefaultBoxes, padded: str) -> str:
    """``DefaultBoxes.grid`` for a picture of the size ``padded``, each map half the one before."""
    found, side = [], graph.cast(padded, np.float32)
    for shapes, stride in zip(generator.of_maps, generator.strides, strict=True):
        if len(shapes):
            cells = graph.add("Div", graph.add("Add", padded, stride - 1), int(stride))
            step = graph.add("Div", side, graph.cast(cells, np.float32))
            y, x = graph.slice(step, 0, 1, 0), graph.slice(step, 1, 2, 0)
            found.append(boxes.grid(graph, shapes, cells, y, x))
    return graph.add("Concat", *found, axis=0)


def finish(
    graph: Graph, model: OneStageDetector, probabilities: str, deltas: str, anchors: str,
    sizes: tuple[str, str], stds: Sequence[float],
) -> Detections:  # fmt: skip
    """What remains, in pixels of the picture; ``sizes`` are its own and that in the network."""
    own_size, size = sizes
    selector, C = model.head.settings.selector, model.num_classes
    found, scores, labels = select(graph, selector, stds, probabilities, deltas, anchors, size, C)
    return boxes.rescale(graph, found, size, own_size), scores, labels
