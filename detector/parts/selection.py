"""Detections: from the head's scores and deltas to the boxes that the user sees.

The last step of the detector (Fast R-CNN, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.boxes import batched_nms, best_scores, clip, decode, remove_small
from detector.settings import Count, Fraction, Settings


@dataclass(frozen=True)
class DetectionSelector(Settings):
    """Scores, decodes and thins out what the head says about the proposals of one image.

    Attributes:
        score_threshold: detections with at most this probability are dropped.
        iou_threshold: of two boxes of one class that overlap more, the worse-scored is dropped.
        max_detections: how many to return at most, over all classes.
    """

    score_threshold: Fraction = 0.0
    iou_threshold: Fraction = 0.5
    max_detections: Count = 100

    def __call__(
        self,
        probabilities: np.ndarray,
        deltas: np.ndarray,
        proposals: np.ndarray,
        image_size: tuple[int, int],
        stds: Sequence[float],
    ) -> dict[str, np.ndarray]:
        """Detections of one image, best first.

        Args:
            probabilities: (K, 1 + num_classes), column 0 is the background.
            deltas: (K, 4) shared by all classes, or (K, 1 + num_classes, 4), one set per class.
            proposals: (K, 4).
            image_size: (h, w) in pixels, without padding.
            stds: of the box deltas, as in training.

        Returns:
            dict of ``boxes`` (R, 4) in pixels of the network's input, ``scores`` (R,), ``labels``
            (R,) int64 in 1..num_classes.
        """
        # A candidate for each proposal and class, row by row; those that score enough count.
        scores, classes = probabilities[:, 1:].reshape(-1), probabilities.shape[1] - 1
        # A box is dropped only for one that scores more. So what counts can be found among the best
        # candidates; the others are looked at only if too few of those remain.
        count = 8 * self.max_detections
        while True:
            top = best_scores(scores, count)
            top = np.sort(top[scores[top] > self.score_threshold])
            is_all = len(top) < count
            rows, labels = top // classes, top % classes + 1
            chosen = deltas[rows, labels] if deltas.ndim == 3 else deltas[rows]
            boxes = clip(decode(chosen, proposals[rows], stds), image_size)
            whole = remove_small(boxes, 0)
            boxes, top, labels = boxes[whole], top[whole], labels[whole]
            kept = batched_nms(boxes, scores[top], labels, self.iou_threshold)
            if len(kept) >= self.max_detections or is_all:
                kept = kept[: self.max_detections]
                return {"boxes": boxes[kept], "scores": scores[top[kept]], "labels": labels[kept]}
            count *= 4
