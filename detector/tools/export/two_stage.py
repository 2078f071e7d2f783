"""A two-stage detector in nodes of a graph: ``TwoStageDetector.detect`` step by step.

The network is written from its trace (``nn.onnx.network``); what is done with regions follows here
and in ``region_heads``, with the operators that every runtime has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import nn
from detector.detectors.two_stage import TwoStageDetector
from detector.heads.mask import MaskHead
from detector.heads.region_head import RegionHead
from detector.heads.rpn import RegionProposalNetwork
from detector.parts.pyramid_anchors import PyramidAnchors
from detector.parts.selection import DetectionSelector
from detector.tools.export import SIZES, boxes
from detector.tools.export.picture import add_picture
from detector.tools.export.region_heads import HEADS
from detector.tools.export.region_pooling import roi_align_of_levels
from nn.onnx.graph import Graph
from nn.onnx.network import add_module


def add_detector(graph: Graph, image: str, model: TwoStageDetector) -> tuple[str, ...]:
    """From (H, W, 3) uint8 RGB to boxes (R, 4), scores (R,) and labels (R,), maybe masks (R, m, m).

    Raises:
        NoEquivalentError: something it computes cannot be said in ONNX.
    """
    batch, own_size, size, padded = add_picture(graph, image, model.image)
    objectness, deltas, *maps = add_module(graph, model, batch, SIZES)
    proposals, logits = propose(graph, model.rpn, objectness, deltas, size, padded)
    head, settings = model.head, model.head.settings
    said = HEADS[type(head)](graph, head, maps, proposals, padded)
    probabilities = weigh(graph, head, said.probabilities, logits)
    found, scores, labels = select(
        graph, settings.selector, settings.stds, probabilities, said.deltas, said.boxes, size,
        model.num_classes, settings.class_specific_boxes,
    )  # fmt: skip
    answers = boxes.rescale(graph, found, size, own_size), scores, labels
    if model.has_masks:
        return *answers, draw(graph, model.mask_head, maps, found, labels)
    return answers


def propose(
    graph: Graph, rpn: RegionProposalNetwork, objectness: str, deltas: str, size: str, padded: str
) -> tuple[str, str]:
    """The proposals (K, 4) of all maps, best first, and their logits (K,)."""
    objectness, deltas = (graph.add("Squeeze", value, [0]) for value in (objectness, deltas))
    generator = rpn.anchor_generator
    if not isinstance(generator, PyramidAnchors):
        anchors = boxes.add_anchors(graph, generator, padded)
        return propose_from_map(graph, rpn, objectness, deltas, anchors, size)
    anchors = [boxes.add_anchors(graph, level, padded) for level in generator.levels]
    counts = graph.add("Concat", *(graph.size(level, 0) for level in anchors), axis=0)
    parts = (
        graph.add("Split", value, counts, outputs=len(anchors), axis=0)
        for value in (objectness, deltas)
    )
    found = [
        propose_from_map(graph, rpn, *level, size) for level in zip(*parts, anchors, strict=True)
    ]
    proposals, logits = (graph.add("Concat", *each, axis=0) for each in zip(*found, strict=True))
    count = graph.add("Min", graph.size(logits, 0), [rpn.settings.test_selector.post_nms])
    logits, best = graph.add("TopK", logits, count, outputs=2, axis=0)
    return graph.add("Gather", proposals, best), logits


def propose_from_map(
    graph: Graph, rpn: RegionProposalNetwork, objectness: str, deltas: str, anchors: str, size: str
) -> tuple[str, str]:
    """``ProposalSelector``: the proposals (K, 4), best first, and their logits (K,)."""
    select = rpn.settings.test_selector
    count = graph.add("Min", graph.size(objectness, 0), [select.pre_nms])
    logits, top = graph.add("TopK", objectness, count, outputs=2, axis=0)
    found = boxes.decode(
        graph, graph.add("Gather", deltas, top), graph.add("Gather", anchors, top), np.ones(4)
    )
    found = boxes.clip(graph, found, size)
    whole = boxes.indices_of(graph, boxes.longer_than(graph, found, select.min_size))
    found, logits = (graph.add("Gather", value, whole) for value in (found, logits))
    # They are in order, so their place says what their score would: runtimes differ about scores
    # that are negative.
    count = graph.add("Squeeze", graph.cast(graph.size(logits, 0), np.float32), [0])
    places = graph.add("Range", count, 0.0, -1.0)
    ranks = graph.add("Unsqueeze", graph.add("Div", places, count), [0, 1])
    rows = boxes.nms(
        graph, graph.add("Unsqueeze", found, [0]), ranks, select.post_nms, select.iou_threshold
    )
    kept = boxes.column(graph, rows, 2)
    return graph.add("Gather", found, kept), graph.add("Gather", logits, kept)


def weigh(graph: Graph, head: RegionHead, probabilities: str, logits: str) -> str:
    """``RegionHead.scores`` of probabilities (K, 1 + C) and of the RPN's logits (K,)."""
    share = head.settings.objectness_share
    if not share:
        return probabilities
    objectness = graph.add("Unsqueeze", graph.add("Sigmoid", logits), [1])
    return graph.add(
        "Mul", graph.add("Pow", probabilities, 1 - share), graph.add("Pow", objectness, share)
    )


def select(
    graph: Graph, selector: DetectionSelector, stds: Sequence[float], probabilities: str,
    deltas: str, proposals: str, size: str, num_classes: int, is_class_specific: bool = False,
) -> tuple[str, str, str]:  # fmt: skip
    """``DetectionSelector``: boxes (R, 4) in pixels of the network's input, scores, labels."""
    scores = graph.add("Transpose", graph.slice(probabilities, 1, num_classes + 1, 1), perm=[1, 0])
    if is_class_specific:  # a batch of boxes for each class
        deltas = graph.add("Reshape", deltas, [-1, num_classes + 1, 4])
        deltas = graph.add("Transpose", graph.slice(deltas, 1, num_classes + 1, 1), perm=[1, 0, 2])
        scores, batch, label = graph.add("Unsqueeze", scores, [1]), 0, 0
    else:  # one batch, whose boxes all classes share
        deltas = graph.add("Unsqueeze", deltas, [0])
        scores, batch, label = graph.add("Unsqueeze", scores, [0]), 0, 1
    proposals = graph.add("Unsqueeze", proposals, [0])
    found = boxes.decode(graph, deltas, proposals, stds)
    found = boxes.clip(graph, found, size)  # (1 or C, K, 4)
    whole = graph.add("Unsqueeze", boxes.longer_than(graph, found, 0), [1])
    scores = graph.add("Where", whole, scores, -1.0)
    rows = boxes.nms(
        graph, found, scores, selector.max_detections, selector.iou_threshold,
        selector.score_threshold,
    )  # fmt: skip
    kept = graph.add("GatherND", scores, rows)
    count = graph.add("Min", graph.size(kept, 0), [selector.max_detections])
    best, order = graph.add("TopK", kept, count, outputs=2, axis=0)
    rows = graph.add("Gather", rows, order)
    places = graph.add("Gather", rows, [batch, 2], axis=1)
    labels = graph.add("Add", boxes.column(graph, rows, label), 1)
    return graph.add("GatherND", found, places), best, labels


def draw(graph: Graph, head: MaskHead, maps: Sequence[str], found: str, labels: str) -> str:
    """``MaskHead.detect``: masks (R, m, m) of boxes (R, 4) in pixels of the network's input."""
    pooled = roi_align_of_levels(graph, head.settings, head.strides, maps, found)
    layers = nn.Sequential(head.convolutions, head.upsample, nn.ReLU(), head.masks)
    size, channels = head.settings.pooled_size, head.in_channels
    (logits,) = add_module(graph, layers, pooled, [(n, channels, size, size) for n in (2, 3)])
    classes, m = head.masks.out_channels, head.size
    count = graph.add("Squeeze", graph.size(labels, 0), [0])
    first = graph.add("Mul", graph.add("Range", 0, count, 1), classes)
    own = graph.add("Add", first, graph.add("Sub", labels, 1))
    masks = graph.add("Reshape", logits, [-1, m, m])
    return graph.add("Sigmoid", graph.add("Gather", masks, own))
