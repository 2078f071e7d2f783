"""RetinaNet's head: every anchor of every map is learned from, and the loss does the sorting.

Where SSD leaves most of the background out, here all of it counts, but little where the network is
sure of it already: the focal loss. Two towers of 3x3 convolutions, the same for all maps, say of
each anchor how likely each class is (a sigmoid each: there is no background) and where the object
is exactly (Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

import nn
from detector.heads.dense import DenseAnswers, DenseHead, DenseTargets
from detector.parts.anchors import AnchorSettings
from detector.parts.default_boxes import DefaultBoxes
from detector.parts.layers import GAUSSIAN_STD, Init, Norm, init_hidden, init_output, make_norm
from detector.parts.losses import box_losses, focal_loss
from detector.parts.matching import IGNORED, AnchorMatcher
from detector.parts.selection import DetectionSelector
from detector.settings import Channels, Fraction, NotNegative, Positive, Range, Settings
from nn import functional as F
from nn.models import Map

LEAST_BETA = 1e-6  # of the box loss: |d|, the paper's code


@dataclass(frozen=True)
class RetinaHeadSettings(Settings):
    """
    Attributes:
        anchors: of a map of stride 8; on a map of stride s they are s / 8 as large. The paper's
            have three sizes within an octave.
        convolutions, channels, norm, init: of each tower; batch norm's statistics are one for all
            maps.
        prior: the probability that an untrained network gives each class of each anchor. With one
            half, thousands of anchors of the background would drown everything else.
        alpha, gamma: of the focal loss, see ``parts.losses.focal_loss``.
        matcher: which anchors are of an object, which of the background and which of neither.
        stds: of the deltas, see ``boxes.encode``.
        beta: where the box loss turns from quadratic to linear; the paper's code has next to 0.
        box_weight: factor on the box loss.
        selector: how ``detect`` picks detections.
    """

    anchors: AnchorSettings = AnchorSettings(
        (32.0, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)), (0.5, 1.0, 2.0)
    )
    convolutions: Annotated[int, Range(0, 16)] = 4
    channels: Channels = 256
    norm: Norm = "none"
    init: Init = "gaussian"
    prior: Annotated[float, Range(1e-6, 1 - 1e-6)] = 0.01
    alpha: Fraction = 0.25
    gamma: Annotated[float, Range(1.0, 100.0)] = 2.0
    matcher: AnchorMatcher = AnchorMatcher(0.5, 0.4, inside_only=False)
    stds: tuple[Positive, Positive, Positive, Positive] = (1.0, 1.0, 1.0, 1.0)
    beta: Positive = LEAST_BETA
    box_weight: NotNegative = 1.0
    selector: DetectionSelector = DetectionSelector(0.05, 0.5, 100)


class RetinaHead(DenseHead):
    """
    Args:
        num_classes: without background.
        maps: that it reads, of the same channels.
        settings: its numbers.
    """

    def __init__(
        self,
        num_classes: int,
        maps: Sequence[Map],
        settings: RetinaHeadSettings = RetinaHeadSettings(),
    ):
        shapes, strides = settings.anchors.generator(8).shapes, [stride for _, stride in maps]
        octaves = [shapes * (stride / 8) for stride in strides]
        super().__init__(num_classes, DefaultBoxes(octaves, strides), settings)
        A = settings.anchors.count
        (channels,) = {channels for channels, _ in maps}
        self.classes = tower(channels, A * num_classes, settings)
        self.boxes = tower(channels, A * 4, settings)
        nn.init.constant_(self.classes[-1].bias, math.log(settings.prior / (1 - settings.prior)))

    def look(self, number: int, features: nn.Tensor) -> tuple[nn.Tensor, nn.Tensor]:
        return self.classes(features), self.boxes(features)

    def choose(self, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return np.flatnonzero(labels != IGNORED)

    def probabilities(self, logits: nn.Tensor) -> np.ndarray:
        """Every class by itself; the background's column is 0."""
        return np.pad(F.sigmoid(logits).data, ((0, 0), (1, 0)))

    def loss(self, answers: DenseAnswers, targets: DenseTargets) -> dict[str, nn.Tensor]:
        """``class`` and ``box``, sums over the anchors divided by how many have an object (at
        least 1), over the whole batch."""
        sampled, labels, deltas = targets
        logits = answers.logits.reshape(-1, self.num_classes)[sampled]
        is_class = labels[:, None] == np.arange(1, 1 + self.num_classes)
        moved = answers.deltas.reshape(-1, 4)[sampled[labels > 0]]
        objects, settings = max(len(deltas), 1), self.settings
        focal = focal_loss(logits, is_class, settings.alpha, settings.gamma)
        return {
            "class": focal.sum() / objects,
            "box": box_losses(moved, deltas, settings.beta).sum() / objects * settings.box_weight,
        }


def tower(in_channels: int, outputs: int, settings: RetinaHeadSettings) -> nn.Sequential:
    """(N, C, H, W) -> (N, outputs, H, W): 3x3 convolutions and, last, the one that answers."""
    layers = []
    for number in range(settings.convolutions):
        C = settings.channels if number else in_channels
        conv = nn.Conv2d(C, settings.channels, 3, padding=1, bias=settings.norm == "none")
        norm = make_norm(settings.norm, settings.channels)
        layers += [init_hidden(conv, settings.init), norm, nn.ReLU()]
    last = settings.channels if settings.convolutions else in_channels
    return nn.Sequential(*layers, init_output(nn.Conv2d(last, outputs, 3, padding=1), GAUSSIAN_STD))
