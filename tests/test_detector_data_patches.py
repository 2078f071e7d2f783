"""SSD's crops keep their promise about the objects in them."""

import numpy as np
import pytest

from detector.datasets import patches
from detector.datasets.patches import LEAST_IOUS, RATIOS, SIDES, choose_patch, random_patches
from detector.datasets.transforms import Augmentation, TrainTransform, patch

BOXES = np.float32([[10, 10, 60, 50], [70, 20, 95, 75], [5, 60, 15, 70]])
SIZE = (80, 100)


def overlap(a, b):
    """IoU of two boxes."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_sides_and_shapes_are_the_papers():
    parts = random_patches(4000, np.random.default_rng(0))
    assert parts.min() >= 0 and parts.max() <= 1 + 1e-12
    width, height = (parts[:, 2:] - parts[:, :2]).T
    scale, ratio = np.sqrt(width * height), width / height
    assert SIDES[0] <= scale.min() < 0.31 and 0.99 < scale.max() <= SIDES[1]
    assert RATIOS[0] <= ratio.min() < 0.52 and 1.95 < ratio.max() <= RATIOS[1]
    assert (np.maximum(width, height) <= 1 + 1e-12).all()  # what s^2 <= ratio <= 1 / s^2 is for


@pytest.mark.parametrize("least", LEAST_IOUS)
def test_each_promise_is_kept(monkeypatch, least):
    """Whatever is chosen holds an object's centre, and one overlaps it as much as was promised."""
    monkeypatch.setattr(patches, "LEAST_IOUS", (least,))
    parts = []
    for seed in range(120):
        x1, y1, x2, y2 = window = choose_patch(BOXES, SIZE, np.random.default_rng(seed))
        assert 0 <= x1 < x2 <= 100 and 0 <= y1 < y2 <= 80
        if window != (0, 0, 100, 80):
            parts.append(window)
            centres = (BOXES[:, :2] + BOXES[:, 2:]) / 2
            assert any(x1 <= x < x2 and y1 <= y < y2 for x, y in centres)
            assert max(overlap(window, box) for box in BOXES) >= least
    assert parts or least == 0.9
    if least < 0.6:  # which 50 trials nearly always find
        assert 35 < len(parts) < 85  # the whole picture or the part, evenly


def test_the_whole_picture_is_one_of_seven():
    chosen = [choose_patch(BOXES, SIZE, np.random.default_rng(seed)) for seed in range(400)]
    whole = chosen.count((0, 0, 100, 80)) / len(chosen)
    assert 1 / 7 - 0.06 < whole < 1 / 6 + 0.08  # or of those that were found


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2)])
def test_tiny_pictures(size):
    for seed in range(30):
        box = np.float32([[0, 0, size[1], size[0]]])
        x1, y1, x2, y2 = choose_patch(box, size, np.random.default_rng(seed))
        assert 0 <= x1 < x2 <= size[1] and 0 <= y1 < y2 <= size[0]


def test_a_picture_without_objects_is_left_whole():
    none = np.zeros((0, 4), np.float32)
    assert {choose_patch(none, SIZE, np.random.default_rng(s)) for s in range(20)} == {
        (0, 0, 100, 80)
    }


def test_an_object_is_learned_where_its_centre_is():
    image = np.arange(80 * 100 * 3, dtype=np.uint8).reshape(80, 100, 3)
    target = {"boxes": BOXES, "labels": np.int64([1, 2, 3]), "ignore": np.zeros((0, 4), np.float32)}
    for seed in range(50):
        x1, y1, x2, y2 = choose_patch(BOXES, SIZE, np.random.default_rng(seed))
        part, after = patch(image, target, np.random.default_rng(seed))
        np.testing.assert_array_equal(part, image[y1:y2, x1:x2])
        kept, doubtful = [], []
        for box, label in zip(BOXES.tolist(), (1, 2, 3), strict=True):
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            if x1 <= x < x2 and y1 <= y < y2:
                kept.append(label)
            elif overlap(box, (x1, y1, x2, y2)) > 0:
                doubtful.append(box)
        assert after["labels"].tolist() == kept and len(after["ignore"]) == len(doubtful)


def test_switched_on_it_changes_what_is_seen_and_nothing_else():
    image = np.zeros((80, 100, 3), np.uint8)
    target = {"boxes": BOXES, "labels": np.int64([1, 2, 3]), "ignore": np.zeros((0, 4), np.float32)}
    for seed in range(12):
        rngs = [[np.random.default_rng(seed), np.random.default_rng(1)] for _ in range(2)]
        plain, _ = TrainTransform(40, 80)(image, target, *rngs[0])
        part, after = TrainTransform(40, 80, Augmentation(patches=True))(image, target, *rngs[1])
        assert min(plain.shape[:2]) == 40 and max(part.shape[:2]) <= 80
        assert len(after["labels"])
