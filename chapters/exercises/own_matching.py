"""The matching of a detector of your own: what each anchor of a picture should say."""

from __future__ import annotations

import numpy as np

from exercises.exercise import Exercise, Wrong
from exercises.watching import watch


def _match(iou, positive=0.7, negative=0.3):
    M, G = iou.shape
    labels, matched = np.full(M, -1), np.zeros(M, int)
    labels[iou.max(axis=1, initial=0) < negative] = 0
    if G:
        best = (iou == iou.max(axis=0, initial=0)) & (iou > 0)  # (M, G): rule 4, ties included
        labels[(iou >= positive).any(axis=1) | best.any(axis=1)] = 1
        matched = np.where(best.any(axis=1, keepdims=True), np.where(best, iou, 0), iou).argmax(1)
    return labels, matched


# An anchor a row, an object a column. Object 1 has no anchor above 0.7 and two equal best ones;
# object 2 has its best in anchor 4, which overlaps object 0 more; object 3 touches no anchor.
_IOU = np.array(
    [
        [0.80, 0.10, 0.00, 0.0],
        [0.50, 0.40, 0.00, 0.0],
        [0.20, 0.40, 0.00, 0.0],
        [0.10, 0.00, 0.00, 0.0],
        [0.75, 0.00, 0.20, 0.0],
        [0.70, 0.00, 0.10, 0.0],
        [0.30, 0.20, 0.00, 0.0],
        [0.00, 0.00, 0.00, 0.0],
    ]
)


def _check_match(answer) -> None:
    given = _IOU.copy()
    result, _, packages = watch(answer, given, 0.7, 0.3)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong("return two arrays, the labels and the number of each anchor's object.")
    if (given != _IOU).any():
        raise Wrong("it changes the table it was given.")
    labels, matched = map(np.asarray, result)
    if labels.shape != (8,) or matched.shape != (8,):
        raise Wrong(f"of 8 anchors it returns {labels.shape} labels and {matched.shape} objects.")
    right, objects = _match(_IOU)
    wrong = [
        (0, "it overlaps object 0 by 0.8"),
        (3, "it overlaps nothing by 0.3 or more: background"),
        (7, "it overlaps nothing at all, and is nobody's best: object 3 has no anchor, which does "
            "not make every anchor its best"),
        (5, "at least 0.7 is enough, and it has exactly that"),
        (6, "less than 0.3 is background, and it has exactly 0.3: neither"),
        (1, "no anchor reaches 0.7 for object 1, so its best is taken"),
        (2, "it is as good for object 1 as anchor 1 is: ties are both taken, whatever it is else"),
        (4, "it is the best of object 2"),
    ]  # fmt: skip
    for anchor, why in wrong:
        if labels[anchor] != right[anchor]:
            raise Wrong(
                f"anchor {anchor} has {_IOU[anchor].tolist()}: {why}. Its label is "
                f"{right[anchor]}, not {labels[anchor]}."
            )
    for anchor in np.flatnonzero(right == 1):
        if matched[anchor] != objects[anchor]:
            raise Wrong(
                f"anchor {anchor} has {_IOU[anchor].tolist()} and should reach object "
                f"{objects[anchor]}, not {matched[anchor]}: the best anchor of an object belongs "
                "to it, even if it overlaps another one more."
            )
    if packages & {"detector"}:
        raise Wrong("that is the library's: this one is to be yours.")
    labels, matched = map(np.asarray, answer(np.zeros((5, 0)), 0.7, 0.3))
    if labels.tolist() != [0] * 5 or matched.shape != (5,):
        raise Wrong("in a picture without objects all anchors are background.")
    rng = np.random.default_rng(0)
    for _ in range(20):
        table = rng.choice([0, 0.1, 0.29, 0.5, 0.6, 0.9], (30, 4)) * rng.uniform(0.9, 1, (30, 4))
        labels, matched = map(np.asarray, answer(table.copy(), 0.6, 0.2))
        right, objects = _match(table, 0.6, 0.2)
        if (labels != right).any() or (matched != objects)[right == 1].any():
            raise Wrong("right for 0.7 and 0.3, but not for 0.6 and 0.2: does it use both?")


match = Exercise(
    "match",
    check=_check_match,
    hints=(
        "Begin with -1 everywhere, then let each rule overwrite those before it: background, "
        "at least `positive`, best of an object.",
        "best = (iou == iou.max(axis=0)) & (iou > 0) is a table, too: True where an anchor is an "
        "object's best.",
        "For a row with a True in `best`, the object is the largest among those; for the others "
        "the argmax of the row.",
    ),
    reference=_match,
    keeps="match",
)
