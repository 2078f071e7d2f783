"""Anchors: shapes, order, counts, and shapes fitted to a data set."""

import math

import numpy as np
import pytest

from detector.parts import anchor_fitting
from detector.parts.anchors import AnchorGenerator, anchor_shapes


def test_shapes_of_the_thesis():
    generator = AnchorGenerator()
    assert generator.num_anchors_per_cell == 15
    width, height = generator.shapes.T
    sizes = [32, 64, 128, 256, 512]
    np.testing.assert_allclose(np.sqrt(width * height), sizes * 3)  # ratio by ratio
    np.testing.assert_allclose(height / width, [0.5] * 5 + [1] * 5 + [2] * 5)


@pytest.mark.parametrize(
    ("image", "count"), [((800, 1200), 56_250), ((320, 320), 6_000), ((224, 224), 2_940)]
)
def test_counts(image, count):
    grid = AnchorGenerator().grid((image[0] // 16, image[1] // 16))
    assert grid.shape == (count, 4) and grid.dtype == np.float32


def test_grid_equals_the_loop():
    generator = AnchorGenerator(sizes=(10, 20), ratios=(0.5, 2), stride=8)
    expected = []
    for y in range(3):
        for x in range(4):
            for ratio in (0.5, 2):
                for size in (10, 20):
                    w, h = size / math.sqrt(ratio), size * math.sqrt(ratio)
                    cx, cy = (x + 0.5) * 8, (y + 0.5) * 8
                    expected.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
    np.testing.assert_allclose(generator.grid((3, 4)), expected, rtol=1e-6)


def test_given_shapes_are_taken_as_they_are():
    generator = AnchorGenerator(shapes=[(10, 20), (30, 5)], stride=4)
    np.testing.assert_array_equal(generator.grid((1, 1)), [[-3, -8, 7, 12], [-13, -0.5, 17, 4.5]])


@pytest.mark.parametrize("shapes", [[], [(1, 2, 3)], [(0, 4)], [(math.nan, 4)], 5.0])
def test_impossible_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match="anchor"):
        AnchorGenerator(shapes=shapes)


# Fitting


def clusters(seed=0):
    """Three kinds of objects, one of them rare: 300 of 40 x 40, 200 of 20 x 80, 5 of 200 x 150."""
    rng = np.random.Generator(np.random.Philox(seed))
    kinds = np.repeat([(40, 40), (20, 80), (200, 150)], (300, 200, 5), axis=0)
    return kinds * rng.uniform(0.9, 1.1, (505, 2))


def test_fit_finds_the_kinds_of_objects():
    fitted = anchor_fitting.fit_anchors(clusters(), 3)
    np.testing.assert_allclose(fitted, [[40, 40], [20, 80], [200, 150]], rtol=0.1)


def test_fit_does_not_depend_on_the_order_and_is_repeatable():
    boxes = clusters()
    first = anchor_fitting.fit_anchors(boxes, 5)
    np.testing.assert_array_equal(first, anchor_fitting.fit_anchors(boxes, 5))
    shuffled = np.random.Generator(np.random.Philox(1)).permutation(boxes)
    np.testing.assert_allclose(first, anchor_fitting.fit_anchors(shuffled, 5))
    assert (np.diff(first.prod(axis=1)) >= 0).all()


def test_fitted_anchors_fit_better_than_the_thesis_s():
    boxes = clusters()
    fitted = anchor_fitting.best_shape_iou(boxes, anchor_fitting.fit_anchors(boxes, 15))
    spread = anchor_fitting.best_shape_iou(boxes, anchor_fitting.spread_anchors(boxes))
    thesis = anchor_fitting.best_shape_iou(boxes, AnchorGenerator().shapes)
    assert fitted.mean() > 0.9
    assert fitted.mean() > spread.mean() and fitted.mean() > thesis.mean()
    assert fitted.min() > 0.7  # the rare kind as well


def test_more_anchors_than_shapes():
    fitted = anchor_fitting.fit_anchors([[10, 20], [10, 20], [5, 5]], 15)
    np.testing.assert_allclose(fitted, [[5, 5], [10, 20]])


def test_boxes_without_area_are_left_out():
    np.testing.assert_allclose(anchor_fitting.fit_anchors([[0, 9], [8, 4]], 2), [[8, 4]])
    for fit in (lambda b: anchor_fitting.fit_anchors(b, 3), anchor_fitting.spread_anchors):
        with pytest.raises(ValueError, match="no box"):
            fit(np.zeros((3, 2)))


def test_spread_covers_the_range():
    boxes = np.stack([np.linspace(20, 100, 101), np.linspace(20, 100, 101)], axis=1)
    spread = anchor_fitting.spread_anchors(boxes, num_sizes=3, num_ratios=1)
    np.testing.assert_allclose(spread[[0, 2], 0], [20.8, 99.2])
    np.testing.assert_allclose(spread[1, 0], math.sqrt(20.8 * 99.2))
    assert anchor_fitting.spread_anchors(boxes).shape == (15, 2)


def test_shape_iou_by_hand():
    iou = anchor_fitting.shape_iou([[10, 10]], [[10, 10], [5, 10], [20, 5]])
    np.testing.assert_allclose(iou, [[1, 0.5, 50 / 150]])


def test_anchor_shapes_order():
    np.testing.assert_allclose(anchor_shapes([4], [1, 4]), [[4, 4], [2, 8]])
