"""The end of a detector of your own: from scores and boxes of all regions to what it shows."""

from __future__ import annotations

import numpy as np

from detector.boxes import batched_nms
from exercises.exercise import Exercise, Wrong
from exercises.own_boxes import _nms
from exercises.watching import watch


def _select(probabilities, boxes, least_score, iou_threshold, limit):
    found = []  # (score, class, box)
    for label in range(1, probabilities.shape[1]):
        scores = probabilities[:, label]
        likely = np.flatnonzero(scores > least_score)
        for i in likely[_nms(boxes[likely], scores[likely], iou_threshold)]:
            found.append((scores[i], label, boxes[i]))
    found.sort(key=lambda each: -each[0])
    scores, labels, kept = zip(*found[:limit], strict=True) if found else ((), (), ())
    return {
        "boxes": np.array(kept).reshape(-1, 4),
        "scores": np.array(scores),
        "labels": np.array(labels, int),
    }


def _right(probabilities, boxes, least_score, iou_threshold, limit, by_class=True):
    regions, classes = np.nonzero(probabilities[:, 1:] > least_score)
    scores = probabilities[:, 1:][regions, classes]
    groups = classes if by_class else classes * 0
    kept = batched_nms(boxes[regions], scores, groups, iou_threshold)[:limit]
    return {"boxes": boxes[regions[kept]], "scores": scores[kept], "labels": classes[kept] + 1}


def _equal(found, right) -> bool:
    return all(
        np.shape(found[name]) == value.shape and np.allclose(found[name], value)
        for name, value in right.items()
    )


def _check_select(answer) -> None:
    boxes = np.array([[0, 0, 20, 20], [1, 0, 21, 20], [40, 0, 60, 20], [0, 1, 20, 21.0]])
    probabilities = np.array(
        [[0.1, 0.7, 0.2], [0.1, 0.5, 0.4], [0.6, 0.1, 0.3], [0.85, 0.05, 0.1]]
    )  # background, two classes
    found, _, packages = watch(answer, probabilities.copy(), boxes.copy(), 0.05, 0.5, 100)
    if not isinstance(found, dict) or set(found) < {"boxes", "scores", "labels"}:
        raise Wrong('return a dict with "boxes", "scores" and "labels".')
    scores, labels = np.asarray(found["scores"]), np.asarray(found["labels"])
    right = _right(probabilities, boxes, 0.05, 0.5, 100)  # 0.7 (1), 0.4 (2), 0.3 (2), 0.1 (1)
    if not _equal(found, right):
        known = [
            (_right(probabilities, boxes, 0.05, 0.5, 100, by_class=False), "one class suppresses "
             "the other: a dog may stand before a horse. Suppress class by class."),
            (_right(probabilities, boxes, 0.05, 2.0, 100), "nothing is suppressed."),
            (_right(probabilities, boxes, 0.049, 0.5, 100), "a score of exactly least_score is not "
             "more than it."),
            ({**right, "labels": right["labels"] - 1}, "labels count from 1: 0 is the "
             "background's column."),
        ]  # fmt: skip
        for value, why in known:
            if _equal(found, value):
                raise Wrong(why)
        if len(labels) and (labels == 0).any():
            raise Wrong("column 0 is the background: it is no answer.")
        if len(scores) == 3 or len(set(map(tuple, found["boxes"]))) == len(scores) < 4:
            raise Wrong(
                "every region gives a candidate for each class, not only for its likeliest: the "
                "second best may be right, and average precision counts it."
            )
        if sorted(scores) == sorted(right["scores"]) and list(scores) != list(right["scores"]):
            raise Wrong("the best comes first, over all classes.")
        raise Wrong(
            f"the scores are {right['scores'].tolist()} of the classes {right['labels'].tolist()}; "
            f"you have {scores.tolist()} of {labels.tolist()}."
        )
    if packages & {"detector"}:
        raise Wrong("it calls the library's: this one is to be yours.")
    two = answer(probabilities.copy(), boxes.copy(), 0.05, 0.5, 2)
    if not _equal(two, _right(probabilities, boxes, 0.05, 0.5, 2)):
        raise Wrong("with limit=2 the two best of all classes are left.")
    nothing = answer(probabilities.copy(), boxes.copy(), 0.9, 0.5, 100)
    if not _equal(nothing, _right(probabilities, boxes, 0.9, 0.5, 100)):
        raise Wrong("if nothing scores enough, the boxes have the shape (0, 4), the rest (0,).")


select = Exercise(
    "select",
    check=_check_select,
    hints=(
        "For each class by itself: which regions score more than least_score, and which of those "
        "does suppression leave? (Write nms into the same cell, or take yours of chapter 8: "
        "`from mine.nms import nms`.)",
        "Collect (score, class, box) of all classes, sort by score, keep `limit`.",
        "np.array([]).reshape(-1, 4) has the shape (0, 4).",
    ),
    reference=_select,
    keeps="select",
)
