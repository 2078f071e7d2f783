"""DSSD in nodes of a graph.

On its way up a doubled map loses a row or a column where the finer one has an odd number of them.
Whether it does depends on the picture, so the graph asks the finer map; what lies between such cuts
is written from its traces.
"""

from __future__ import annotations

import nn
from detector.detectors.dssd import DSSD
from detector.heads.dense import rows
from detector.heads.ssd import SSDHead
from detector.necks.deconvolution import DeconvolutionModule, PredictionModule
from detector.tools.export import SIZES
from detector.tools.export.one_stage import Detections, read_answers
from detector.tools.export.picture import add_picture
from nn.onnx.graph import Graph
from nn.onnx.network import add_module


def add_detector(graph: Graph, image: str, model: DSSD) -> Detections:
    """From (H, W, 3) uint8 RGB to detections.

    Raises:
        NoEquivalentError: something it computes cannot be said in ONNX.
    """
    batch, own_size, size, padded = add_picture(graph, image, model.image)
    neck, head = model.neck, model.head
    down = add_module(graph, Down(model), batch, SIZES)
    joined = down[-1:]  # coarsest first
    for module, fine in zip(reversed(list(neck.up)), down[-2::-1], strict=True):
        joined.append(join(graph, module, fine, joined[-1]))
    answers = []
    for number, map_ in enumerate(joined[::-1]):
        if head.anchor_generator.counts[number]:
            module = Said(neck.predict[number], head, number)
            channels = neck.predict[number].residual[0].in_channels
            answers.append(add_module(graph, module, map_, sizes(channels)))
    logits, deltas = (graph.add("Concat", *part, axis=1) for part in zip(*answers, strict=True))
    return read_answers(graph, model, (logits, deltas), padded, (own_size, size))


def join(graph: Graph, module: DeconvolutionModule, fine: str, coarse: str) -> str:
    """``DeconvolutionModule.forward``."""

    def written(part: nn.Module, map_: str) -> str:
        (output,) = add_module(graph, part, map_, sizes(next(part.children()).in_channels))
        return output

    enlarged = written(nn.Sequential(module.enlarge), coarse)
    edge = graph.add("Shape", fine, start=2, end=4)
    enlarged = graph.add("Slice", enlarged, [0, 0], edge, [2, 3])
    product = graph.add("Mul", written(module.fine, fine), written(module.coarse, enlarged))
    return graph.add("Relu", product)


def sizes(channels: int) -> list[tuple[int, ...]]:
    """Of two maps, for traces."""
    return [(1, channels, 5, 7), (1, channels, 8, 11)]


class Down(nn.Module):
    """Up to the maps of SSD."""

    def __init__(self, model: DSSD):
        super().__init__()
        self.backbone, self.down = model.backbone, model.neck.down

    def forward(self, batch: nn.Tensor) -> list[nn.Tensor]:
        return list(self.down(self.backbone.features(batch)).values())


class Said(nn.Module):
    """A joined map's residual block, and what the head says of the map."""

    def __init__(self, predict: PredictionModule, head: SSDHead, number: int):
        super().__init__()
        self.predict, self.head, self.number = predict, head, number

    def forward(self, map_: nn.Tensor) -> tuple[nn.Tensor, ...]:
        count = self.head.anchor_generator.counts[self.number]
        outputs = self.head.look(self.number, self.predict(map_))
        return tuple(rows(output, count) for output in outputs)
