"""Proposals and detections: decode, clip, order, suppress, limit; against plain Python."""

import numpy as np
import pytest

from detector.boxes import best_scores, clip, decode
from detector.parts.anchors import AnchorGenerator
from detector.parts.proposals import ProposalSelector
from detector.parts.selection import DetectionSelector

IMAGE = (60, 90)
STDS = (0.1, 0.1, 0.2, 0.2)


def slow_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def slow_nms(order, boxes, threshold):
    kept = []
    for k in order:
        if all(slow_iou(boxes[j], boxes[k]) <= threshold for j in kept):
            kept.append(k)
    return kept


def outputs(seed):
    rng = np.random.Generator(np.random.Philox(seed))
    anchors = AnchorGenerator(sizes=(16, 32), ratios=(0.5, 2)).grid((4, 6))
    objectness = rng.integers(-20, 20, len(anchors)).astype(np.float32) / 4  # many ties
    return objectness, rng.normal(0, 0.5, anchors.shape).astype(np.float32), anchors


@pytest.mark.parametrize("pre_nms", [10, 96, 6000])
@pytest.mark.parametrize("post_nms", [1, 5, 1000])
@pytest.mark.parametrize("min_size", [0, 12])
def test_proposals_equal_the_loop(pre_nms, post_nms, min_size):
    objectness, deltas, anchors = outputs(0)
    order = sorted(range(len(anchors)), key=lambda m: (-objectness[m], m))[:pre_nms]
    decoded = clip(decode(deltas, anchors), IMAGE).tolist()
    order = [
        m
        for m in order
        if decoded[m][2] - decoded[m][0] > min_size and decoded[m][3] - decoded[m][1] > min_size
    ]
    expected = slow_nms(order, decoded, 0.7)[:post_nms]
    boxes, scores = ProposalSelector(pre_nms, post_nms, 0.7, min_size)(
        objectness, deltas, anchors, IMAGE
    )
    np.testing.assert_array_equal(boxes, np.float32([decoded[m] for m in expected]))
    np.testing.assert_array_equal(scores, objectness[expected])


def test_proposals_stay_inside_the_image_and_have_an_area():
    objectness, deltas, anchors = outputs(1)
    boxes, _ = ProposalSelector(iou_threshold=1.0)(objectness, deltas * 4, anchors, (20, 30))
    assert len(boxes) and (boxes >= 0).all() and (boxes <= (30, 20, 30, 20)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_no_anchor_in_the_image():
    anchors = np.float32([[50, 50, 60, 60]])
    boxes, scores = ProposalSelector()(np.ones(1), np.zeros((1, 4)), anchors, (20, 20))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


@pytest.mark.parametrize("count", [0, 1, 3, 8, 30, 40])
def test_best_scores_are_the_first_of_all_sorted(count):
    rng = np.random.default_rng(count)
    for dtype in (np.float32, np.float64):
        for scores in (rng.standard_normal(30), rng.integers(0, 4, 30), np.full(30, 2.0)):
            scores = scores.astype(dtype)
            expected = sorted(range(30), key=lambda i: -scores[i])[:count]
            assert best_scores(scores, count).tolist() == expected
    with_nan = np.float32([np.nan, 1, np.nan, 3, 2])
    assert best_scores(with_nan, count).tolist() == [3, 4, 1, 0, 2][:count]


# Detections


def head_outputs(seed, class_specific, num_proposals=30, num_classes=3):
    rng = np.random.Generator(np.random.Philox(seed))
    corners = rng.uniform(0, 50, (num_proposals, 2))
    proposals = np.concatenate([corners, corners + rng.uniform(5, 40, corners.shape)], axis=1)
    probabilities = rng.dirichlet(np.ones(num_classes + 1), num_proposals)
    shape = (num_proposals, num_classes + 1, 4) if class_specific else (num_proposals, 4)
    return probabilities, rng.normal(0, 1, shape), proposals


@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize(("floor", "most"), [(0.0, 100), (0.3, 100), (0.0, 7), (0.0, 1), (0.0, 2)])
def test_detections_equal_the_loop(class_specific, floor, most):
    probabilities, deltas, proposals = head_outputs(0, class_specific)
    select = DetectionSelector(floor, 0.5, most)
    found = []
    for label in (1, 2, 3):
        chosen = deltas[:, label] if class_specific else deltas
        boxes = clip(decode(chosen, proposals, (0.1, 0.1, 0.2, 0.2)), IMAGE).tolist()
        score = probabilities[:, label]
        order = sorted((k for k in range(30) if score[k] > floor), key=lambda k: -score[k])
        found += [(score[k], label, boxes[k]) for k in slow_nms(order, boxes, 0.5)]
    found = sorted(found, key=lambda detection: -detection[0])[:most]
    result = select(probabilities, deltas, proposals, IMAGE, STDS)
    np.testing.assert_array_equal(result["scores"], [score for score, _, _ in found])
    assert result["labels"].tolist() == [label for _, label, _ in found]
    np.testing.assert_allclose(result["boxes"], [box for _, _, box in found])


def test_background_is_never_a_detection():
    deltas, proposals = np.zeros((1, 4), np.float32), np.float32([[0, 0, 9, 9]])
    result = DetectionSelector()(np.float32([[1, 0, 0]]), deltas, proposals, IMAGE, STDS)
    assert result["boxes"].shape == (0, 4)
    assert result["scores"].shape == (0,) and result["labels"].dtype == np.int64


def test_the_same_place_can_hold_two_classes():
    probabilities = np.float32([[0.1, 0.5, 0.4], [0.4, 0.3, 0.3]])
    proposals = np.float32([[0, 0, 20, 20], [0, 0, 20, 19]])
    deltas = np.zeros((2, 4), np.float32)
    result = DetectionSelector()(probabilities, deltas, proposals, IMAGE, STDS)
    assert result["labels"].tolist() == [1, 2]
    np.testing.assert_allclose(result["scores"], [0.5, 0.4])


def test_no_proposals():
    empty = np.zeros((0, 4), np.float32)
    result = DetectionSelector()(np.zeros((0, 3), np.float32), empty, empty, IMAGE, STDS)
    assert result["boxes"].shape == (0, 4) and result["labels"].shape == (0,)
