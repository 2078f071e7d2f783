"""A two-stage detector in nodes of a graph: ``TwoStageDetector.detect`` step by step.

The network is written from its trace (``nn.onnx.network``); what is done with regions follows here,
with the operators that every runtime has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.detectors.two_stage import TwoStageDetector
from detector.heads.light_head import LightHead
from detector.heads.rpn import RegionProposalNetwork
from detector.parts.selection import DetectionSelector
from detector.tools.export import SIZES, boxes
from detector.tools.export.picture import add_picture
from nn.inference.any_size import NoEquivalentError
from nn.onnx.graph import Graph
from nn.onnx.network import add_module


def add_detector(graph: Graph, image: str, model: TwoStageDetector) -> tuple[str, str, str]:
    """From (H, W, 3) uint8 RGB to boxes (R, 4), scores (R,) and labels (R,).

    Raises:
        NoEquivalentError: something it computes cannot be said in ONNX.
    """
    batch, own_size, size, padded = add_picture(graph, image, model.image)
    objectness, deltas, thin = add_module(graph, model, batch, SIZES)
    anchors = boxes.add_anchors(graph, model.rpn.anchor_generator, padded)
    proposals, logits = propose(graph, model.rpn, objectness, deltas, anchors, size)
    pooled = ps_roi_align(graph, model.head, thin, proposals)
    probabilities, moves = look(graph, model.head, pooled, logits)
    settings = model.head.settings
    found, scores, labels = select(
        graph, settings.selector, settings.stds, probabilities, moves, proposals, size,
        model.num_classes, settings.class_specific_boxes,
    )  # fmt: skip
    return boxes.rescale(graph, found, size, own_size), scores, labels


def propose(
    graph: Graph, rpn: RegionProposalNetwork, objectness: str, deltas: str, anchors: str, size: str
) -> tuple[str, str]:
    """``ProposalSelector``: the proposals (K, 4), best first, and their logits (K,)."""
    select = rpn.settings.test_selector
    objectness, deltas = (graph.add("Squeeze", value, [0]) for value in (objectness, deltas))
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


def ps_roi_align(graph: Graph, head: LightHead, thin: str, rois: str) -> str:
    """``LightHead.pool``: (1, C B B, H, W) and (K, 4) -> (K, C B B).

    The bins become the images of a batch, C channels each, and GridSample takes the points of all
    regions out of them at once. No region reaches beyond the picture, so no point lies beyond the
    border pixels by more than one, and what GridSample calls "border" is what we do there.
    """
    settings = head.settings
    B, C, S = settings.pooled_size, settings.pooled_channels, settings.sampling_ratio
    if S == 0:
        raise NoEquivalentError("head.sampling_ratio 0 (as many samples as a region is large)")
    rois = graph.add("Mul", rois, 1 / head.stride)
    axes = []
    for axis in (0, 1):
        start, end = (graph.slice(rois, axis + side, axis + side + 1, 1) for side in (0, 2))
        length = graph.add("Max", graph.add("Sub", end, start), 0.0)
        places = ((np.arange(B * S) + 0.5) / (B * S)).astype(np.float32)
        points = graph.add("Add", start, graph.add("Mul", length, places))  # (K, B S)
        # From pixels, whose middles are whole numbers, to -1..1 over the whole of the map.
        width = graph.cast(graph.size(thin, 3 - axis), np.float32)
        points = graph.add("Add", graph.add("Mul", points, 2.0), 1.0)
        points = graph.add("Sub", graph.add("Div", points, width), 1.0)
        points = graph.add("Transpose", graph.add("Reshape", points, [-1, B, S]), perm=[1, 0, 2])
        # x is (1, B, K, 1, S, 1), y is (B, 1, K, S, 1, 1).
        axes.append(graph.add("Unsqueeze", points, [0, 3, 5] if axis == 0 else [1, 4, 5]))
    x, y = axes
    grid = graph.add(
        "Concat",
        graph.add("Add", x, graph.add("Mul", y, 0.0)),
        graph.add("Add", graph.add("Mul", x, 0.0), y),
        axis=5,
    )
    grid = graph.add("Reshape", grid, [B * B, -1, S * S, 2])
    maps = graph.add("Reshape", thin, [C, B * B, 0, 0])
    maps = graph.add("Transpose", maps, perm=[1, 0, 2, 3])
    samples = graph.add("GridSample", maps, grid, padding_mode="border", align_corners=0)
    reduce = "ReduceMean" if settings.pooling_mode == "avg" else "ReduceMax"
    pooled = graph.add(reduce, samples, [3], keepdims=0)  # (B B, C, K)
    pooled = graph.add("Transpose", pooled, perm=[2, 1, 0])
    return graph.add("Reshape", pooled, [-1, C * B * B])


def look(graph: Graph, head: LightHead, pooled: str, logits: str) -> tuple[str, str]:
    """``LightHead.forward`` and the scores of ``detect``: probabilities (K, 1 + C), deltas."""

    def linear(x: str, layer) -> str:
        return graph.add("Gemm", x, layer.weight.data, layer.bias.data, transB=1)

    hidden = graph.add("Relu", linear(pooled, head.hidden))
    probabilities = graph.add("Softmax", linear(hidden, head.classes), axis=1)
    share = head.settings.objectness_share
    if share:
        objectness = graph.add("Unsqueeze", graph.add("Sigmoid", logits), [1])
        probabilities = graph.add(
            "Mul",
            graph.add("Pow", probabilities, 1 - share),
            graph.add("Pow", objectness, share),
        )
    return probabilities, linear(hidden, head.boxes)


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
