"""Pictures with boxes: where the paint goes, and that it can be read."""

from __future__ import annotations

import numpy as np
import pytest

from detector.evaluation.drawing import class_colour, draw_detections


def draw(height, width, boxes, labels=None, scores=None, classes=("cat", "dog")):
    image = np.full((height, width, 3), 100, np.uint8)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.ones(len(boxes), np.int64) if labels is None else labels
    scores = np.full(len(boxes), 0.5) if scores is None else scores
    return draw_detections(image, boxes, labels, scores, classes)


def painted(picture, colour) -> np.ndarray:
    return (picture == np.array(colour, np.uint8)).all(axis=2)


def test_without_boxes_nothing_changes():
    assert (draw(600, 500, []) == 100).all()


def test_box_is_where_it_belongs():
    picture = draw(600, 800, [[200, 300, 400, 500]])
    mask = painted(picture, class_colour(1))
    assert mask[300:500, 200].all() and mask[499, 200:400].all() and mask[300, 390]
    assert mask[300:500, 399].all()
    inside = picture[310:490, 210:390]
    assert (inside == 100).all()
    assert (picture[500:] == 100).all() and (picture[:, 400:] == 100).all()


@pytest.mark.parametrize("shape", [(1, 3_100_000), (3_100_000, 1)])
def test_a_picture_of_any_shape(shape):
    """A letter may be 65535 units high at most, whatever the picture."""
    height, width = shape
    picture = draw(height, width, [[0, 0, width, height], [width / 2, 0, width, height]])
    assert picture.shape == (height, width, 3) and not (picture == 100).all()


def test_the_last_pixel_of_an_enlarged_box():
    """Twice as large: the box ends at 2 * 200, whose last pixel is 399."""
    picture = draw(250, 250, [[50, 60, 200, 210]])
    assert picture.shape == (500, 500, 3)
    mask = painted(picture, class_colour(1))
    assert mask[150:420, 399].all() and mask[419, 100:400].all()
    assert not mask[:, 400:].any() and not mask[420:].any()


@pytest.mark.parametrize("size", [(20, 30), (160, 160), (479, 100), (1200, 1600)])
@pytest.mark.parametrize("box", [[0, 0, 1, 1], [-9, -9, 999, 999], [0.1, 0.2, 0.9, 0.8]])
def test_any_size_and_corner(size, box):
    """Enlarged by whole factors to at least 480 pixels, and labels stay in the picture."""
    height, width = size
    picture = draw(height, width, np.array(box) * [width, height, width, height] / 1)
    factor = picture.shape[0] // height
    assert picture.shape == (factor * height, factor * width, 3)
    assert max(picture.shape) >= 480
    assert factor == 1 or (factor - 1) * max(size) < 480
    assert painted(picture, class_colour(1)).sum() > 150  # a label of readable size


def test_label_is_above_the_box_or_inside_at_the_border():
    above = painted(draw(600, 600, [[100, 300, 200, 400]]), class_colour(1))
    assert above[285:300, 105].any() and not above[320, 150]
    inside = painted(draw(600, 600, [[100, 0, 200, 400]]), class_colour(1))
    assert inside[:18, 101:110].mean() > 0.5


def test_input_is_untouched_and_surest_on_top():
    image = np.full((500, 500, 3), 100, np.uint8)
    boxes = np.array([[50, 50, 300, 300], [50, 50, 300, 300]], np.float32)
    picture = draw_detections(image, boxes, np.array([1, 2]), np.array([0.9, 0.1]), ("a", "b"))
    assert (image == 100).all()
    assert painted(picture, class_colour(1))[200, 50]
    assert not painted(picture, class_colour(2))[200, 50]


def test_colours_of_eighty_classes_differ():
    colours = np.array([class_colour(label) for label in range(1, 81)], int)
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 999 * np.eye(80, dtype=int)
    assert distances.min() > 0
    assert np.diag(distances, 1).min() > 200  # neighbours differ strongly


def test_ground_truth_has_no_scores():
    image = np.full((500, 500, 3), 100, np.uint8)
    boxes = np.array([[50, 50, 300, 300]], np.float32)
    with_score = draw_detections(image, boxes, np.array([1]), np.array([0.5]), ("cat",))
    without = draw_detections(image, boxes, np.array([1]), None, ("cat",))
    colour = class_colour(1)
    assert painted(without, colour).sum() < painted(with_score, colour).sum()
