"""Selective search: by hand, by its definition, and as scikit-image and OpenCV do it."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nn_checks import random
from small_data_set import picture, real_data

import nn
from detector.boxes import box_area, box_iou
from detector.datasets import open_dataset
from detector.parts.selective_search import selective_search
from detector.parts.selective_search.colours import hsv, lab
from detector.parts.selective_search.grouping import (
    COLOUR,
    FILL,
    SIZE,
    TEXTURE,
    group,
    regions_of,
    slopes,
)
from detector.parts.selective_search.segmentation import PixelGraph, neighbours, smooth
from nn.kernels.graph_segmentation import graph_segmentation

# Of four nodes in a row: the edges, by rising weight.
ROW = np.array([[0, 1], [2, 3], [1, 2]])


def cut(edges, weights, scale, min_size, nodes):
    labels = np.empty(nodes, np.int64)
    graph_segmentation(np.asarray(edges), np.asarray(weights), scale, min_size, labels)
    return labels.tolist()


@pytest.mark.parametrize(
    "scale, min_size, expected",
    [
        (0.5, 1, [0, 1, 2, 3]),  # 0.5 / 1 is less than 1
        (1.0, 1, [0, 0, 2, 2]),  # then |piece| is 2: 1 + 1 / 2 is less than 4
        (6.0, 1, [0, 0, 0, 0]),  # 1 + 6 / 2 is 4
        (5.9, 1, [0, 0, 2, 2]),
        (0.5, 2, [0, 0, 2, 2]),
        (0.5, 3, [0, 0, 0, 0]),
    ],
)
def test_a_row_is_cut_by_hand(scale, min_size, expected):
    weights = [1.0, 1.0, 4.0]
    assert cut(ROW, weights, scale, min_size, 4) == expected
    with nn.kernels.twins():
        assert cut(ROW, weights, scale, min_size, 4) == expected


EDGES = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.integers(0, 5)), max_size=40)


@settings(deadline=None)
@given(EDGES, st.floats(0, 8), st.integers(1, 4))
def test_the_twin_cuts_alike(edges, scale, min_size):
    table = np.array(sorted(edges, key=lambda edge: edge[2]), np.int64).reshape(-1, 3)
    given = np.ascontiguousarray(table[:, :2]), table[:, 2].astype(float), scale, min_size, 12
    found = cut(*given)
    with nn.kernels.twins():
        assert cut(*given) == found


@pytest.mark.parametrize("scale, min_size", [(40, 1), (200, 20), (1000, 5)])
def test_scikit_image_finds_the_same_pieces(scale, min_size):
    felzenszwalb = pytest.importorskip("skimage.segmentation").felzenszwalb
    image = smooth(random(40, 53, 3), 1.5)  # no two edges weigh the same
    theirs = felzenszwalb(image, scale, sigma=0, min_size=min_size)
    ours = PixelGraph(image).pieces(scale / 255, min_size)
    assert 1 < ours.max() < 2000
    pairs = np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1)
    assert pairs.shape[1] == ours.max() + 1 == theirs.max() + 1


def test_smoothing_is_scipys():
    ndimage = pytest.importorskip("scipy.ndimage")
    image = random(9, 13, 2)
    expected = ndimage.gaussian_filter(image, (0.8, 0.8, 0), mode="reflect")
    np.testing.assert_allclose(smooth(image, 0.8), expected, rtol=1e-9, atol=1e-12)


def test_colours_are_scikit_images():
    color = pytest.importorskip("skimage.color")
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    expected = color.rgb2lab(image) * [2.55, 1, 1] + [0, 128, 128]
    np.testing.assert_allclose(lab(image), expected, atol=0.2)
    np.testing.assert_allclose(hsv(image), color.rgb2hsv(image) * 255, atol=1.6)


def test_white_black_and_red():
    image = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    expected = [
        [[255, 128, 128], [0, 128, 128], [135.8, 208.1, 195.2]]
    ]  # L* 53.2, a* 80.1, b* 67.2
    np.testing.assert_allclose(lab(image), expected, atol=0.2)
    np.testing.assert_array_equal(hsv(image), [[[0, 0, 255], [0, 0, 0], [0, 255, 255]]])


def histogram(values, bins):
    """Of pixels (P, C), values from 0 to 1: all channels' bins, sum 1."""
    found = [np.histogram(column, bins, (0, 1))[0] for column in values.T]
    return np.concatenate(found) / values.size


def grouping_oracle(image, pieces, mix):
    """Every join from the pixels themselves, all pairs of touching pieces compared anew."""
    steepness, joined = slopes(image), []
    members = {int(number): pieces == number for number in np.unique(pieces)}
    touching = {
        frozenset(pair)
        for pair in pieces.ravel()[neighbours(*pieces.shape)].tolist()
        if pair[0] != pair[1]
    }

    def box(mask):
        rows, columns = np.nonzero(mask)
        return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]

    def likeness(a, b):
        one, other = members[a], members[b]
        x1, y1, x2, y2 = box(one | other)
        both = (one | other).sum()
        parts = [
            np.minimum(histogram(image[one] / 256, 25), histogram(image[other] / 256, 25)).sum(),
            np.minimum(histogram(steepness[one], 10), histogram(steepness[other], 10)).sum(),
            1 - both / one.size,
            1 - ((x2 - x1) * (y2 - y1) - both) / one.size,
        ]
        return sum(parts[part] for part in mix)

    boxes = [box(mask) for mask in members.values()]
    alive = set(members)
    while len(alive) > 1:
        pairs = [pair for pair in itertools.combinations(sorted(alive), 2)
                 if frozenset(pair) in touching]  # fmt: skip
        a, b = max(pairs, key=lambda pair: likeness(*pair))
        new = len(members)
        members[new] = members[a] | members[b]
        touching |= {
            frozenset((new, c)) for c in alive - {a, b} for d in (a, b) if {c, d} in touching
        }
        alive = alive - {a, b} | {new}
        boxes.append(box(members[new]))
        joined.append((a, b))
    return boxes[::-1]


@pytest.mark.parametrize("mix", [(COLOUR, TEXTURE, SIZE, FILL), (TEXTURE, SIZE, FILL), (COLOUR,)])
def test_joins_are_those_of_the_definition(mix):
    rng = np.random.default_rng(1)
    image = picture(24, 18, 3) * 0.7 + rng.uniform(0, 70, (18, 24, 3))
    pieces = PixelGraph(smooth(image, 0.8)).pieces(10, 8)
    assert 6 < pieces.max() < 40
    found = group(regions_of(image, slopes(image), pieces), mix)
    assert found.tolist() == [list(map(int, box)) for box in grouping_oracle(image, pieces, mix)]


def scene():
    """A grey picture of 200 x 150 with a red and a blue box on it."""
    image = np.full((150, 200, 3), 120, np.uint8)
    image[30:90, 20:80] = 200, 30, 30
    image[50:130, 120:180] = 20, 40, 190
    return image, np.array([[20, 30, 80, 90], [120, 50, 180, 130]])


def test_it_finds_what_stands_out():
    image, truth = scene()
    found = selective_search(image)
    assert found.dtype == np.float32 and found.shape[1] == 4
    assert box_iou(truth, found).max(axis=1).min() > 0.95
    assert (found[:, :2] >= 0).all() and (found[:, 2:] <= [200, 150]).all()
    np.testing.assert_array_equal(found, selective_search(image))  # the order is the seed's
    np.testing.assert_array_equal(found[:3], selective_search(image, limit=3))
    sides = found[:, 2:] - found[:, :2]
    assert sides.min() >= 20 * 200 / 500 - 1e-4
    assert len(np.unique(found, axis=0)) == len(found)


@pytest.mark.parametrize("size", [(1, 1), (1, 60), (60, 1), (3, 2)])
def test_the_smallest_pictures(size):
    found = selective_search(np.full((*size, 3), 7, np.uint8), min_side=0)
    np.testing.assert_allclose(found, [[0, 0, size[1], size[0]]], rtol=1e-6)


def recall(found, truths):
    """The share of all true boxes that a box found overlaps by half."""
    overlaps = [
        box_iou(truth, boxes).max(axis=1) for boxes, truth in zip(found, truths, strict=True)
    ]
    return (np.concatenate(overlaps) >= 0.5).mean()


def test_it_recalls_what_opencvs_does():
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "ximgproc"):
        pytest.skip("this OpenCV is without its contributions")

    def theirs(image):
        search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
        search.setBaseImage(np.ascontiguousarray(image[:, :, ::-1]))
        search.switchToSelectiveSearchFast()
        boxes = search.process().astype(np.float64)
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)

    dataset = open_dataset(real_data("coco-mini"), "val", limit=4)
    images, targets = zip(*(dataset.load(index) for index in range(len(dataset))), strict=True)
    # Its pictures are not made smaller, so that it finds more of what is small.
    truths = [boxes[box_area(boxes) >= 32**2] for boxes in (each["boxes"] for each in targets)]
    one = [selective_search(image, min_side=0) for image in images]  # OpenCV leaves nothing out
    other = [theirs(image) for image in images]
    for count in (200, 2000):
        ours, opencvs = (recall([boxes[:count] for boxes in all], truths) for all in (one, other))
        assert ours >= opencvs - 0.05, (count, ours, opencvs)
