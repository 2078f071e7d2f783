"""Matching anchors and proposals with ground truth, against loops in plain Python."""

import numpy as np
import pytest

from detector.boxes import box_iou
from detector.parts.anchors import AnchorGenerator
from detector.parts.matching import IGNORED, NEGATIVE, POSITIVE, AnchorMatcher, best_box

IMAGE = (96, 128)


def scene(seed, count):
    rng = np.random.Generator(np.random.Philox(seed))
    corners = rng.uniform(0, 70, (count, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(8, 50, (count, 2))], 1)
    anchors = AnchorGenerator(sizes=(16, 32, 48), ratios=(0.5, 1, 2)).grid((6, 8))
    return anchors, boxes.astype(np.float32)


def slow_match(anchors, boxes, image_size, inside_only=True, per_box=1, extra=0.3):
    """The four rules, anchor by anchor and box by box."""
    iou = box_iou(anchors, boxes).tolist()
    height, width = image_size
    labels, matched = [], []
    usable = []
    for x1, y1, x2, y2 in anchors.tolist():
        if inside_only:
            usable.append(x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height)
        else:
            usable.append(0 <= x1 + x2 <= 2 * width and 0 <= y1 + y2 <= 2 * height)
    rows = [m for m in range(len(anchors)) if usable[m]]
    wanted_by = {m: [] for m in rows}
    for g in range(len(boxes)):
        ranked = sorted((iou[m][g] for m in rows), reverse=True)
        for m in rows:
            best = iou[m][g] == ranked[0]
            extra_one = (
                per_box > 1
                and iou[m][g] >= ranked[min(per_box, len(rows)) - 1]
                and iou[m][g] >= extra
                and iou[m][g] == max(iou[m])
            )
            if iou[m][g] > 0 and (best or extra_one):
                wanted_by[m].append(g)
    for m in range(len(anchors)):
        if not usable[m]:
            labels.append(IGNORED)
            matched.append(None)
            continue
        most = max(iou[m])
        label = NEGATIVE if most < 0.3 else IGNORED
        if most >= 0.7 or wanted_by[m]:
            label = POSITIVE
        choices = wanted_by[m] or range(len(boxes))
        labels.append(label)
        matched.append(max(choices, key=lambda g: iou[m][g]))
    return labels, matched


@pytest.mark.parametrize("inside_only", [True, False])
@pytest.mark.parametrize("per_box", [1, 4, 500])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_loop(seed, per_box, inside_only):
    anchors, boxes = scene(seed, 6)
    matcher = AnchorMatcher(inside_only=inside_only, anchors_per_box=per_box)
    labels, matched = matcher(anchors, boxes, IMAGE)
    slow_labels, slow_matched = slow_match(anchors, boxes, IMAGE, inside_only, per_box)
    assert labels.dtype == np.int8 and matched.dtype == np.int64
    assert labels.tolist() == slow_labels
    positive = np.flatnonzero(labels == POSITIVE)
    assert len(positive) >= 6
    assert matched[positive].tolist() == [slow_matched[m] for m in positive]


def test_by_hand():
    anchors = np.float32([[0, 0, 10, 10], [0, 0, 10, 8], [4, 0, 14, 10], [40, 40, 50, 50]])
    labels, matched = AnchorMatcher()(anchors, [[0, 0, 10, 10]], (60, 60))
    # IoU 1, 0.8, 60 / 140 = 0.43, 0
    assert labels.tolist() == [POSITIVE, POSITIVE, IGNORED, NEGATIVE]
    assert matched.tolist() == [0, 0, 0, 0]


def test_every_best_anchor_is_positive_ties_included():
    # Two anchors overlap the box by the same IoU of 1/15; none reaches any threshold.
    anchors = np.float32([[0, 0, 8, 8], [8, 0, 16, 8], [30, 30, 38, 38]])
    labels, _ = AnchorMatcher()(anchors, [[7, 0, 9, 8]], (60, 60))
    assert labels.tolist() == [POSITIVE, POSITIVE, NEGATIVE]


def test_a_best_anchor_goes_to_the_box_that_needs_it():
    # The only anchor near the small box overlaps the large one more.
    anchors = np.float32([[0, 0, 20, 20], [0, 0, 19, 19]])
    boxes = [[0, 0, 20, 20], [0, 0, 4, 4]]
    labels, matched = AnchorMatcher()(anchors, boxes, (60, 60))
    assert labels.tolist() == [POSITIVE, POSITIVE]
    assert matched.tolist() == [0, 1]


def test_anchors_over_the_border_are_ignored():
    anchors = np.float32([[-1, 0, 10, 10], [0, 0, 10, 10], [10, 0, 22, 10], [16, 0, 26, 10]])
    box = [[0, 0, 10, 10]]
    inside = AnchorMatcher()(anchors, box, (20, 20)).labels
    assert inside.tolist() == [IGNORED, POSITIVE, IGNORED, IGNORED]
    centred = AnchorMatcher(inside_only=False)(anchors, box, (20, 20)).labels
    # The last one's centre is in the padding.
    assert centred.tolist() == [POSITIVE, POSITIVE, NEGATIVE, IGNORED]


def test_an_image_without_objects_has_only_background():
    anchors, _ = scene(0, 1)
    labels, _ = AnchorMatcher()(anchors, np.zeros((0, 4)), IMAGE)
    assert set(labels) == {NEGATIVE, IGNORED}


def test_a_box_that_no_anchor_touches_has_none():
    anchors = np.float32([[0, 0, 10, 10], [0, 10, 10, 20]])
    boxes = [[40, 40, 50, 50], [5, 5, 5, 5]]
    assert AnchorMatcher()(anchors, boxes, (60, 60)).labels.tolist() == [NEGATIVE, NEGATIVE]


def test_no_anchor_fits_into_the_image():
    anchors = np.float32([[-8, -8, 24, 24]])
    labels, matched = AnchorMatcher(anchors_per_box=5)(anchors, [[0, 0, 9, 9]], (16, 16))
    assert labels.tolist() == [IGNORED] and matched.tolist() == [0]


def test_background_in_a_crowd_is_ignored_but_objects_stay():
    anchors = np.float32([[0, 0, 10, 10], [20, 0, 30, 10], [26, 0, 36, 10], [40, 0, 50, 10]])
    match = AnchorMatcher()(anchors, [[0, 0, 10, 10]], (60, 60), ignore=[[0, 0, 30, 10]])
    # The third is covered by 4 / 10.
    assert match.labels.tolist() == [POSITIVE, IGNORED, NEGATIVE, NEGATIVE]


def test_best_box():
    overlap, matched = best_box(
        np.float32([[0, 0, 10, 10], [0, 0, 10, 6]]), np.float32([[0, 0, 10, 5], [0, 0, 10, 10]])
    )
    np.testing.assert_allclose(overlap, [1, 5 / 6], rtol=1e-6)
    assert matched.tolist() == [1, 0]
    overlap, matched = best_box(np.zeros((3, 4), np.float32), np.zeros((0, 4), np.float32))
    assert overlap.tolist() == [0, 0, 0] and matched.tolist() == [0, 0, 0]
