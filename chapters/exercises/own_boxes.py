"""The boxes of a detector of your own: overlap, the way from an anchor to a box, suppression."""

from __future__ import annotations

import numpy as np

from detector import boxes as library
from exercises.exercise import Exercise, Wrong
from exercises.watching import watch


def _box_iou(a, b):
    corner1 = np.maximum(a[:, None, :2], b[None, :, :2])
    corner2 = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.maximum(corner2 - corner1, 0).prod(axis=2)
    area_a, area_b = (np.maximum(each[:, 2:] - each[:, :2], 0).prod(axis=1) for each in (a, b))
    union = area_a[:, None] + area_b[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def _check_box_iou(answer) -> None:
    a = np.array([[0.0, 0, 10, 10], [2, 4, 8, 10], [20, 20, 24, 30]])
    b = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [12, 12, 16, 16], [21, 22, 30, 26]])
    found, _, packages = watch(answer, a.copy(), b.copy())
    right = library.box_iou(a, b)
    if np.shape(found) != (3, 4):
        raise Wrong(f"for 3 and 4 boxes it returns the shape {np.shape(found)}, not (3, 4).")
    found = np.asarray(found)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.maximum(sides, 0).prod(axis=2)
    area = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (a, b)]
    total = area[0][:, None] + area[1][None]
    if not np.allclose(found, right):
        signed = sides.prod(axis=2)
        known = [
            (shared, "that is the intersection alone, in square pixels."),
            (shared / total, "the union counts the intersection once: take it away from the sum."),
            (shared / area[0][:, None], "divided by the first box's area; wanted is the union."),
            (shared / area[1][None], "divided by the second box's area; wanted is the union."),
            (signed / (total - signed), "boxes that lie apart in both directions have two negative "
             "sides, and their product is positive: a side is at least 0."),
            ((np.maximum(sides + 1, 0)).prod(axis=2), "coordinates are continuous: no + 1."),
        ]  # fmt: skip
        for value, why in known:
            if np.allclose(found, value):
                raise Wrong(why)
        i, j = np.argwhere(~np.isclose(found, right))[0]
        raise Wrong(
            f"{a[i].tolist()} and {b[j].tolist()} have IoU {right[i, j]:.3f}, not "
            f"{found[i, j]:.3f}."
        )
    if packages & {"detector", "nn"}:
        raise Wrong("that is the library's: this one is to be yours.")
    with np.errstate(all="ignore"):
        flat = np.asarray(answer(np.array([[3.0, 3, 3, 9]]), np.array([[3.0, 3, 3, 9], *b[:1]])))
    if not np.isfinite(flat).all():
        raise Wrong("two boxes without area have a union of 0: their IoU is 0, not 0 / 0.")
    if flat.any():
        raise Wrong("a box without area overlaps nothing, not even itself.")
    if np.shape(answer(a, np.zeros((0, 4)))) != (3, 0):
        raise Wrong("with no boxes in b the answer has the shape (3, 0): a picture may be empty.")


iou = Exercise(
    "iou",
    check=_check_box_iou,
    hints=(
        "a[:, None] has the shape (R, 1, 4), b[None] the shape (1, G, 4): NumPy pairs them all.",
        "The shared part begins at the larger of the two x1 and ends at the smaller of the two x2. "
        "A side that comes out negative is 0.",
        "union = area of a + area of b - intersection. np.divide(..., out=zeros, where=union > 0) "
        "leaves 0 where the union is 0.",
    ),
    reference=_box_iou,
    keeps="iou:box_iou",
)


def _encode(boxes, anchors, stds=(1, 1, 1, 1)):
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)
    anchor_sides = np.maximum(anchors[:, 2:] - anchors[:, :2], 1e-3)
    shift = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / 2 / anchor_sides
    return np.concatenate([shift, np.log(sides / anchor_sides)], axis=1) / np.asarray(stds)


def _check_encode(answer) -> None:
    stds = (0.1, 0.1, 0.2, 0.2)
    boxes = np.array([[12.0, 18, 60, 90], [0, 0, 30, 10], [4, 8, 20, 60]])
    anchors = np.array([[10.0, 20, 50, 100], [5, 0, 25, 20], [0, 0, 32, 64]])
    plain = np.asarray(answer(boxes.copy(), anchors.copy(), (1, 1, 1, 1)))
    right = library.encode(boxes, anchors)
    if plain.shape != (3, 4):
        raise Wrong(f"for three boxes it returns the shape {plain.shape}, not (3, 4).")
    if not np.allclose(plain, right):
        box_sides = boxes[:, 2:] - boxes[:, :2]
        anchor_sides = anchors[:, 2:] - anchors[:, :2]
        known = [
            (library.encode(anchors, boxes), "the two are exchanged: the way begins at the anchor, "
             "and is measured in its sides."),
            (np.hstack([right[:, :2] * anchor_sides, right[:, 2:]]), "the shift is measured in "
             "sides of the anchor: divide by them."),
            (np.hstack([right[:, :2] * anchor_sides / box_sides, right[:, 2:]]),
             "divide the shift by the anchor's sides: the box's are what is to be found."),
            (np.hstack([right[:, :2], np.exp(right[:, 2:])]), "the logarithm of the quotient of "
             "the sides is missing."),
            (np.hstack([(boxes - anchors)[:, :2] / anchor_sides, right[:, 2:]]),
             "the shift is that of the centres, not of the upper left corners."),
        ]  # fmt: skip
        for value, why in known:
            if np.allclose(plain, value):
                raise Wrong(why)
        raise Wrong(
            f"from {anchors[0].tolist()} to {boxes[0].tolist()} it is {right[0].round(3).tolist()},"
            f" not {plain[0].round(3).tolist()}."
        )
    found, scaled = np.asarray(answer(boxes, anchors, stds)), library.encode(boxes, anchors, stds)
    if not np.allclose(found, scaled):
        if np.allclose(found, right * stds):
            raise Wrong("encoding divides by the stds; it is decoding that multiplies.")
        raise Wrong("right without stds, but it does not divide by those it is given.")
    with np.errstate(all="ignore"):
        flat = np.asarray(answer(np.array([[3.0, 3, 3, 9]]), anchors[:1], (1, 1, 1, 1)))
    if not np.isfinite(flat).all():
        raise Wrong("a box without width has the logarithm of 0: let a side be at least 0.001.")


encode = Exercise(
    "encode",
    check=_check_encode,
    hints=(
        "Solve the four lines of decode for the deltas.",
        "dx = (centre of the box - centre of the anchor) / width of the anchor; "
        "dw = log(width of the box / width of the anchor).",
    ),
    reference=_encode,
    keeps="encode",
)


def _nms(boxes, scores, iou_threshold):
    left, kept = np.argsort(-scores, kind="stable"), []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[_box_iou(boxes[best][None], boxes[left])[0] <= iou_threshold]
    return np.array(kept, int)


def _chained(boxes, scores, iou_threshold):
    """The mistake of comparing with boxes that were dropped, too."""
    order = np.argsort(-scores, kind="stable")
    iou = library.box_iou(boxes[order], boxes[order])
    return [b for i, b in enumerate(order) if not (iou[i, :i] > iou_threshold).any()]


def _check_nms(answer) -> None:
    # A row of boxes, each overlapping the next: the third is dropped only by the second.
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10], [40, 0, 50, 10.0]])
    scores = np.array([0.9, 0.8, 0.7, 0.95])
    found, _, packages = watch(answer, boxes.copy(), scores.copy(), 0.4)
    found = np.asarray(found).tolist()
    if found != [3, 0, 2]:
        known = {
            str(np.asarray(_chained(boxes, scores, 0.4)).tolist()): "box 2 stays: it overlaps "
            "only box 1, and that one is gone. A dropped box drops nothing.",
            "[0, 2, 3]": "the best score comes first: the order of the answer is 3, 0, 2.",
            "[3, 0, 1, 2]": "box 1 overlaps box 0 by 0.43, which is more than 0.4.",
            "[True, False, True, True]": "return the numbers of the boxes, not a mask.",
            "[1]": "those are the ones to drop.",
            "[2, 0, 3]": "the worst comes first here: argsort is ascending, so negate the scores.",
        }
        raise Wrong(known.get(str(found), f"of the row of four stay [3, 0, 2], not {found}."))
    if packages & {"detector", "nn"}:
        raise Wrong("it calls the library's: this one is to be yours, with an overlap of yours.")
    if len(np.asarray(answer(np.zeros((0, 4)), np.zeros(0), 0.5))):
        raise Wrong("of no boxes none stays: the answer is empty.")
    twins = np.array([[0.0, 0, 10, 10], [0, 5, 10, 15], [0, 0, 10, 10], [0, 0, 10, 10]])
    found = np.asarray(answer(twins, np.array([0.5, 0.5, 0.5, 0.5]), 1 / 3)).tolist()
    if found == [0] or found[:1] != [0]:
        raise Wrong(
            "an IoU of exactly the threshold does not suppress." if found == [0]
            else "of equal scores the lower index comes first: sort in a stable way."
        )  # fmt: skip
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (200, 2))
    many = np.concatenate([corner, corner + rng.uniform(5, 30, (200, 2))], axis=1)
    scores = rng.random(200)
    for threshold in (0.2, 0.5, 0.7):
        right = library.nms(many, scores, threshold).tolist()
        found = np.asarray(answer(many.copy(), scores.copy(), threshold)).tolist()
        if found != right:
            raise Wrong(f"of 200 boxes {len(right)} stay at {threshold}; you keep {len(found)}.")


nms = Exercise(
    "nms",
    check=_check_nms,
    hints=(
        "Sort once, best first. Then repeat: the first of those left stays, and takes out of those "
        "left all that overlap it too much.",
        "left = np.argsort(-scores, kind='stable'); while len(left): ...",
        "left[1:][iou <= iou_threshold], where iou is box_iou of the first with the others.",
    ),
    reference=_nms,
    keeps="nms",
)
