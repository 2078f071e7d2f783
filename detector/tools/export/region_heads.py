"""What heads do with regions, in nodes of a graph: a function for each kind.

Each is called with (graph, head, maps, proposals (K, 4), (h, w) of the batch) and returns its
``Answers``: as ``RegionHead.forward``, but for probabilities instead of logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import nn
from detector.heads.cascade import CascadeHead
from detector.heads.connected_head import ConnectedHead
from detector.heads.fast_rcnn import FastRCNNHead
from detector.heads.light_head import LightHead
from detector.heads.r_fcn import RFCNHead
from detector.heads.region_head import RegionHead
from detector.heads.stage_head import StageHead
from detector.tools.export import boxes
from detector.tools.export.region_pooling import ps_roi_align, roi_align, roi_align_of_levels
from nn.onnx.graph import Graph
from nn.onnx.network import add_module


class Answers(NamedTuple):
    """What a head says: probabilities (K, 1 + C), and deltas from the boxes (K, 4)."""

    probabilities: str
    deltas: str
    boxes: str


def light_head(graph: Graph, head: LightHead, maps: list[str], rois: str, size: str) -> Answers:
    settings = head.settings
    pooled = ps_roi_align(
        graph, settings, settings.pooled_channels, head.stride, maps[0], rois, settings.pooling_mode
    )
    return connected(graph, head, pooled, rois)


def fast_rcnn(graph: Graph, head: FastRCNNHead, maps: list[str], rois: str, size: str) -> Answers:
    settings = head.settings
    pooled = roi_align_of_levels(graph, settings, head.strides, maps, rois)
    return connected(graph, head, graph.add("Flatten", pooled), rois)


def connected(graph: Graph, head: ConnectedHead, hidden: str, rois: str) -> Answers:
    """The fully connected layers, of what was cut out (K, C p p)."""

    def linear(x: str, layer: nn.Linear) -> str:
        return graph.add("Gemm", x, layer.weight.data, layer.bias.data, transB=1)

    for layer in head.hidden_layers:
        hidden = graph.add("Relu", linear(hidden, layer))
    return Answers(softmax(graph, linear(hidden, head.classes)), linear(hidden, head.boxes), rois)


def r_fcn(graph: Graph, head: RFCNHead, maps: list[str], rois: str, size: str) -> Answers:
    """The vote: a mean over the bins."""
    settings, C = head.settings, 1 + head.num_classes
    outputs = settings.out_channels(head.num_classes) // settings.pooled_size**2
    pooled = ps_roi_align(graph, settings, outputs, head.stride, maps[0], rois)
    pooled = graph.add("Reshape", pooled, [-1, outputs, settings.pooled_size**2])
    votes = graph.add("ReduceMean", pooled, [2], keepdims=0)
    logits, deltas = graph.slice(votes, 0, C, 1), graph.slice(votes, C, outputs, 1)
    return Answers(softmax(graph, logits), deltas, rois)


def cascade(graph: Graph, head: CascadeHead, maps: list[str], rois: str, size: str) -> Answers:
    """One head after the other, each from the boxes of the one before; the mean of what they say.

    The boxes are where they belong then: the deltas are 0.
    """
    sums = None
    for stage in head.stages:
        said = fast_rcnn(graph, stage, maps, rois, size)
        rois = boxes.decode(graph, said.deltas, rois, stage.settings.stds)
        rois = boxes.clip(graph, rois, size)
        sums = said.probabilities if sums is None else graph.add("Add", sums, said.probabilities)
    mean = graph.add("Div", sums, float(len(head.stages)))
    return Answers(mean, graph.add("Mul", rois, 0.0), rois)


def stage(graph: Graph, head: StageHead, maps: list[str], rois: str, size: str) -> Answers:
    """The backbone's last stage, written from its traces for two and for three regions."""
    settings = head.settings
    pooled = roi_align(graph, settings, head.stride, maps[0], rois)
    shapes = [(count, *head.pooled_shape) for count in (2, 3)]
    logits, deltas = add_module(graph, head.look, pooled, shapes)
    return Answers(softmax(graph, logits), deltas, rois)


def softmax(graph: Graph, logits: str) -> str:
    return graph.add("Softmax", logits, axis=1)


HEADS: dict[type[RegionHead], Callable[[Graph, RegionHead, Sequence[str], str, str], Answers]] = {
    LightHead: light_head,
    FastRCNNHead: fast_rcnn,
    RFCNHead: r_fcn,
    CascadeHead: cascade,
    StageHead: stage,
}
