"""Boxes: overlap, suppression and coding, against loops in plain Python and as properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nn
from detector import boxes as B

coordinate = st.floats(-500, 500, width=32)
side = st.floats(2**-3, 500, width=32)


@st.composite
def box_arrays(draw, least=0, most=6, sides=side):
    rows = draw(
        st.lists(st.tuples(coordinate, coordinate, sides, sides), min_size=least, max_size=most)
    )
    array = np.array(rows, np.float32).reshape(-1, 4)
    array[:, 2:] += array[:, :2]
    return array


def random_boxes(seed, count, dtype=np.float32):
    rng = np.random.Generator(np.random.Philox(seed))
    corners = rng.uniform(0, 100, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(5, 60, (count, 2))], 1).astype(dtype)


def slow_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


def slow_nms(boxes, scores, threshold):
    alive = sorted(range(len(boxes)), key=lambda r: (-scores[r], r))
    kept = []
    while alive:
        best = alive.pop(0)
        kept.append(best)
        alive = [r for r in alive if slow_iou(boxes[best], boxes[r]) <= threshold]
    return kept


# Overlap


def test_iou_by_hand():
    # 10 x 10 and 10 x 10, shifted by half a side: 50 in common of 150.
    iou = B.box_iou([[0, 0, 10, 10], [0, 0, 5, 5]], [[5, 0, 15, 10], [20, 20, 30, 30]])
    np.testing.assert_allclose(iou, [[1 / 3, 0], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_iou_equals_the_loop(dtype):
    a, b = random_boxes(0, 17, dtype), random_boxes(1, 9, dtype)
    expected = [[slow_iou(p.tolist(), q.tolist()) for q in b] for p in a]
    iou = B.box_iou(a, b)
    assert iou.dtype == dtype
    np.testing.assert_allclose(iou, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("counts", [(0, 0), (0, 3), (3, 0), (1, 1), (200, 33)])
def test_iou_kernel_equals_its_twin(counts):
    a, b = random_boxes(2, counts[0]), random_boxes(3, counts[1])
    a[::3, 2] = a[::3, 0]  # without area
    b[::4, 3] = b[::4, 1]
    compiled = B.box_iou(a, b)
    with nn.kernels.twins():
        twin = B.box_iou(a, b)
    assert compiled.shape == counts
    np.testing.assert_array_equal(compiled, twin)


@given(box_arrays(), box_arrays())
@settings(deadline=None, max_examples=50)
def test_iou_is_symmetric_and_between_0_and_1(a, b):
    iou = B.box_iou(a, b)
    assert iou.shape == (len(a), len(b))
    assert (iou >= 0).all() and (iou <= 1).all()
    np.testing.assert_allclose(iou, B.box_iou(b, a).T, atol=1e-6)
    # The corners, not the sides, are what is stored: a box may have lost its area to rounding.
    np.testing.assert_array_equal(np.diag(B.box_iou(a, a)), B.box_area(a) > 0)


@given(box_arrays(least=1), st.sampled_from([(0, 0), (0, 3), (3, 0), (-2, 5)]))
@settings(deadline=None, max_examples=30)
def test_boxes_without_area_overlap_nothing(boxes, sides):
    flat = np.concatenate([boxes[:, :2], boxes[:, :2] + np.float32(sides)], axis=1)
    both = np.concatenate([boxes, flat])
    iou = B.box_iou(both, flat)
    assert not np.isnan(iou).any()
    np.testing.assert_array_equal(iou, 0)
    np.testing.assert_array_equal(B.box_area(flat), 0)


def test_covered_fraction():
    boxes = [[0, 0, 10, 10], [0, 0, 4, 4], [50, 50, 60, 60], [3, 3, 3, 9]]
    regions = [[0, 0, 5, 10], [2, 0, 4, 4]]
    np.testing.assert_allclose(B.covered_fraction(boxes, regions), [0.5, 1, 0, 0])
    np.testing.assert_array_equal(B.covered_fraction(boxes, np.zeros((0, 4))), np.zeros(4))


# Suppression


def test_nms_by_hand():
    boxes = [[0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40], [0, 0, 10, 10]]
    np.testing.assert_array_equal(B.nms(boxes, [0.5, 0.9, 0.1, 0.9], 0.5), [1, 2])
    # An IoU that equals the threshold does not suppress.
    halves = [[0, 0, 10, 10], [0, 0, 10, 5]]
    assert len(B.nms(halves, [1, 0.5], 0.5)) == 2
    assert len(B.nms(halves, [1, 0.5], 0.49)) == 1


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_equals_the_loop(threshold):
    boxes = random_boxes(4, 120)
    scores = np.random.Generator(np.random.Philox(5)).integers(0, 20, 120) / 20  # many ties
    kept = B.nms(boxes, scores, threshold)
    assert kept.dtype == np.int64
    assert kept.tolist() == slow_nms(boxes.tolist(), scores.tolist(), threshold)
    assert B.nms(boxes, scores, threshold, limit=3).tolist() == kept[:3].tolist()


def test_batched_nms_equals_nms_of_each_class():
    boxes = random_boxes(6, 90)
    rng = np.random.Generator(np.random.Philox(7))
    scores, labels = rng.integers(0, 12, 90) / 12, rng.integers(1, 5, 90)
    expected = []
    for label in range(1, 5):
        rows = [r for r in range(90) if labels[r] == label]
        expected += [
            rows[k] for k in slow_nms(boxes[rows].tolist(), [scores[r] for r in rows], 0.4)
        ]
    expected.sort(key=lambda r: (-scores[r], r))
    assert B.batched_nms(boxes, scores, labels, 0.4).tolist() == expected


def test_nothing_to_suppress():
    empty = np.zeros((0, 4), np.float32)
    for kept in (B.nms(empty, [], 0.5), B.batched_nms(empty, [], [], 0.5)):
        assert kept.shape == (0,) and kept.dtype == np.int64


# Coding


def test_encode_by_hand():
    # The box is twice as wide as the anchor and centred half an anchor's width to the right.
    deltas = B.encode([[0, 0, 20, 10]], [[0, 0, 10, 10]])
    np.testing.assert_allclose(deltas, [[0.5, 0, math.log(2), 0]], rtol=1e-6)
    deltas = B.encode([[0, 0, 20, 10]], [[0, 0, 10, 10]], (0.1, 0.1, 0.2, 0.2))
    np.testing.assert_allclose(deltas, [[5, 0, math.log(2) / 0.2, 0]], rtol=1e-6)


@given(box_arrays(least=1, sides=st.floats(8, 400, width=32)), st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_decode_undoes_encode(boxes, seed):
    rng = np.random.Generator(np.random.Philox(seed))
    anchors = boxes + rng.uniform(-3, 3, boxes.shape).astype(np.float32)
    for stds in (B.UNIT_STDS, (0.1, 0.1, 0.2, 0.2)):
        again = B.decode(B.encode(boxes, anchors, stds), anchors, stds)
        assert again.dtype == np.float32
        np.testing.assert_allclose(again, boxes, atol=2e-3)


def test_encode_undoes_decode_in_float64():
    rng = np.random.Generator(np.random.Philox(8))
    deltas, anchors = rng.normal(0, 1, (50, 4)), random_boxes(9, 50, np.float64)
    again = B.encode(B.decode(deltas, anchors), anchors)
    assert again.dtype == np.float64
    np.testing.assert_allclose(again, deltas, atol=1e-10)


def test_decode_bounds_the_size():
    anchors = np.array([[0, 0, 16, 16]], np.float32)
    (box,) = B.decode(np.array([[0, 0, 1e4, 1e4]], np.float32), anchors)
    np.testing.assert_allclose(box[2:] - box[:2], 1000, rtol=1e-5)
    # The bound is on the logarithm itself, whatever the deltas were divided by.
    (box,) = B.decode(np.array([[0, 0, 1e4, 1e4]], np.float32), anchors, (0.1, 0.1, 0.2, 0.2))
    np.testing.assert_allclose(box[2:] - box[:2], 1000, rtol=1e-5)


def test_boxes_without_area_encode_to_finite_numbers():
    flat, box = np.float32([[3, 3, 3, 9]]), np.float32([[0, 0, 10, 10]])
    for deltas in (B.encode(flat, box), B.encode(box, flat), B.encode(flat, flat)):
        assert np.isfinite(deltas).all()
    assert np.isfinite(B.decode(np.ones((1, 4), np.float32), flat)).all()


# The rest


@given(box_arrays(), st.integers(1, 300), st.integers(1, 300))
@settings(deadline=None, max_examples=30)
def test_clip_stays_inside_and_changes_nothing_twice(boxes, height, width):
    clipped = B.clip(boxes, (height, width))
    assert (clipped >= 0).all()
    assert (clipped[:, 0::2] <= width).all() and (clipped[:, 1::2] <= height).all()
    np.testing.assert_array_equal(B.clip(clipped, (height, width)), clipped)
    inside = (boxes >= 0).all(1) & (boxes[:, 2] <= width) & (boxes[:, 3] <= height)
    np.testing.assert_array_equal(clipped[inside], boxes[inside])


def test_clip_takes_height_first():
    np.testing.assert_array_equal(B.clip([[-5, -5, 99, 99]], (10, 20)), [[0, 0, 20, 10]])


def test_remove_small():
    boxes = [[0, 0, 5, 5], [0, 0, 5, 0], [0, 0, 2, 9], [7, 7, 6, 9]]
    assert B.remove_small(boxes, 0).tolist() == [0, 2]
    assert B.remove_small(boxes, 2).tolist() == [0]
    assert B.remove_small(boxes, 5).tolist() == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: B.box_iou(np.zeros((2, 5)), np.zeros((1, 4))),
        lambda: B.nms(np.zeros((2, 4)), np.zeros(3), 0.5),
        lambda: B.encode(np.zeros((2, 4)), np.zeros((3, 4))),
        lambda: B.decode(np.zeros((2, 4)), np.zeros((3, 4))),
    ],
)
def test_wrong_shapes_are_named(call):
    with pytest.raises(ValueError, match=r"\(?2"):
        call()
