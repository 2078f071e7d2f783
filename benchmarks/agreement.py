"""Do two peers compute the same? Only then is there anything to compare."""

from __future__ import annotations

import numpy as np


def largest_difference(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """The largest difference of any two elements, relative to the largest element of its array."""
    if [a.shape for a in ours] != [b.shape for b in theirs]:
        return np.inf
    differences = [
        float(np.abs(a - b).max(initial=0)) / (float(np.abs(a).max(initial=0)) or 1.0)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return np.inf if np.isnan(differences).any() else max(differences)


def missing_detections(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Which part of the detections has no counterpart in the other's, the worse of both ways.

    Both are lists of boxes (R, 4), scores (R,) and labels (R,), image after image. A counterpart
    has the same label, corners within 0.05 pixels and a score within 0.1 %. The two lists need
    not be equal: where two scores are equal up to rounding, suppression may keep the other box.
    """
    if len(ours) != len(theirs):
        return np.inf
    worst = 0.0
    for n in range(0, len(ours), 3):
        same = _same(ours[n : n + 3], theirs[n : n + 3])
        for found in (same.any(1), same.any(0)):
            worst = max(worst, 1 - found.mean() if found.size else 0.0)
    return worst


def _same(ours, theirs) -> np.ndarray:
    (boxes, scores, labels), (other_boxes, other_scores, other_labels) = ours, theirs
    near = (np.abs(boxes[:, None] - other_boxes[None]) < 0.05).all(2)
    close = np.abs(scores[:, None] - other_scores) < 1e-3 * scores[:, None]
    return near & close & (labels[:, None] == other_labels)
