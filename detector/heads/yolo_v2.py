"""YOLO v2's head: each cell answers for the objects whose centre is in it.

A 1x1 convolution says of each of a cell's A anchors where in the cell the object's centre is, how
much wider and higher it is than the anchor, how well that box fits, and which class it is
(Redmon and Farhadi, "YOLO9000", CVPR 2017, section 2)::

    x = (column + sigmoid(tx)) stride       w = anchor's w exp(tw)      fit = sigmoid(to)
    y = (row    + sigmoid(ty)) stride       h = anchor's h exp(th)      class = softmax

The loss is squared errors, but for the class. What the paper does not say is as in its authors'
program, but for the pull towards the anchors in the first 12,800 pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

import nn
from detector.boxes import MIN_SIDE, as_boxes, box_iou, decode
from detector.heads.dense import rows
from detector.parts.anchor_fitting import shape_iou
from detector.parts.anchors import ClusteredAnchors
from detector.parts.layers import init_output
from detector.parts.losses import class_losses
from detector.parts.matching import best_box
from detector.parts.selection import DetectionSelector
from detector.settings import Fraction, NotNegative, Settings
from nn import functional as F
from nn.models import Map

# Of VOC at 416 pixels, in cells of 32 (the authors' yolov2-voc.cfg).
CELLS = ((1.3221, 1.73145), (3.19275, 4.00944), (5.05587, 8.09892), (9.47112, 4.84053),
         (11.2364, 10.0071))  # fmt: skip
VOC_SHAPES = tuple((32 * width, 32 * height) for width, height in CELLS)


@dataclass(frozen=True)
class YOLOv2HeadSettings(Settings):
    """
    Attributes:
        anchors: of a cell.
        object_weight, background_weight, class_weight, box_weight: of the parts of the loss.
        confidence: "square" (the paper), or "logistic": cross-entropy of how well a box fits, whose
            gradient does not vanish where the network is sure and wrong. (YOLO v3 has that.)
        is_near: a box that overlaps an object more than this is not taken for background, even if
            another one is responsible for the object.
        selector: how ``detect`` picks detections.
    """

    anchors: ClusteredAnchors = ClusteredAnchors(shapes=VOC_SHAPES)
    object_weight: NotNegative = 5.0
    background_weight: NotNegative = 1.0
    class_weight: NotNegative = 1.0
    box_weight: NotNegative = 1.0
    confidence: Literal["square", "logistic"] = "square"
    is_near: Fraction = 0.6
    selector: DetectionSelector = DetectionSelector(0.005, 0.45, 100)


class YOLOAnswers(NamedTuple):
    """What the network says of the M anchors of each picture.

    outputs (N, M, 5 + C): tx, ty, tw, th, to and the classes' logits; the anchors (M, 4); the
    (h, w) of the batch.
    """

    outputs: nn.Tensor
    anchors: np.ndarray
    size: tuple[int, int]


class YOLOTargets(NamedTuple):
    """What the anchors of a batch should say. Anchor m of image n has the number n * M + m.

    objects (P,) int64 numbers of those that are responsible for an object; boxes (P, 4), their x
    and y within the cell in 0..1, tw and th; weights (P,) of the boxes; fits (P,) the IoU of what
    they say now; labels (P,) from 1. background (B,) int64 numbers of those that should see none.
    """

    objects: np.ndarray
    boxes: np.ndarray
    weights: np.ndarray
    fits: np.ndarray
    labels: np.ndarray
    background: np.ndarray


class YOLOv2Head(nn.Module):
    """
    Args:
        num_classes: without background.
        source: the map that it reads.
        settings: its numbers.
    """

    def __init__(
        self, num_classes: int, source: Map, settings: YOLOv2HeadSettings = YOLOv2HeadSettings()
    ):
        super().__init__()
        self.num_classes, self.settings = num_classes, settings
        self.anchor_generator = settings.anchors.generator(source.stride)
        outputs = self.anchor_generator.num_anchors_per_cell * (5 + num_classes)
        self.output = init_output(nn.Conv2d(source.channels, outputs, 1))

    def forward(self, maps: Sequence[nn.Tensor], image_size: tuple[int, int]) -> YOLOAnswers:
        """One map (N, C, H, W) of a batch of ``image_size`` (h, w)."""
        (features,), generator = maps, self.anchor_generator
        outputs = rows(self.output(features), generator.num_anchors_per_cell)
        return YOLOAnswers(outputs, generator.grid(features.shape[2:]), image_size)

    def assign(self, answers: YOLOAnswers, targets: Sequence[dict]) -> YOLOTargets:
        """Which anchor is responsible for each object: in the cell of its centre, the one of the
        most similar shape. Of two objects with the same anchor, the later takes it.

        Args:
            targets: of each picture, see ``Detector.loss``.
        """
        outputs, anchors, (height, width) = answers
        A, stride = len(self.anchor_generator.shapes), self.anchor_generator.stride
        columns, parts = width // stride, []
        for n, target in enumerate(targets):
            boxes, labels = as_boxes(target["boxes"]), np.asarray(target["labels"])
            said = decode(self.deltas(outputs.data[n], anchors), anchors)
            cells = (boxes[:, :2] + boxes[:, 2:]) / (2 * stride)
            inside = np.clip(cells.astype(np.int64), 0, (columns - 1, height // stride - 1))
            sides = boxes[:, 2:] - boxes[:, :2]
            best = shape_iou(sides, self.anchor_generator.shapes).argmax(axis=1)
            places = (inside[:, 1] * columns + inside[:, 0]) * A + best
            # The last of equals, as ``unique`` finds the first.
            places, last = np.unique(places[::-1], return_index=True)
            chosen = len(boxes) - 1 - last
            owned = anchors[places, 2:] - anchors[places, :2]
            growth = np.log(np.maximum(sides[chosen], MIN_SIDE) / owned)
            is_background = best_box(said, boxes)[0] <= self.settings.is_near
            if len(target.get("ignore", ())):
                is_background &= best_box(said, target["ignore"])[0] <= 0
            is_background[places] = False
            parts.append(
                YOLOTargets(
                    n * len(anchors) + places,
                    np.concatenate([(cells - inside)[chosen], growth], axis=1),
                    2 - sides[chosen].prod(axis=1) / (height * width),
                    np.diag(box_iou(said[places], boxes[chosen])),
                    labels[chosen].astype(np.int64),
                    n * len(anchors) + np.flatnonzero(is_background),
                )
            )
        return YOLOTargets(*map(np.concatenate, zip(*parts, strict=True)))

    def loss(self, answers: YOLOAnswers, targets: YOLOTargets) -> dict[str, nn.Tensor]:
        """``box``, ``object``, ``background`` and ``class``, summed over a picture's anchors and
        averaged over the pictures."""
        settings, dtype = self.settings, answers.outputs.dtype
        N = len(answers.outputs)
        outputs = answers.outputs.reshape(-1, 5 + self.num_classes)
        said = outputs[targets.objects]
        weights = targets.weights[:, None].astype(dtype)
        within = F.sigmoid(said[:, :2]) - targets.boxes[:, :2].astype(dtype)
        growth = said[:, 2:4] - targets.boxes[:, 2:].astype(dtype)
        none = outputs[targets.background][:, 4]
        box = (within * within * weights).sum() + (growth * growth * weights).sum()
        return {
            "box": box * (settings.box_weight / 2 / N),
            "object": self.confidence(said[:, 4], targets.fits) * (settings.object_weight / N),
            "background": self.confidence(none, np.zeros(none.shape))
            * (settings.background_weight / N),
            "class": class_losses(said[:, 5:], targets.labels - 1).sum()
            * (settings.class_weight / N),
        }

    def confidence(self, logits: nn.Tensor, fits: np.ndarray) -> nn.Tensor:
        """The summed loss of saying (K,) ``logits`` where boxes fit by (K,) ``fits``, 0..1."""
        fits = fits.astype(logits.dtype)
        if self.settings.confidence == "logistic":
            return F.binary_cross_entropy_with_logits(logits, fits, reduction="sum")
        difference = F.sigmoid(logits) - fits
        return (difference * difference).sum() / 2

    def deltas(self, outputs: np.ndarray, anchors: np.ndarray) -> np.ndarray:
        """What the outputs (M, 5 + C) mean as deltas (M, 4) of the anchors: see ``boxes.encode``.

        sigmoid(t) - 1/2 is how many cells the centre is away from the cell's.
        """
        sides = anchors[:, 2:] - anchors[:, :2]
        within = F.sigmoid(nn.Tensor(outputs[:, :2])).data - 0.5
        shift = within * self.anchor_generator.stride / sides
        return np.concatenate([shift, outputs[:, 2:4]], axis=1)

    def detect(self, answers: YOLOAnswers, image_size: tuple[int, int]) -> dict[str, np.ndarray]:
        """The detections of one picture of ``image_size`` (h, w), see ``DetectionSelector``."""
        outputs, anchors = answers.outputs[0], answers.anchors
        scores = F.sigmoid(outputs[:, 4:5]) * F.softmax(outputs[:, 5:], 1)
        probabilities = np.pad(scores.data, ((0, 0), (1, 0)))
        deltas = self.deltas(outputs.data, anchors)
        return self.settings.selector(probabilities, deltas, anchors, image_size, (1, 1, 1, 1))
