"""What kind of mistake is each wrong detection and each missed object, and what does it cost?

The six kinds of TIDE (Bolya, Foley, Hays, Hoffman: TIDE, A General Toolbox for Identifying Object
Detection Errors, ECCV 2020, section 2.2). What a kind costs is found out by an oracle: AP50 is
computed once more with all mistakes of that kind mended, and nothing else (section 2.3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detector.evaluation.matches import IOU, Match, match

NEAR = 0.1  # of IoU: what overlaps no object by more is on the background
MOST_DETECTIONS = 100  # of a picture, as in COCO's figures

# In the order of TIDE's table, each with what it means and what mending it does.
KINDS = {
    "taken for another": "right place (IoU 0.5 or more), wrong class",
    "misplaced": "right class, but the box overlaps the object by 0.1 to 0.5 only",
    "both": "wrong class, and the box overlaps the object by 0.1 to 0.5 only",
    "twice": "an object that a surer detection had found already",
    "invented": "no object is there (IoU 0.1 or less)",
    "missed": "an object that no detection came near enough to",
}


class Mistake(NamedTuple):
    """A wrong detection, or an object without one.

    Attributes:
        kind: one of ``KINDS``.
        image_id: the data set's own.
        detection: a COCO result, None where an object was missed.
        object: the annotation that it should have been, None where nothing is near.
        mends: whether the detection, were it right, would be the one that finds the object.
    """

    kind: str
    image_id: int
    detection: dict | None
    object: dict | None
    mends: bool = False


def find_mistakes(match: Match) -> list[Mistake]:
    """The mistakes in one picture: wrong detections, the surest first, then missed objects."""
    mistakes, fixable = [], {}
    found = set(match.taken.tolist())
    for row in np.flatnonzero(match.taken < 0):
        kind, number = _kind(match, row)
        near = None if number is None else match.objects[number]
        mends = False
        if kind in ("taken for another", "misplaced") and number not in found:
            mends = number not in fixable  # the surest of several
            fixable[number] = True
        mistakes.append(Mistake(kind, match.image_id, match.detections[row], near, mends))
    for number, entry in enumerate(match.objects):
        if number not in found and number not in fixable:
            mistakes.append(Mistake("missed", match.image_id, None, entry))
    return mistakes


def _kind(match: Match, row: int) -> tuple[str, int | None]:
    """The kind of a wrong detection, and which object it should have been."""
    iou, same = match.iou[row], match.same[row]
    if len(iou) == 0:
        return "invented", None
    own, other = np.where(same, iou, 0.0), np.where(same, 0.0, iou)
    if NEAR <= own.max() <= IOU:
        return "misplaced", int(own.argmax())
    if other.max() >= IOU:
        return "taken for another", int(other.argmax())
    if own.max() >= IOU:  # and some detection has it, or this one would
        return "twice", int(own.argmax())
    if iou.max() <= NEAR:
        return "invented", None
    return "both", int(iou.argmax())


class Cost(NamedTuple):
    """How many mistakes of a kind there are, and what AP50 gains if all are mended, in 0..1."""

    count: int
    gain: float


def costs(ground_truth: dict, detections: Sequence[dict]) -> dict[str, Cost]:
    """What each kind of mistake costs.

    Args:
        ground_truth: ``annotations`` as in COCO's JSON.
        detections: COCO's results.
    """
    tally = Tally()
    for found in match(ground_truth["annotations"], most_of_each(detections)):
        tally.add(found)
    now = tally.average_precision()
    return {
        kind: Cost(
            sum(mistake.kind == kind for mistake in tally.mistakes),
            max(0.0, tally.average_precision(mended=kind) - now),
        )
        for kind in KINDS
    }


def most_of_each(detections: Sequence[dict]) -> list[dict]:
    """The hundred surest detections of each picture."""
    found = defaultdict(list)
    for entry in detections:
        found[entry["image_id"]].append(entry)
    return [
        entry
        for entries in found.values()
        for entry in sorted(entries, key=lambda entry: -entry["score"])[:MOST_DETECTIONS]
    ]


class Tally:
    """The matches of many pictures, counted.

    Attributes:
        objects: how many there are, by category.
        hits: category and score of each right detection.
        mistakes: all others.
    """

    def __init__(self):
        self.objects: dict[int, int] = defaultdict(int)
        self.hits: list[tuple[int, float]] = []
        self.mistakes: list[Mistake] = []

    def add(self, match: Match) -> None:
        for entry in match.objects:
            self.objects[entry["category_id"]] += 1
        for row in np.flatnonzero(match.taken >= 0):
            entry = match.detections[row]
            self.hits.append((entry["category_id"], entry["score"]))
        self.mistakes += find_mistakes(match)

    def average_precision(self, mended: str | None = None) -> float:
        """AP50, mean over the classes that have an object, maybe with one kind of mistake mended.

        A detection that is mended becomes right if it would be the one that finds its object, else
        it is gone; an object that was missed is gone.
        """
        points, objects = defaultdict(list), dict(self.objects)
        for kind, _, detection, near, mends in self.mistakes:
            if detection is None:
                objects[near["category_id"]] -= kind == mended
            elif kind != mended:
                points[detection["category_id"]].append((detection["score"], False))
            elif mends:
                points[near["category_id"]].append((detection["score"], True))
        for category, score in self.hits:
            points[category].append((score, True))
        classes = [name for name in objects if objects[name] or points[name]]
        if not classes:
            return 0.0
        return float(np.mean([average_precision(points[name], objects[name]) for name in classes]))


def average_precision(points: Sequence[tuple[float, bool]], objects: int) -> float:
    """COCO's: the mean, over the recalls 0, 0.01, ..., 1, of the best precision from there on.

    Args:
        points: the score of each detection, and whether it is right.
        objects: how many there are to be found.
    """
    if objects == 0 or not points:
        return 0.0
    scores, right = (np.array(values) for values in zip(*points, strict=True))
    found = np.cumsum(right[np.argsort(-scores, kind="stable")])
    precision = found / np.arange(1, len(found) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(found / objects, np.arange(101) / 100)
    return float(precision[at[at < len(precision)]].sum() / 101)
