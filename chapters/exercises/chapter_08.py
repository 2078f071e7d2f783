"""The exercises of chapter 08: boxes mirrored, missed, moved and softly suppressed."""

from __future__ import annotations

import numpy as np

from detector.boxes import MAX_LOG_SCALE, box_iou, decode
from exercises import own_boxes
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt
from exercises.watching import by_hand

iou, encode, nms = own_boxes.iou, own_boxes.encode, own_boxes.nms  # 5, 6 and 7


def _mirror(boxes, width):
    x1, y1, x2, y2 = boxes.T
    return np.stack([width - x2, y1, width - x1, y2], axis=1)


def _check_mirror(answer) -> None:
    boxes, width = np.array([[10.0, 20, 40, 90], [0, 5, 100, 15], [70, 0, 71, 30]]), 100
    before = boxes.copy()
    found, right = answer(boxes, width), _mirror(before, width)
    if (boxes != before).any():
        raise Wrong("it changes the boxes it was given: the caller's picture is not mirrored yet.")
    if np.shape(found) != (3, 4):
        raise Wrong(f"for boxes (3, 4) it returns the shape {np.shape(found)}.")
    if np.allclose(found, right):
        return
    if np.allclose(found, right[:, [2, 1, 0, 3]]):
        raise Wrong(
            "the boxes are inside out, x1 > x2: mirrored, the right edge becomes the left one."
        )
    if np.allclose(found, right - [1, 0, 1, 0]):
        raise Wrong(
            "everything is a pixel too far to the left. Coordinates are continuous: the right edge "
            "of the image is at width, not at width - 1."
        )
    if np.allclose(np.asarray(found)[:, [0, 2]], before[:, [0, 2]]):
        raise Wrong("x has not changed. Left to right means: x is mirrored, y stays.")
    if not np.allclose(np.asarray(found)[:, [1, 3]], before[:, [1, 3]]):
        raise Wrong("left to right, y stays as it is.")
    raise Wrong(f"{before[0].tolist()} should become {right[0].tolist()}, not {found[0]}.")


def _worst_iou(size, stride):
    overlap = max(size - stride / 2, 0) ** 2
    return overlap / (2 * size**2 - overlap)


def _check_worst_iou(answer) -> str:
    for size, stride in ((32, 16), (32, 8), (64, 32), (16, 32), (10, 32)):
        found, right = answer(size, stride), _worst_iou(size, stride)
        if np.isclose(found, right, atol=1e-3):
            continue
        asked = f"size {size} at stride {stride}"
        whole = max(size - stride, 0) ** 2
        one_way = max(size - stride / 2, 0) * size
        overlap = max(size - stride / 2, 0) ** 2
        known = {
            whole / (2 * size**2 - whole): "the nearest centre is at most half a stride away.",
            one_way / (2 * size**2 - one_way): "the object can be off in both directions at once, "
            "across and down.",
            overlap / size**2: "that is the intersection over one area. Over the union of both, "
            "it is less.",
            overlap / (2 * size**2): "the union counts the intersection once, not twice.",
        }
        for value, why in known.items():
            if np.isclose(found, value, atol=1e-3):
                raise Wrong(f"for {asked}: {why}")
        if right == 0:
            raise Wrong(
                f"with {asked} the two may not touch at all: the IoU is 0, not {found:.3f}."
            )
        raise Wrong(
            f"for {asked} it is {right:.3f}, not {found:.3f}. In the worst case the object's "
            "centre lies where four cells meet."
        )
    strides = ", ".join(
        f"{_worst_iou(32, stride):.2f} at stride {stride}" for stride in (8, 16, 32)
    )
    return f"Right. An object of 32 x 32 has at worst {strides}."


def _decode_second_stage(deltas, proposals, stds=(0.1, 0.1, 0.2, 0.2)):
    deltas = deltas * np.asarray(stds)
    centres = (proposals[:, :2] + proposals[:, 2:]) / 2
    sides = proposals[:, 2:] - proposals[:, :2]
    centres = centres + deltas[:, :2] * sides
    sides = sides * np.exp(np.minimum(deltas[:, 2:], np.log(1000 / 16)))
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def _check_decode_second_stage(answer) -> None:
    answer = by_hand(answer)
    stds = np.array([0.1, 0.1, 0.2, 0.2])
    proposals = np.array([[10.0, 20, 50, 100], [0, 0, 30, 10], [5, 5, 25, 65]])
    deltas = np.array([[1.0, -0.5, 0.5, 1], [0, 2, -1, 0.3], [0.2, 0.1, 0, -2]])
    found, right = answer(deltas.copy(), proposals.copy()), decode(deltas, proposals, stds)
    if np.shape(found) != (3, 4):
        raise Wrong(f"for three boxes it returns the shape {np.shape(found)}, not (3, 4).")
    if not np.allclose(found, right):
        centres, sides = (
            (proposals[:, :2] + proposals[:, 2:]) / 2,
            proposals[:, 2:] - proposals[:, :2],
        )
        moved = centres + deltas[:, :2] * stds[:2] * sides
        scaled = sides * np.exp(deltas[:, 2:] * stds[2:])
        known = [
            (decode(deltas / stds, proposals), "encoding divides by the stds, so decoding has to "
             "multiply with them."),
            (decode(deltas, proposals), "the stds are not used."),
            (np.concatenate([moved, scaled], axis=1), "these are centres and sides; the answer is "
             "two corners."),
            (np.concatenate([moved - scaled, moved + scaled], axis=1), "the boxes are twice as "
             "large as they should be: from the centre to a corner it is half a side."),
            (np.concatenate([moved - sides * deltas[:, 2:] * stds[2:] / 2,
                             moved + sides * deltas[:, 2:] * stds[2:] / 2], axis=1),
             "the last two deltas are logarithms: the side is multiplied with their exponential."),
        ]  # fmt: skip
        for value, why in known:
            if np.allclose(found, value):
                raise Wrong(why)
        raise Wrong(
            f"proposal {proposals[0].tolist()} with deltas {deltas[0].tolist()} should give "
            f"{right[0].round(2).tolist()}, not {np.round(found[0], 2).tolist()}."
        )
    wild, box = np.array([[0.0, 0, 30, 30]]), np.array([[0.0, 0, 10, 10]])
    bounded = answer(wild.copy(), box.copy())
    with np.errstate(over="ignore"):
        if np.allclose(bounded, decode(np.minimum(wild, MAX_LOG_SCALE), box, stds)):
            raise Wrong(
                "the bound holds for the logarithm itself: multiply with the stds first, then "
                "take the minimum."
            )
    if not np.allclose(bounded, decode(wild, box, stds)):
        raise Wrong("a logarithm is at most ln(1000 / 16), so that no answer can overflow.")
    other = (0.5, 0.5, 1.0, 1.0)
    if not np.allclose(answer(deltas, proposals, other), decode(deltas, proposals, other)):
        raise Wrong("right for the default stds, but it does not use those it is given.")


def _soft_nms(boxes, scores, iou_threshold):
    scores = np.array(scores, float)
    iou = box_iou(boxes, boxes)
    left = list(range(len(boxes)))
    while left:
        best = max(left, key=lambda i: scores[i])
        left.remove(best)
        for other in left:
            if iou[best, other] > iou_threshold:
                scores[other] *= 1 - iou[best, other]
    return scores


def _sorted_once(boxes, scores, iou_threshold):
    decayed, iou = np.array(scores, float), box_iou(boxes, boxes)
    order = np.argsort(-decayed, kind="stable")
    for place, best in enumerate(order):
        for other in order[place + 1 :]:
            if iou[best, other] > iou_threshold:
                decayed[other] *= 1 - iou[best, other]
    return decayed


def _check_soft_nms(answer) -> None:
    # Chosen so that after the first pick the order of the others changes.
    boxes = np.array([[0, 0, 100, 100], [10, 0, 110, 100], [55, 0, 155, 100], [300, 0, 400, 100.0]])
    scores, threshold = np.array([0.9, 0.8, 0.7, 0.3]), 0.3
    given = scores.copy()
    found, right = answer(boxes.copy(), scores, threshold), _soft_nms(boxes, given, threshold)
    if np.shape(found) != (4,):
        raise Wrong(f"for four boxes it returns the shape {np.shape(found)}, not (4,).")
    if (scores != given).any():
        raise Wrong("it changes the scores it was given: work on a copy.")
    if np.allclose(found, right):
        return
    iou = box_iou(boxes, boxes)
    if np.allclose(found, given):
        raise Wrong("no score has changed.")
    if np.allclose(found, _sorted_once(boxes, given, threshold)):
        raise Wrong(
            "the boxes are picked in the order of their first scores. After each pick, look for "
            "the best of those left anew: a score that fell may have been overtaken."
        )
    if np.allclose(found, _soft_nms(boxes, given, -1.0)):
        raise Wrong("boxes that overlap no more than the threshold keep their scores.")
    if np.isclose(found[0], 0):
        raise Wrong("the picked box has IoU 1 with itself: leave it out of those it acts on.")
    if np.allclose(np.sort(found), np.sort(right)):
        raise Wrong("the scores are right but in another order: return them as the boxes stand.")
    if np.isclose(found[1], given[1] * iou[0, 1]):
        raise Wrong("the factor is 1 - IoU: the more two boxes overlap, the less remains.")
    if np.isclose(found[1], 0):
        raise Wrong("that is hard suppression: here no score becomes 0, it shrinks by 1 - IoU.")
    if not np.isclose(found[0], given[0]):
        raise Wrong(
            "the best box has lost some of its score. A box that has been picked is done: later "
            "picks act only on those still left."
        )
    raise Wrong(f"the scores end as {right.round(3).tolist()}, not {np.round(found, 3).tolist()}.")


mirror = Exercise(
    "mirror",
    check=_check_mirror,
    hints=(
        "A point at x goes to width - x. Which of the two edges is the left one afterwards?",
        "The new x1 is width - x2 and the new x2 is width - x1; y1 and y2 stay.",
    ),
    reference=_mirror,
)

worst_iou = Exercise(
    "worst_iou",
    check=_check_worst_iou,
    hints=(
        "The worst place for the object's centre is the corner where four cells meet. How far is "
        "that from the centre of a cell, across and down?",
        "Two squares of side s, apart by d in both directions, share (s - d)^2, if d < s.",
    ),
    reference=_worst_iou,
)

decode_second_stage = Exercise(
    "decode_second_stage",
    check=_check_decode_second_stage,
    hints=(
        "Encoding ended with a division by the stds, so decoding starts with the opposite.",
        "deltas = deltas * np.asarray(stds), and from there on the chapter's decode.",
    ),
    reference=_decode_second_stage,
    keeps="decode",
)

soft_nms = Exercise(
    "soft_nms",
    check=_check_soft_nms,
    hints=(
        "Keep a list of the boxes left. In each turn find the one of them with the highest score "
        "as it is now.",
        "Remove it from the list, then multiply the scores of those left with an IoU above the "
        "threshold by 1 - IoU. Nothing ever acts on a box that has been picked.",
    ),
    reference=_soft_nms,
)


# Bug hunt

_row_of_three = np.array([[1.0, 0.6, 0.1], [0.6, 1.0, 0.6], [0.1, 0.6, 1.0]])
hunt = Hunt(
    '''
def suppressed(overlap, scores, threshold):
    """overlap (M, M), the IoU of each pair; scores (M,) -> the boxes that stay, best first."""
    kept, dropped = [], set()
    for box in np.argsort(-scores, kind="stable").tolist():
        if box not in dropped:
            kept.append(box)
        dropped.update(np.flatnonzero(overlap[box] > threshold).tolist())
    return kept
''',
    mend=(
        "if box not in dropped:\n            kept.append(box)",
        "if box in dropped:\n            continue\n        kept.append(box)",
    ),
    tests={
        "two apart": (np.eye(2), np.array([0.4, 0.9]), 0.5),
        "two on one object": (np.array([[1.0, 0.8], [0.8, 1.0]]), np.array([0.4, 0.9]), 0.5),
        "an overlap of exactly the threshold": (
            np.array([[1.0, 0.5], [0.5, 1.0]]),
            np.array([0.4, 0.9]),
            0.5,
        ),
        "a row of three, each on the next": (_row_of_three, np.array([0.9, 0.8, 0.7]), 0.5),
    },
    hints=(
        "The first drops the second. May the second still drop the third?",
        "A box that is dropped must drop nothing: only boxes that are kept do.",
    ),
)
