"""From which score on is a detection worth showing? Where F1 is highest.

Each detection of a class, the surest first, is right if it overlaps an object that is still free by
``IOU`` or more; the best such object is then taken (the matching of PASCAL VOC and COCO). Precision
is the part of the shown detections that is right, recall the part of the objects that is found, and
F1 their harmonic mean, 2 right / (shown + objects).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detector.boxes import box_iou, covered_fraction

IOU = 0.5
DEFAULT_SCORE = 0.5  # of a detector that was never measured


class Threshold(NamedTuple):
    """A score, and F1, precision and recall of what scores as much or more; all in 0..1."""

    score: float
    f1: float
    precision: float
    recall: float


def best_threshold(ground_truth: dict, detections: Sequence[dict]) -> Threshold | None:
    """The score with the highest F1 over all classes, None if there is nothing to find or found.

    Halfway to the next lower score, so that rounding hides nothing.

    Args:
        ground_truth: ``annotations`` as in COCO's JSON; what overlaps a crowd is neither right nor
            wrong.
        detections: COCO's results.
    """
    scores, right = judged(ground_truth["annotations"], detections)
    objects = sum(not entry["iscrowd"] for entry in ground_truth["annotations"])
    if not objects or not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], np.cumsum(right[order])
    shown = np.arange(1, len(scores) + 1)
    last = np.append(scores[1:] < scores[:-1], True)  # of several with one score
    f1 = np.where(last, 2 * found / (shown + objects), -1)
    k = int(f1.argmax())
    below = scores[k + 1] if k + 1 < len(scores) else 0.0
    score = float((scores[k] + below) / 2)
    return Threshold(score, float(f1[k]), float(found[k] / shown[k]), float(found[k] / objects))


def judged(
    annotations: Sequence[dict], detections: Sequence[dict]
) -> tuple[np.ndarray, np.ndarray]:
    """The scores of all detections that count, (D,) float64, and which are right, (D,) bool."""
    truth, found = defaultdict(list), defaultdict(list)
    for entry in annotations:
        truth[entry["image_id"], entry["category_id"]].append(entry)
    for entry in detections:
        found[entry["image_id"], entry["category_id"]].append(entry)
    scores, right = [], []
    for key, entries in found.items():
        entries = sorted(entries, key=lambda entry: -entry["score"])
        objects = [entry for entry in truth[key] if not entry["iscrowd"]]
        crowds = [entry for entry in truth[key] if entry["iscrowd"]]
        ious = box_iou(corners(entries), corners(objects))
        in_crowd = covered_fraction(corners(entries), corners(crowds)) >= IOU
        is_free = np.ones(len(objects), bool)
        for number, entry in enumerate(entries):
            candidates = np.where(is_free, ious[number], -1.0)
            best = int(candidates.argmax()) if len(objects) else -1
            hit = best >= 0 and candidates[best] >= IOU
            if hit:
                is_free[best] = False
            elif in_crowd[number]:
                continue
            scores.append(entry["score"])
            right.append(hit)
    return np.array(scores, np.float64), np.array(right, bool)


def corners(entries: Sequence[dict]) -> np.ndarray:
    """(R, 4) float64 corners of COCO's x, y, width, height."""
    boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes
