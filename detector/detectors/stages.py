"""What each stage of a detector makes of one picture: to look into it, and to find what fails."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Stages(NamedTuple):
    """One picture on its way through a two-stage detector, as arrays.

    Boxes float32 (x1, y1, x2, y2) in pixels of the picture as the network sees it.

    Attributes:
        size: (h, w) of the picture there.
        anchors: (M, 4).
        levels: how many of them lie on each map.
        anchor_labels: (M,) int8, what training would tell each anchor, see ``parts.matching``.
        objectness: (M,) the probability that there is an object around each anchor, 0..1.
        moved: (M, 4) the anchors where the network moves them, cut off at the picture's edge.
        best: (B,) the best ``pre_nms`` of each map, which go into non-maximum suppression.
        proposals: (P, 4) what it leaves, best first.
        suspected: (P,) the objectness of each.
        pooled: (P, C, p, p) what the head cuts out for each.
        probabilities: (P, 1 + classes) what it says of each, column 0 the background.
        scores: (P,) how sure a detection of its most probable class is.
        answers: (P, 4) where it moves each for its most probable class; into the last suppression.
        exact: (G, 1 + classes) what it says of the boxes of the ground truth.
        found: the detections: ``boxes`` (R, 4), ``scores`` (R,), ``labels`` (R,).
    """

    size: tuple[int, int]
    anchors: np.ndarray
    levels: tuple[int, ...]
    anchor_labels: np.ndarray
    objectness: np.ndarray
    moved: np.ndarray
    best: np.ndarray
    proposals: np.ndarray
    suspected: np.ndarray
    pooled: np.ndarray
    probabilities: np.ndarray
    scores: np.ndarray
    answers: np.ndarray
    exact: np.ndarray
    found: dict[str, np.ndarray]
