"""A head without proposals: it says of every default box what is in it, and where exactly.

What the heads of SSD and RetinaNet have in common. They differ in their layers, in which boxes they
learn from and in the loss. Each step can be run alone: ``forward`` -> ``detect`` in use,
``forward`` -> ``assign`` -> ``loss`` in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import nn
from detector.boxes import as_boxes, encode
from detector.parts.default_boxes import DefaultBoxes
from detector.parts.matching import POSITIVE
from nn import functional as F

EVERYWHERE = (np.inf, np.inf)  # the (h, w) in which a box may lie


class DenseAnswers(NamedTuple):
    """What the network says of the M boxes of each picture.

    logits (N, M, K), deltas (N, M, 4); the boxes themselves (M, 4).
    """

    logits: nn.Tensor
    deltas: nn.Tensor
    anchors: np.ndarray


class DenseTargets(NamedTuple):
    """What the boxes of a batch that are learned from should say.

    Box m of image n has the number n * M + m. sampled (S,) int64 numbers; labels (S,) int64, 0 is
    the background; deltas (P, 4) of those P that are none.
    """

    sampled: np.ndarray
    labels: np.ndarray
    deltas: np.ndarray


class DenseHead(nn.Module):
    """
    Args:
        num_classes: without background.
        anchors: the boxes of each map.
        settings: its numbers; ``matcher``, ``stds`` and ``selector`` are used here.
    """

    def __init__(self, num_classes: int, anchors: DefaultBoxes, settings):
        super().__init__()
        self.num_classes, self.anchor_generator, self.settings = num_classes, anchors, settings

    def look(self, number: int, features: nn.Tensor) -> tuple[nn.Tensor, nn.Tensor]:
        """Map (N, C, H, W) -> (N, A K, H, W) logits and (N, A 4, H, W) deltas of its A boxes."""
        raise NotImplementedError

    def choose(self, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Which boxes of a picture are learned from: int64 places of (M,) ``labels`` of matching.

        Args:
            logits: (M, K), what the network says of them.
        """
        raise NotImplementedError

    def probabilities(self, logits: nn.Tensor) -> np.ndarray:
        """(M, K) -> (M, 1 + num_classes), column 0 the background."""
        raise NotImplementedError

    def loss(self, answers: DenseAnswers, targets: DenseTargets) -> dict[str, nn.Tensor]:
        """``class`` and ``box`` of a batch."""
        raise NotImplementedError

    def forward(self, maps: Sequence[nn.Tensor], image_size: tuple[int, int]) -> DenseAnswers:
        """
        Args:
            maps: (N, C, H, W) each, in the order of the boxes' maps; the last may be missing.
            image_size: (h, w) of the batch.
        """
        found, counts = [], self.anchor_generator.counts
        for number, (features, A) in enumerate(zip(maps, counts, strict=False)):
            if A:
                found.append([rows(output, A) for output in self.look(number, features)])
        logits, deltas = (F.cat(part, 1) for part in zip(*found, strict=True))
        sizes = [features.shape[2:] for features in maps]
        return DenseAnswers(logits, deltas, self.anchor_generator.grid(sizes, image_size))

    def assign(self, answers: DenseAnswers, targets: Sequence[dict]) -> DenseTargets:
        """Match the boxes of each picture to its objects and choose which to learn from.

        A box in the padding of a batch is a box of the background as any other.

        Args:
            targets: of each picture, see ``Detector.loss``.
        """
        parts, (logits, _, anchors) = [], answers
        for n, target in enumerate(targets):
            boxes = as_boxes(target["boxes"])
            match = self.settings.matcher(anchors, boxes, EVERYWHERE, target.get("ignore"))
            chosen = self.choose(match.labels, logits.data[n])
            is_object = match.labels[chosen] == POSITIVE
            matched = match.matched[chosen[is_object]]
            labels = np.zeros(len(chosen), np.int64)
            labels[is_object] = np.asarray(target["labels"])[matched]
            deltas = encode(boxes[matched], anchors[chosen[is_object]], self.settings.stds)
            parts.append(DenseTargets(n * len(anchors) + chosen, labels, deltas))
        return DenseTargets(*map(np.concatenate, zip(*parts, strict=True)))

    def detect(self, answers: DenseAnswers, image_size: tuple[int, int]) -> dict[str, np.ndarray]:
        """The detections of one picture of ``image_size`` (h, w), see ``DetectionSelector``."""
        logits, deltas, anchors = answers
        return self.settings.selector(
            self.probabilities(logits[0]), deltas.data[0], anchors, image_size, self.settings.stds
        )


def rows(output: nn.Tensor, count: int) -> nn.Tensor:
    """(N, A K, H, W) -> (N, H W A, K): what a map says, box by box."""
    N, channels, H, W = output.shape
    return output.permute(0, 2, 3, 1).reshape(N, H * W * count, channels // count)
