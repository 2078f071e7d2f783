"""Polygons around masks: what COCO's own program fills in them is the mask."""

import numpy as np
import pytest

from detector.polygons import polygons, signed_area, simplified


def filled(outlines, size):
    """The union of the polygons, by COCO's own program."""
    coco = pytest.importorskip("pycocotools.mask")
    runs = coco.frPyObjects([points.ravel().tolist() for points in outlines], *size)
    return coco.decode(coco.merge(runs)).astype(bool)


def without_holes(mask):
    """What cannot be left over outside pixels, to the side or over a corner, is inside."""
    outside = np.pad(np.zeros_like(mask), 1, constant_values=True)
    free = np.pad(~mask, 1, constant_values=True)
    while True:
        grown = np.pad(outside, 1)
        height, width = outside.shape
        grown = free & np.any(
            [grown[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0
        )
        if (grown == outside).all():
            return ~outside[1:-1, 1:-1]
        outside = grown


@pytest.mark.parametrize("seed", range(60))
def test_they_are_the_mask_without_its_holes(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(2, 24, 2)) < rng.uniform(0.1, 0.95)
    mask[0, 0] = True
    outlines = polygons(mask, tolerance=0)
    np.testing.assert_array_equal(filled(outlines, mask.shape), without_holes(mask))
    areas = [signed_area(points) for points in outlines]
    assert areas == sorted(areas, reverse=True) and areas[-1] >= 1


def test_many_pieces_take_a_moment():
    mask = np.zeros((300, 300), bool)
    mask[::2, ::2] = True
    outlines = polygons(mask)
    np.testing.assert_array_equal(filled(outlines, mask.shape), mask)  # thin as they are
    assert len(outlines) == 22500


def test_corners_only():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    (rectangle,) = polygons(mask)
    assert rectangle.tolist() == [[2, 1], [7, 1], [7, 4], [2, 4]]
    mask[2, 4] = False  # a hole
    assert len(polygons(mask)) == 1
    mask[4, 7] = True  # at a corner: a piece of its own
    assert [len(points) for points in polygons(mask, tolerance=0)] == [4, 4]
    assert polygons(np.zeros((4, 4), bool)) == [] and polygons(np.zeros((0, 4), bool)) == []


def test_a_few_points_are_enough_for_a_disc():
    y, x = np.mgrid[:300, :400]
    disc = ((x - 200) / 150) ** 2 + ((y - 150) / 120) ** 2 < 1
    ((points),) = polygons(disc)
    assert len(points) <= 100 < len(polygons(disc, tolerance=0)[0])
    again = filled([points], disc.shape)
    assert (again & disc).sum() / (again | disc).sum() > 0.99


def test_no_point_that_is_left_out_is_further_than_the_tolerance():
    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 80))
    points = rng.uniform(20, 30, (80, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for tolerance in (0.5, 2.0, 5.0):
        few = simplified(points, tolerance)
        places = [int(np.flatnonzero((points == kept).all(axis=1))[0]) for kept in few]
        assert places == sorted(places) and len(few) < len(points)
        for first, last in zip(places, [*places[1:], places[0] + len(points)], strict=True):
            begin, end = points[first], points[last % len(points)]
            for place in range(first + 1, last):
                across = points[place % len(points)] - begin
                line = (end - begin) / np.hypot(*(end - begin))
                assert abs(line[0] * across[1] - line[1] * across[0]) <= tolerance
