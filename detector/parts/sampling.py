"""Sampling: which of the many anchors and proposals an image trains with.

After matching and before the losses. Everything here is NumPy outside the graph; random choices
come from the generator that is passed in, so the same generator state gives the same samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from detector.boxes import as_boxes, covered_fraction
from detector.parts.matching import NEGATIVE, POSITIVE, best_box
from detector.settings import MOST, Count, Fraction, Range, Settings


def choose(indices: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` of the ``indices`` at random, in ascending order; all if there are fewer."""
    if len(indices) <= count:
        return indices
    return np.sort(rng.choice(indices, count, replace=False))


@dataclass(frozen=True)
class AnchorSampler(Settings):
    """Picks a balanced handful of labelled anchors per image (Faster R-CNN, 3.1.3).

    Attributes:
        count: anchors per image.
        positive_fraction: at most this part of them positive; negatives fill the rest.
    """

    count: Count = 256
    positive_fraction: Fraction = 0.5

    def __call__(
        self, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positive and negative indices, both int64 ascending, for ``labels`` (M,)."""
        most = int(self.count * self.positive_fraction)
        positive = choose(np.flatnonzero(labels == POSITIVE), most, rng)
        negative = choose(np.flatnonzero(labels == NEGATIVE), self.count - len(positive), rng)
        return positive, negative


def object_weights(matched: np.ndarray) -> np.ndarray:
    """Weights that let each object count the same, however many anchors it has.

    Args:
        matched: (P,) the object of each positive anchor.

    Returns:
        (P,) float32, 1 / (anchors of the same object), scaled to the sum P.
    """
    if len(matched) == 0:
        return np.zeros(0, np.float32)
    _, object_of, anchors_of = np.unique(matched, return_inverse=True, return_counts=True)
    weights = 1 / anchors_of[object_of]
    return (weights * len(matched) / weights.sum()).astype(np.float32)


class RoIs(NamedTuple):
    """Proposals of one image as examples for the head.

    boxes (K, 4); labels (K,) int64, 0 = background; matched (K,) int64, the ground-truth box of a
    foreground example (meaningless for background).
    """

    boxes: np.ndarray
    labels: np.ndarray
    matched: np.ndarray


@dataclass(frozen=True)
class RoISampler(Settings):
    """Turns proposals into the head's training examples (Fast R-CNN, section 2.3).

    The ground-truth boxes are examples too. The official Light-Head R-CNN keeps all of them and
    leaves the choice to online hard example mining.

    Attributes:
        foreground_iou: a proposal with at least this IoU takes the label of its best box.
        background_iou: one below ``foreground_iou`` and at least this is background; the rest is
            dropped.
        count: examples per image, -1 for all.
        foreground_fraction: with a ``count``, at most this part of it is foreground, unless there
            is too little background to fill the rest.
        crowd_cover: background with more than this part of its area in a crowd region is dropped.
        add_truth: whether the ground-truth boxes are examples too.
    """

    foreground_iou: Fraction = 0.5
    background_iou: Fraction = 0.0
    count: Annotated[int, Range(-1, MOST)] = -1
    foreground_fraction: Fraction = 0.25
    crowd_cover: Fraction = 0.5
    add_truth: bool = True

    def __call__(
        self,
        proposals: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        rng: np.random.Generator,
        ignore: np.ndarray | None = None,
    ) -> RoIs:
        """Examples of one image.

        Args:
            proposals: (P, 4).
            boxes, labels: ground truth (G, 4) and (G,) in 1..num_classes; G may be 0.
            ignore: (I, 4) crowd regions.
        """
        proposals, boxes = as_boxes(proposals, "proposals"), as_boxes(boxes)
        candidates = np.concatenate([proposals, boxes]) if self.add_truth else proposals
        overlap, matched = best_box(candidates, boxes)
        is_foreground = overlap >= self.foreground_iou
        is_background = (overlap >= self.background_iou) & ~is_foreground
        if ignore is not None and len(ignore):
            is_background &= covered_fraction(candidates, ignore) <= self.crowd_cover

        foreground, background = np.flatnonzero(is_foreground), np.flatnonzero(is_background)
        if self.count >= 0:
            most = max(int(self.count * self.foreground_fraction), self.count - len(background))
            foreground = choose(foreground, most, rng)
            background = choose(background, self.count - len(foreground), rng)
        picked = np.concatenate([foreground, background])
        picked_labels = np.zeros(len(picked), np.int64)
        picked_labels[: len(foreground)] = np.asarray(labels)[matched[foreground]]
        return RoIs(candidates[picked], picked_labels, matched[picked])
