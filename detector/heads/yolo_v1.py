"""YOLO v1's head: two fully connected layers say at once what is in each cell of a 7 x 7 grid.

    c5 --> four 3x3 convolutions --> fc 4096 --> dropout --> fc S S (C + 5 B)

No anchors: the cell in which an object's centre lies says B boxes in full, each with how well it
fits, and one set of class probabilities for them all. Every number is a plain output and its loss a
square (Redmon et al., "You Only Look Once", CVPR 2016, section 2 and equation 3)::

    5   sum over responsible boxes    (x - x')^2 + (y - y')^2 + (sqrt w - sqrt w')^2 + (same of h)
    +   sum over responsible boxes    (fit - IoU)^2
    0.5 sum over all other boxes       fit^2
    +   sum over cells with an object  sum over classes (p - p')^2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np

import nn
from detector.boxes import as_boxes, box_iou
from detector.parts.layers import Norm, init_hidden, init_output, make_norm
from detector.parts.matching import best_box
from detector.parts.selection import DetectionSelector
from detector.settings import Channels, Fraction, NotNegative, Range, Settings
from nn import functional as F

SLOPE = 0.1  # of the leaky ReLUs


@dataclass(frozen=True)
class YOLOv1HeadSettings(Settings):
    """
    Attributes:
        cells: S, the rows and columns of the grid, however large the picture.
        boxes: B, of each cell.
        channels, stride, norm: of the convolutions; the second has the stride.
        hidden_channels, dropout: of the first fully connected layer.
        box_weight, background_weight: the 5 and the 0.5 of the loss.
        selector: how ``detect`` picks detections.
    """

    cells: Annotated[int, Range(1, 64)] = 7
    boxes: Annotated[int, Range(1, 16)] = 2
    channels: Channels = 1024
    stride: Literal[1, 2] = 2
    norm: Norm = "none"
    hidden_channels: Channels = 4096
    dropout: Fraction = 0.5
    box_weight: NotNegative = 5.0
    background_weight: NotNegative = 0.5
    selector: DetectionSelector = DetectionSelector(0.01, 0.45, 100)


class GridAnswers(NamedTuple):
    """What the network says of the S S cells of each picture, and the (h, w) of the batch.

    outputs (N, S S, C + 5 B): of each cell the classes, then for each box how well it fits, x and y
    within the cell, and the roots of its w and h as parts of the batch's.
    """

    outputs: nn.Tensor
    size: tuple[int, int]


class GridTargets(NamedTuple):
    """What the cells of a batch should say. Cell s of image n has the number n * S * S + s.

    cells (P,) int64 numbers of those with an object; responsible (P,) int64, which of its boxes;
    places (P, 4) what that should say; fits (P,) the IoU of what it says; labels (P,) from 1;
    in_crowd (N S S, B) bool, whether a box touches a crowd region: nobody knows if it is wrong.
    """

    cells: np.ndarray
    responsible: np.ndarray
    places: np.ndarray
    fits: np.ndarray
    labels: np.ndarray
    in_crowd: np.ndarray


class YOLOv1Head(nn.Module):
    """
    Args:
        num_classes: without background.
        in_channels: of the map that it reads.
        settings: its numbers.
    """

    anchor_generator = None

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        settings: YOLOv1HeadSettings = YOLOv1HeadSettings(),
    ):
        super().__init__()
        self.num_classes, self.settings = num_classes, settings
        S, C, hidden = settings.cells, settings.channels, settings.hidden_channels
        layers = []
        for number, stride in enumerate((1, settings.stride, 1, 1)):
            before = C if number else in_channels
            conv = nn.Conv2d(before, C, 3, stride, 1, bias=settings.norm == "none")
            layers += [init_hidden(conv, "he"), make_norm(settings.norm, C), nn.LeakyReLU(SLOPE)]
        self.convolutions = nn.Sequential(*layers)
        self.hidden = init_hidden(nn.Linear(S * S * C, hidden), "he")
        self.dropout = nn.Dropout(settings.dropout)
        self.output = init_output(nn.Linear(hidden, S * S * (num_classes + 5 * settings.boxes)))

    def forward(self, maps: Sequence[nn.Tensor], image_size: tuple[int, int]) -> GridAnswers:
        """The coarsest of the maps (N, C, H, W), averaged to S x S if it is of another size."""
        features, S = self.convolutions(maps[-1]), self.settings.cells
        features = F.adaptive_avg_pool2d(features, S).flatten(1)
        hidden = self.dropout(F.leaky_relu(self.hidden(features), SLOPE))
        return GridAnswers(self.output(hidden).reshape(len(features), S * S, -1), image_size)

    def boxes(self, outputs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """What the outputs (S S, C + 5 B) mean: boxes (S S B, 4) in pixels of ``size`` (h, w)."""
        S, B = self.settings.cells, self.settings.boxes
        said = outputs[:, self.num_classes :].reshape(S, S, B, 5)
        row, column = np.arange(S)[:, None, None], np.arange(S)[None, :, None]
        centres = np.stack([(column + said[..., 1]) / S, (row + said[..., 2]) / S], axis=3)
        half = said[..., 3:] ** 2 / 2
        corners = np.concatenate([centres - half, centres + half], axis=3).reshape(-1, 4)
        return corners * np.array([size[1], size[0]] * 2, corners.dtype)

    def assign(self, answers: GridAnswers, targets: Sequence[dict]) -> GridTargets:
        """Which cell answers for each object, and which of its boxes: the one that overlaps it most
        now, or if none does the nearest. Of two objects in a cell the first has it.

        Args:
            targets: of each picture, see ``Detector.loss``.
        """
        S, B, parts = self.settings.cells, self.settings.boxes, []
        whole = np.array([answers.size[1], answers.size[0]], np.float32)
        for n, target in enumerate(targets):
            truth, labels = as_boxes(target["boxes"]), np.asarray(target["labels"])
            grid = (truth[:, :2] + truth[:, 2:]) / 2 / whole * S
            inside = np.clip(grid.astype(np.int64), 0, S - 1)
            cells, first = np.unique(inside[:, 1] * S + inside[:, 0], return_index=True)
            truth = truth[first]
            sides = (truth[:, 2:] - truth[:, :2]) / whole
            places = np.concatenate([(grid - inside)[first], np.sqrt(np.maximum(sides, 0))], axis=1)
            everything = self.boxes(answers.outputs.data[n], answers.size)
            in_crowd = best_box(everything, as_boxes(target.get("ignore", ())))[0] > 0
            said = everything.reshape(S * S, B, 4)[cells]
            iou = np.array(
                [box_iou(own, box[None])[:, 0] for own, box in zip(said, truth, strict=True)]
            ).reshape(-1, B)
            distance = ((said - truth[:, None]) ** 2).sum(axis=2)
            overlaps = iou.max(axis=1, initial=0) > 0
            responsible = np.where(overlaps, iou.argmax(axis=1), distance.argmin(axis=1))
            fits = iou[np.arange(len(cells)), responsible]
            chosen = labels[first].astype(np.int64)
            answered = n * S * S + cells, responsible, places, fits, chosen
            parts.append(GridTargets(*answered, in_crowd.reshape(S * S, B)))
        return GridTargets(*map(np.concatenate, zip(*parts, strict=True)))

    def loss(self, answers: GridAnswers, targets: GridTargets) -> dict[str, nn.Tensor]:
        """``box``, ``object``, ``background`` and ``class``, averaged over the pictures."""
        settings, C, dtype = self.settings, self.num_classes, answers.outputs.dtype
        N, P, B = len(answers.outputs), len(targets.cells), settings.boxes
        outputs = answers.outputs.reshape(-1, C + 5 * B)
        said = outputs[targets.cells]
        own = said[:, C:].reshape(P, B, 5)[np.arange(P), targets.responsible]
        is_other = (~targets.in_crowd).astype(dtype)
        is_other[targets.cells, targets.responsible] = 0
        classes = (targets.labels[:, None] == np.arange(1, 1 + C)).astype(dtype)

        def squares(output: nn.Tensor, wanted: np.ndarray, weight: float) -> nn.Tensor:
            difference = output - wanted.astype(dtype)
            return (difference * difference).sum() * (weight / N)

        confidences = outputs[:, C:].reshape(-1, B, 5)[:, :, 0] * is_other
        return {
            "box": squares(own[:, 1:], targets.places, settings.box_weight),
            "object": squares(own[:, 0], targets.fits, 1.0),
            "background": squares(confidences, np.zeros(1), settings.background_weight),
            "class": squares(said[:, :C], classes, 1.0),
        }

    def detect(self, answers: GridAnswers, image_size: tuple[int, int]) -> dict[str, np.ndarray]:
        """The detections of one picture of ``image_size`` (h, w), see ``DetectionSelector``."""
        outputs, C = answers.outputs.data[0], self.num_classes
        fits = outputs[:, C:].reshape(len(outputs), -1, 5)[:, :, :1]
        scores = np.clip(fits, 0, 1) * np.clip(outputs[:, None, :C], 0, 1)  # (S S, B, C)
        probabilities = np.pad(scores.reshape(-1, C), ((0, 0), (1, 0)))
        boxes = self.boxes(outputs, answers.size)
        stay = np.zeros_like(boxes)
        return self.settings.selector(probabilities, stay, boxes, image_size, (1, 1, 1, 1))
