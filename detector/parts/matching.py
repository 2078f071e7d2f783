"""Matching: which ground-truth box, if any, each anchor or proposal is responsible for.

The first step of making training targets; ``detector.parts.sampling`` then picks from the result.
Thesis section 3.2.3, after Faster R-CNN section 3.1.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detector.boxes import as_boxes, box_iou, covered_fraction
from detector.settings import Count, Fraction, Settings

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


class Match(NamedTuple):
    """labels (M,) int8: POSITIVE, NEGATIVE or IGNORED; matched (M,) int64: the box that a positive
    one has to reach (0 for the others)."""

    labels: np.ndarray
    matched: np.ndarray


def best_box(candidates: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box that overlaps each candidate most.

    Args:
        candidates: (M, 4), boxes: (G, 4), G may be 0.

    Returns:
        IoU (M,) in [0, 1], 0 where G is 0; index of the box (M,) int64, the first of equals.
    """
    if len(boxes) == 0:
        return np.zeros(len(candidates), np.float32), np.zeros(len(candidates), np.int64)
    iou = box_iou(candidates, boxes)
    return iou.max(axis=1), iou.argmax(axis=1)


@dataclass(frozen=True)
class AnchorMatcher(Settings):
    """Labels anchors as object (POSITIVE), background (NEGATIVE) or neither (IGNORED).

    Later rules override earlier ones:

    1. everything is ignored;
    2. IoU below ``negative_iou`` with every box: negative, unless mostly inside a crowd region;
    3. IoU of at least ``positive_iou`` with some box: positive;
    4. the best anchors of each box, ties included: positive, however small the IoU.

    Attributes:
        positive_iou, negative_iou: 0.7 and 0.3 in the thesis.
        anchors_per_box: how many anchors rule 4 takes for each box. The first is taken always (1 is
            the thesis's rule); further ones need an IoU of ``extra_iou`` and must not overlap
            another box more.
        extra_iou: see ``anchors_per_box``; no effect if that is 1.
        inside_only: ignore all anchors that cross the border of the image, as the paper does.
            If False, only those whose centre is outside (in the padding of a batch).
        crowd_cover: a negative with more than this part of its area in a crowd region is ignored.
    """

    positive_iou: Fraction = 0.7
    negative_iou: Fraction = 0.3
    anchors_per_box: Count = 1
    extra_iou: Fraction = 0.3
    inside_only: bool = True
    crowd_cover: Fraction = 0.5

    def __call__(
        self,
        anchors: np.ndarray,
        boxes: np.ndarray,
        image_size: tuple[int, int],
        ignore: np.ndarray | None = None,
    ) -> Match:
        """Match the anchors of one image.

        Args:
            anchors: (M, 4).
            boxes: (G, 4) ground truth, G may be 0: then no anchor is positive.
            image_size: (h, w) in pixels, without padding.
            ignore: (I, 4) crowd regions.
        """
        anchors, boxes = as_boxes(anchors, "anchors"), as_boxes(boxes)
        labels = np.full(len(anchors), IGNORED, np.int8)
        matched = np.zeros(len(anchors), np.int64)
        usable = np.flatnonzero(self._is_usable(anchors, image_size))
        candidates = anchors[usable]

        # (G, M), a row for each box: that way NumPy's reductions over G run along memory.
        iou = box_iou(boxes, candidates)
        overlap = iou.max(axis=0, initial=0)
        is_best = self._is_best(iou, overlap)
        is_positive = (overlap >= self.positive_iou) | is_best.any(axis=0)
        is_negative = overlap < self.negative_iou
        if ignore is not None and len(ignore):
            is_negative &= covered_fraction(candidates, ignore) <= self.crowd_cover
        labels[usable[is_negative]] = NEGATIVE
        labels[usable[is_positive]] = POSITIVE
        if len(boxes):
            # A best anchor goes to the box that needs it, even if it overlaps another one more.
            iou, is_best = iou[:, is_positive], is_best[:, is_positive]
            choices = np.where(is_best.any(axis=0), np.where(is_best, iou, 0), iou)
            matched[usable[is_positive]] = choices.argmax(axis=0)
        return Match(labels, matched)

    def _is_usable(self, anchors: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        height, width = image_size
        low, high = anchors[:, :2], anchors[:, 2:]
        if not self.inside_only:
            low = high = (low + high) / 2
        return (low >= 0).all(axis=1) & (high <= (width, height)).all(axis=1)

    def _is_best(self, iou: np.ndarray, overlap: np.ndarray) -> np.ndarray:
        """(G, M) bool: rule 4. A box that no anchor touches has no best anchor."""
        is_best = iou == iou.max(axis=1, initial=0, keepdims=True)
        if self.anchors_per_box > 1:
            least = np.array([[self._least_extra(row)] for row in iou], iou.dtype)
            is_best |= (iou >= least.reshape(-1, 1)) & (iou == overlap)
        return is_best & (iou > 0)

    def _least_extra(self, iou: np.ndarray) -> float:
        """The IoU that one of the best ``anchors_per_box`` anchors of a box has at least."""
        strong = iou[iou >= self.extra_iou]
        if len(strong) <= self.anchors_per_box:
            return self.extra_iou
        return np.partition(strong, -self.anchors_per_box)[-self.anchors_per_box]
