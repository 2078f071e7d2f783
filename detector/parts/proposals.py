"""Proposals: from what the region proposal network says about each anchor to a few hundred boxes.

Between the two stages of the detector; no gradient passes through (Faster R-CNN, 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from detector.boxes import best_scores, clip, decode, nms, remove_small
from detector.settings import Fraction, NotNegative, Range, Settings


@dataclass(frozen=True)
class ProposalSelector(Settings):
    """The best boxes of one image without near-duplicates.

    Attributes:
        pre_nms: how many of the best-scored anchors are looked at (all, if there are fewer).
        post_nms: how many boxes to return at most.
        iou_threshold: of two boxes that overlap more than this, the worse-scored one is dropped.
        min_size: boxes with a side of at most this many pixels inside the image are dropped.
    """

    pre_nms: Annotated[int, Range(1, 2**16)] = 6000
    post_nms: Annotated[int, Range(1, 2**14)] = 1000
    iou_threshold: Fraction = 0.7
    min_size: NotNegative = 0.0

    def __call__(
        self,
        objectness: np.ndarray,
        deltas: np.ndarray,
        anchors: np.ndarray,
        image_size: tuple[int, int],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Decode, clip and suppress.

        Args:
            objectness: (M,) logits or probabilities, only their order counts; of equal ones the
                lower index comes first.
            deltas: (M, 4); anchors: (M, 4).
            image_size: (h, w) in pixels, without padding.

        Returns:
            boxes (R, 4) inside the image and their objectness (R,), best first.
        """
        top = best_scores(objectness, self.pre_nms)
        boxes = clip(decode(deltas[top], anchors[top]), image_size)
        whole = remove_small(boxes, self.min_size)
        boxes, scores = boxes[whole], objectness[top[whole]]
        kept = nms(boxes, scores, self.iou_threshold, limit=self.post_nms)
        return boxes[kept], scores[kept]
