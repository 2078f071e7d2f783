"""Non-maximum suppression against an oracle of plain loops, and by hand."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nn
from nn.kernels.nms import nms


def oracle(boxes, scores, iou_threshold):
    """Greedy, all pairs, in float32."""
    order = sorted(range(len(boxes)), key=lambda index: (-scores[index], index))
    kept = []
    for index in order:
        if all(not iou(boxes[index], boxes[other]) > iou_threshold for other in kept):
            kept.append(index)
    return kept


def iou(a, b):
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    width = max(min(a[2], b[2]) - max(a[0], b[0]), np.float32(0))
    height = max(min(a[3], b[3]) - max(a[1], b[1]), np.float32(0))
    with np.errstate(invalid="ignore"):
        return float(width * height / (area_a + area_b - width * height))


# Boxes on a coarse grid and few different scores: many equal boxes, ties and exact IoUs.
GRID = st.integers(0, 8)
PROBLEMS = st.tuples(
    st.lists(st.tuples(GRID, GRID, GRID, GRID, st.sampled_from([0.1, 0.5, 0.9])), max_size=30),
    st.sampled_from([0.0, 0.25, 0.3, 1 / 3, 0.5, 0.7, 1.0]),
)


@settings(deadline=None, max_examples=200)
@given(PROBLEMS)
def test_like_the_oracle(problem):
    rows, threshold = problem
    x, y, width, height, scores = np.array(rows, np.float32).reshape(-1, 5).T
    boxes = np.stack([x, y, x + width, y + height], axis=1)
    kept = nms(boxes, scores, threshold)
    assert kept.dtype == np.int64
    assert kept.tolist() == oracle(boxes, scores, threshold)
    with nn.kernels.twins():
        assert nms(boxes, scores, threshold).tolist() == kept.tolist()


def random_boxes(count, spread, seed=0):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, spread, (count, 2))
    boxes = np.concatenate([corner, corner + np.exp(rng.uniform(1, 4, (count, 2)))], axis=1)
    return boxes.astype(np.float32), rng.random(count).astype(np.float32)


@pytest.mark.parametrize("spread, threshold", [(60, 0.3), (60, 0.7), (500, 0.5)])
def test_more_boxes_than_fit_one_block(spread, threshold):
    boxes, scores = random_boxes(400, spread)
    expected = oracle(boxes, scores, threshold)
    assert nms(boxes, scores, threshold).tolist() == expected
    with nn.kernels.twins():
        assert nms(boxes, scores, threshold).tolist() == expected


def test_the_limit_takes_the_first():
    boxes, scores = random_boxes(300, 100)
    everything = nms(boxes, scores, 0.5).tolist()
    for limit in (0, 1, 63, 64, 65, len(everything), len(everything) + 1, 10_000):
        assert nms(boxes, scores, 0.5, limit).tolist() == everything[:limit]
        with nn.kernels.twins():
            assert nms(boxes, scores, 0.5, limit).tolist() == everything[:limit]


def test_an_iou_that_equals_the_threshold_stays():
    boxes = np.array([[0, 0, 2, 1], [0, 0, 1, 1]], np.float32)
    assert nms(boxes, np.array([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert nms(boxes, np.array([0.9, 0.8]), 0.4999).tolist() == [0]


def test_the_threshold_is_not_rounded_up():
    # 3 / 10 as float32 is 0.300000012, which is greater than 0.3.
    boxes = np.array([[0, 0, 10, 1], [0, 0, 3, 1]], np.float32)
    assert nms(boxes, np.array([0.9, 0.8]), 0.3).tolist() == [0]


def test_equal_scores_keep_the_lower_index():
    boxes = np.tile(np.array([[0, 0, 4, 4]], np.float32), (5, 1))
    assert nms(boxes, np.full(5, 0.5), 0.5).tolist() == [0]


@pytest.mark.parametrize("use_twins", [False, True])
def test_nan_neither_hangs_nor_suppresses(use_twins):
    def check():
        boxes = np.array([[0, 0, 4, 4], [np.nan, 0, 4, 4], [0, 0, 4, 4]], np.float32)
        assert nms(boxes, np.array([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 1]
        assert nms(boxes[[0, 2]], np.array([np.nan, 0.1]), 0.5).tolist() == [1]
        assert nms(boxes * 0, np.ones(3), 0.5).tolist() == [0, 1, 2]

    if use_twins:
        with nn.kernels.twins():
            check()
    else:
        check()


def test_no_boxes():
    assert nms(np.empty((0, 4), np.float32), np.empty(0), 0.5).shape == (0,)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"got \(3, 5\) and \(3,\)"):
        nms(np.zeros((3, 5)), np.zeros(3), 0.5)
    with pytest.raises(ValueError, match=r"got \(3, 4\) and \(2,\)"):
        nms(np.zeros((3, 4)), np.zeros(2), 0.5)


def test_twelve_thousand_boxes_are_quick():
    boxes, scores = random_boxes(12_000, 5_000)
    nms(boxes[:10], scores[:10], 0.7)
    start = time.perf_counter()
    kept = nms(boxes, scores, 0.7)
    assert len(kept) > 10_000, "the hard case: hardly any box goes"
    assert time.perf_counter() - start < 5
