"""SSD's head: a 3x3 convolution on each map says of every box which class it is, or background.

No stage before it has sorted out the background, so that there are hundreds of boxes of it for one
of an object. Of the background, only the boxes that look least like it are learned from: three for
each box of an object (SSD, section 2.2, "hard negative mining").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import nn
from detector.heads.dense import DenseAnswers, DenseHead, DenseTargets
from detector.parts.default_boxes import DefaultBoxes, DefaultBoxSettings
from detector.parts.layers import init_hidden, init_output
from detector.parts.losses import box_losses, class_losses
from detector.parts.matching import AnchorMatcher
from detector.parts.ohem import HardNegatives
from detector.parts.selection import DetectionSelector
from detector.settings import NotNegative, Positive, Settings
from nn import functional as F
from nn.models import Map


@dataclass(frozen=True)
class SSDHeadSettings(Settings):
    """
    Attributes:
        anchors: the default boxes.
        separable: a 3x3 convolution of each channel alone, batch norm, ReLU6, and a 1x1 convolution
            take the place of the 3x3 one: SSDLite.
        matcher, mining: which boxes ``assign`` learns from, and as what.
        stds: of the deltas, see ``boxes.encode``; the paper's code calls them variances.
        beta: where the smooth L1 loss turns from quadratic to linear.
        box_weight: factor on the box loss.
        selector: how ``detect`` picks detections.
    """

    anchors: DefaultBoxSettings = DefaultBoxSettings()
    separable: bool = False
    matcher: AnchorMatcher = AnchorMatcher(0.5, 0.5, inside_only=False)
    mining: HardNegatives = HardNegatives()
    stds: tuple[Positive, Positive, Positive, Positive] = (0.1, 0.1, 0.2, 0.2)
    beta: Positive = 1.0
    box_weight: NotNegative = 1.0
    selector: DetectionSelector = DetectionSelector(0.01, 0.45, 200)


class SSDHead(DenseHead):
    """
    Args:
        num_classes: without background.
        maps: that it reads.
        settings: its numbers.
    """

    def __init__(
        self, num_classes: int, maps: Sequence[Map], settings: SSDHeadSettings = SSDHeadSettings()
    ):
        strides = [stride for _, stride in maps]
        super().__init__(num_classes, DefaultBoxes(settings.anchors.of_maps(), strides), settings)
        self.classes, self.boxes = nn.ModuleList(), nn.ModuleList()
        for (channels, _), A in zip(maps, self.anchor_generator.counts, strict=True):
            for layers, outputs in ((self.classes, 1 + num_classes), (self.boxes, 4)):
                layers.append(
                    output_layer(channels, A * outputs, settings.separable) if A else nn.Identity()
                )

    def look(self, number: int, features: nn.Tensor) -> tuple[nn.Tensor, nn.Tensor]:
        return self.classes[number](features), self.boxes[number](features)

    def choose(self, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return self.settings.mining(labels, logits)

    def probabilities(self, logits: nn.Tensor) -> np.ndarray:
        return F.softmax(logits, 1).data

    def loss(self, answers: DenseAnswers, targets: DenseTargets) -> dict[str, nn.Tensor]:
        """``class`` and ``box``, sums over the boxes divided by how many have an object (at least
        1), over the whole batch."""
        sampled, labels, deltas = targets
        logits = answers.logits.reshape(-1, 1 + self.num_classes)[sampled]
        moved = answers.deltas.reshape(-1, 4)[sampled[labels > 0]]
        objects, settings = max(len(deltas), 1), self.settings
        return {
            "class": class_losses(logits, labels).sum() / objects,
            "box": box_losses(moved, deltas, settings.beta).sum() / objects * settings.box_weight,
        }


def output_layer(in_channels: int, out_channels: int, separable: bool) -> nn.Module:
    """(N, C, H, W) -> (N, out_channels, H, W): each cell and its neighbours."""
    if not separable:
        return init_output(nn.Conv2d(in_channels, out_channels, 3, padding=1))
    depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
    return nn.Sequential(
        init_hidden(depthwise, "he"),
        nn.BatchNorm2d(in_channels),
        nn.ReLU6(),
        init_output(nn.Conv2d(in_channels, out_channels, 1)),
    )
