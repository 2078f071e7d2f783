"""From which score on is a detection worth showing? Where F1 is highest.

Precision is the part of the shown detections that is right (see ``matches.py``), recall the part of
the objects that is found, and F1 their harmonic mean, 2 right / (shown + objects).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detector.evaluation.matches import Judged, judge

DEFAULT_SCORE = 0.5  # of a detector that was never measured


class Threshold(NamedTuple):
    """A score, and F1, precision and recall of what scores as much or more; all in 0..1."""

    score: float
    f1: float
    precision: float
    recall: float


class Curve(NamedTuple):
    """What is shown at every score that occurs, the highest first; all (S,) float64 in 0..1."""

    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray


def curve(judged: Judged, objects: int) -> Curve:
    """Precision, recall and F1 over the score, for a number of objects of at least 1."""
    order = np.argsort(-judged.scores, kind="stable")
    scores, found = judged.scores[order], np.cumsum(judged.right[order])
    shown = np.arange(1, len(scores) + 1)
    last = np.append(scores[1:] < scores[:-1], True)[: len(scores)]  # of several with one score
    scores, found, shown = scores[last], found[last], shown[last]
    return Curve(scores, found / shown, found / objects, 2 * found / (shown + objects))


def best_of(points: Curve) -> Threshold | None:
    """The score with the highest F1, None if nothing was found.

    Halfway to the next lower score, so that rounding hides nothing.
    """
    if not points.f1.any():
        return None
    k = int(points.f1.argmax())
    below = points.scores[k + 1] if k + 1 < len(points.scores) else 0.0
    score = float((points.scores[k] + below) / 2)
    return Threshold(
        score, float(points.f1[k]), float(points.precision[k]), float(points.recall[k])
    )


def best_threshold(ground_truth: dict, detections: Sequence[dict]) -> Threshold | None:
    """The score with the highest F1 over all classes, None if there is nothing to find or found.

    Args:
        ground_truth: ``annotations`` as in COCO's JSON; what overlaps a crowd is neither right nor
            wrong.
        detections: COCO's results.
    """
    objects = sum(not entry["iscrowd"] for entry in ground_truth["annotations"])
    if not objects:
        return None
    return best_of(curve(judge(ground_truth["annotations"], detections), objects))
