"""What is taken for what: objects against the detections that are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.evaluation.matches import IOU, match


def confusion(
    ground_truth: dict, detections: Sequence[dict], score: float
) -> tuple[list[int], np.ndarray]:
    """How many objects of each class were taken for each class, missed, and invented.

    Detections are matched within their class first, as for every figure, so that the diagonal
    counts the right ones; then the surest of the others takes the free object of another class that
    it overlaps most, if by 0.5 or more.

    Args:
        ground_truth: ``annotations`` and ``categories`` as in COCO's JSON.
        detections: COCO's results; only those that score at least ``score`` are shown.

    Returns:
        the ids of the C categories, and (C + 1, C + 1) int64: row i are the objects of category i,
        column j what they were taken for; the last column counts those missed, the last row the
        detections that are of no object.
    """
    ids = [category["id"] for category in ground_truth["categories"]]
    place = {number: k for k, number in enumerate(ids)}
    counts = np.zeros((len(ids) + 1, len(ids) + 1), np.int64)
    shown = [entry for entry in detections if entry["score"] >= score]
    for found in match(ground_truth["annotations"], shown):
        is_free = np.ones(len(found.objects), bool)
        is_free[found.taken[found.taken >= 0]] = False
        for row, entry in enumerate(found.detections):
            number = found.taken[row]
            if number < 0 and is_free.any():
                best = int(np.where(is_free, found.iou[row], -1.0).argmax())
                if found.iou[row, best] >= IOU:
                    number, is_free[best] = best, False
            truth = len(ids) if number < 0 else place[found.objects[number]["category_id"]]
            counts[truth, place[entry["category_id"]]] += 1
        for number in np.flatnonzero(is_free):
            counts[place[found.objects[number]["category_id"]], -1] += 1
    return ids, counts
