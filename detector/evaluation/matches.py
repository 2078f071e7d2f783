"""Which detection is of which object, picture by picture: what every judgement of them rests on.

The matching of PASCAL VOC and COCO: the detections of a picture, the surest first, each take the
object of their class that they overlap most among those that are still free, if by ``IOU`` or more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from detector.boxes import box_iou, covered_fraction

IOU = 0.5


@dataclass(frozen=True)
class Match:
    """One picture.

    Attributes:
        image_id: the data set's own.
        detections: D COCO results, the surest first; those in a crowd, which are neither right nor
            wrong, are left out.
        objects: G annotations that are no crowds.
        iou: (D, G) float64 in 0..1.
        same: (D, G) bool: of one class.
        taken: (D,) int64: the object that a detection is right about, or -1.
    """

    image_id: int
    detections: list[dict]
    objects: list[dict]
    iou: np.ndarray
    same: np.ndarray
    taken: np.ndarray


def match(
    annotations: Sequence[dict], detections: Sequence[dict], iou_threshold: float = IOU
) -> Iterator[Match]:
    """The matches of all pictures that show or are said to show anything.

    Args:
        annotations: as in COCO's JSON.
        detections: COCO's results.
    """
    truth, found = defaultdict(list), defaultdict(list)
    for entry in annotations:
        truth[entry["image_id"]].append(entry)
    for entry in detections:
        found[entry["image_id"]].append(entry)
    for image_id in dict.fromkeys([*truth, *found]):
        objects = [entry for entry in truth[image_id] if not entry["iscrowd"]]
        crowds = [entry for entry in truth[image_id] if entry["iscrowd"]]
        entries = sorted(found[image_id], key=lambda entry: -entry["score"])
        iou, same = box_iou(corners(entries), corners(objects)), _same_class(entries, objects)
        taken = _take(np.where(same, iou, -1.0), iou_threshold)
        counts = [
            taken[row] >= 0 or not _is_in_crowd(entry, crowds, iou_threshold)
            for row, entry in enumerate(entries)
        ]
        kept = np.flatnonzero(np.array(counts, bool))
        entries = [entries[row] for row in kept]
        yield Match(image_id, entries, objects, iou[kept], same[kept], taken[kept])


class Judged(NamedTuple):
    """All detections that count: scores (D,) float64, right (D,) bool, categories (D,) int64."""

    scores: np.ndarray
    right: np.ndarray
    categories: np.ndarray

    def of(self, category: int) -> Judged:
        """Those of one class."""
        return Judged(*(values[self.categories == category] for values in self))


def judge(annotations: Sequence[dict], detections: Sequence[dict]) -> Judged:
    """Which detections are right."""
    rows = [
        (entry["score"], taken >= 0, entry["category_id"])
        for found in match(annotations, detections)
        for entry, taken in zip(found.detections, found.taken, strict=True)
    ]
    scores, right, categories = zip(*rows, strict=True) if rows else ((), (), ())
    return Judged(
        np.array(scores, np.float64), np.array(right, bool), np.array(categories, np.int64)
    )


def corners(entries: Sequence[dict]) -> np.ndarray:
    """(R, 4) float64 corners of COCO's x, y, width, height."""
    boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _same_class(entries: Sequence[dict], objects: Sequence[dict]) -> np.ndarray:
    ours = np.array([entry["category_id"] for entry in entries], np.int64)
    theirs = np.array([entry["category_id"] for entry in objects], np.int64)
    return ours[:, None] == theirs[None, :]


def _take(iou: np.ndarray, iou_threshold: float) -> np.ndarray:
    """(D,) the object that each detection takes, or -1; the first row chooses first."""
    taken = np.full(len(iou), -1)
    if iou.shape[1] == 0:
        return taken
    is_free = np.ones(iou.shape[1], bool)
    for row, overlaps in enumerate(iou):
        best = int(np.where(is_free, overlaps, -1.0).argmax())
        if is_free[best] and overlaps[best] >= iou_threshold:
            taken[row], is_free[best] = best, False
    return taken


def _is_in_crowd(entry: dict, crowds: Sequence[dict], share: float) -> bool:
    """Whether so much of its area lies in a crowd of its class."""
    own = [crowd for crowd in crowds if crowd["category_id"] == entry["category_id"]]
    return bool(own) and bool(covered_fraction(corners([entry]), corners(own))[0] >= share)
