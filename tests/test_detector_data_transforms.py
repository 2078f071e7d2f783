"""Transforms move boxes with the pixels they enclose, by the dice of their own generator only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from small_data_set import picture

from detector.datasets import TrainTransform, streams
from detector.datasets.transforms import (
    Augmentation,
    cut_out,
    drop_thin_boxes,
    flip_horizontally,
    flip_vertically,
    jitter_colours,
    resize,
)
from detector.parts.preprocess import network_size


def marked(width: int, height: int, boxes) -> tuple[np.ndarray, dict]:
    """A black image with each box (whole pixels) in a colour of its own."""
    image = np.zeros((height, width, 3), np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        image[y1:y2, x1:x2] = 255 - 40 * number
    return image, target(boxes)


def target(boxes, ignore=()) -> dict:
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": np.arange(1, len(boxes) + 1),
        "ignore": np.array(ignore, np.float32).reshape(-1, 4),
        "image_id": 5,
    }


BOXES = [(3, 2, 11, 9), (20, 10, 40, 28)]


@pytest.mark.parametrize("flip", [flip_horizontally, flip_vertically])
def test_flips_take_the_boxes_along(flip):
    image, before = marked(41, 29, BOXES)
    flipped, after = flip(image, before)
    for number, (x1, y1, x2, y2) in enumerate(after["boxes"].astype(int), start=1):
        assert (flipped[y1:y2, x1:x2] == 255 - 40 * number).all()
    assert (flipped > 0).sum() == (image > 0).sum()
    again, back = flip(flipped, after)
    np.testing.assert_array_equal(again, image)
    np.testing.assert_array_equal(back["boxes"], before["boxes"])
    np.testing.assert_array_equal(before["boxes"], np.array(BOXES, np.float32))  # untouched


def test_the_two_flips_differ():
    image, before = marked(41, 29, BOXES)
    assert flip_horizontally(image, before)[1]["boxes"][0].tolist() == [30, 2, 38, 9]
    assert flip_vertically(image, before)[1]["boxes"][0].tolist() == [3, 20, 11, 27]


def test_regions_to_ignore_and_empty_targets_move_too():
    image = picture(40, 30)
    before = target([], ignore=[(0, 0, 10, 30)])
    after = flip_horizontally(*resize(image, before, network_size(image.shape[:2], 60, 100)))[1]
    assert after["boxes"].shape == (0, 4) and after["boxes"].dtype == np.float32
    assert after["ignore"].tolist() == [[60, 0, 80, 60]]
    assert after["image_id"] == 5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 80), st.integers(1, 120))
def test_resizing_keeps_the_shape_and_the_limits(width, height, short_side, max_side):
    image, before = picture(width, height), target([(0, 0, width, height)])
    resized, after = resize(image, before, network_size(image.shape[:2], short_side, max_side))
    h, w = resized.shape[:2]
    assert max(h, w) <= max_side and min(h, w) <= max(short_side, 1)
    assert min(h, w) == short_side or max(h, w) == max_side
    # The box of the whole image stays the box of the whole image.
    np.testing.assert_allclose(after["boxes"][0], [0, 0, w, h], rtol=1e-6)


def test_resizing_moves_boxes_with_their_pixels():
    image, before = marked(160, 120, [(40, 20, 120, 100)])
    resized, after = resize(image, before, network_size(image.shape[:2], 60, 200))
    assert resized.shape == (60, 80, 3)
    x1, y1, x2, y2 = after["boxes"][0]
    assert (x1, y1, x2, y2) == (20, 10, 60, 50)
    assert (resized[12:48, 22:58] == 215).all()
    assert resized[:8].max() == 0 and resized[:, 62:].max() == 0


def test_thin_boxes_are_dropped_and_counted():
    boxes = [(0, 0, 30, 30), (5, 5, 5.9, 20), (5, 5, 20, 5.5), (0, 0, 1, 1)]
    result = drop_thin_boxes(target(boxes))
    assert result["labels"].tolist() == [1, 4] and result["dropped"] == 2
    assert len(result["boxes"]) == 2
    assert drop_thin_boxes(target([]))["dropped"] == 0


def test_colours_agree_with_pillow():
    image = picture(50, 40, seed=3)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for position, enhancer in enumerate(enhancers):
        for factor in (0.7, 1.3):
            factors = [1.0, 1.0, 1.0]
            factors[position] = factor
            expected = np.asarray(enhancer(Image.fromarray(image)).enhance(factor))
            changed = jitter_colours(image, *factors)
            assert changed.dtype == np.uint8
            assert np.abs(changed.astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(jitter_colours(image, 1, 1, 1), image)
    assert jitter_colours(image, 3, 1, 1).max() == 255  # clipped, not wrapped around


def dice(seed=0, index=0, number=0):
    return (
        streams.generator(seed, streams.TRANSFORM, 0, index),
        streams.generator(seed, streams.BATCH, 0, number),
    )


def test_the_whole_transform_is_a_function_of_its_dice():
    transform = TrainTransform(40, 80, Augmentation((0.75, 1.0, 1.25), 0.5, 0.5, 0.2))
    image, before = marked(41, 29, BOXES)
    image.flags.writeable = False  # as cached images are
    kept = image.copy()
    results = [transform(image, before, *dice(index=i)) for i in range(20)]
    again = [transform(image, before, *dice(index=i)) for i in range(20)]
    for (a, x), (b, y) in zip(results, again, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(x["boxes"], y["boxes"])
        assert a.flags.c_contiguous and a.dtype == np.uint8
    assert len({array.shape for array, _ in results}) == 1  # one batch, one scale
    assert len({x["boxes"].tobytes() for _, x in results}) == 4  # all four mirror images
    scales = {transform(image, before, *dice(number=n))[0].shape[0] for n in range(30)}
    assert scales == {30, 40, 50}
    np.testing.assert_array_equal(image, kept)


def test_switching_one_die_on_leaves_the_others():
    image, before = marked(41, 29, BOXES)
    for index in range(12):
        plain = TrainTransform(29, 80)(image, before, *dice(index=index))[1]
        chance = Augmentation((1.0,), 0.5, 1.0, 0.3)
        both = TrainTransform(29, 80, chance)(image, before, *dice(index=index))[1]
        np.testing.assert_array_equal(plain["boxes"][:, [0, 2]], both["boxes"][:, [0, 2]])


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_sure_and_impossible_flips(chance):
    image, before = marked(41, 29, BOXES)
    expected = flip_horizontally(image, before)[1] if chance else before
    for index in range(8):
        moved, after = TrainTransform(29, 80, Augmentation((1.0,), chance))(
            image, before, *dice(index=index)
        )
        assert moved.flags.c_contiguous
        np.testing.assert_allclose(after["boxes"], expected["boxes"])


@pytest.mark.parametrize(
    "options", [((),), ((0,),), ((1.0,), 1.5), ((1.0,), 0, -1), ((1.0,), 0, 0, 1)]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="not"):
        Augmentation(*options)


def test_zoom_keeps_boxes_on_their_pixels():
    """The box around the one bright square is still around it, wherever the cut-out lies."""
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        image = np.zeros((120, 160, 3), np.uint8)
        x, y, side = *rng.integers(0, 100, 2), 20
        image[y : y + side, x : x + side] = 255
        target = {
            "boxes": np.float32([[x, y, x + side, y + side]]),
            "labels": np.int64([1]),
            "ignore": np.zeros((0, 4), np.float32),
        }
        transform = TrainTransform(60, 80, Augmentation(horizontal_flip=0, zoom=(0.5, 2.0)))
        new, after = transform(image, target, rng, np.random.default_rng(0))
        assert new.shape[0] <= 60 and new.shape[1] <= 80
        rows, columns = np.nonzero(new[:, :, 0] > 127)
        kept = [*after["boxes"], *after["ignore"]]
        seen.add((len(after["boxes"]), len(after["ignore"])))
        if len(rows) and kept:
            edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            np.testing.assert_allclose(kept[0], edges, atol=1.01)
        assert len(kept) == 1 or len(rows) <= new.shape[0]
    assert seen >= {(1, 0), (0, 1)}


def test_less_than_four_tenths_of_an_object_is_neither_learned_nor_background():
    target = {
        "boxes": np.float32([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 0, 13, 10]]),
        "labels": np.int64([1, 2, 3, 4]),
        "ignore": np.float32([[0, 0, 8, 8], [40, 40, 50, 50]]),
    }
    after = cut_out(target, (7, 0, 27, 20))
    np.testing.assert_array_equal(after["boxes"], [[0, 0, 8, 10], [0, 0, 6, 10]])
    np.testing.assert_array_equal(after["labels"], [2, 4])
    np.testing.assert_array_equal(after["ignore"], [[0, 0, 1, 8], [0, 0, 3, 10]])


def test_a_cut_out_moves_what_is_left():
    """Where nothing is zoomed no die is rolled for it, and the picture is as before."""
    image = np.arange(60 * 80 * 3, dtype=np.uint8).reshape(60, 80, 3)
    target = {"boxes": np.float32([[1, 2, 30, 40]]), "labels": np.int64([1])}
    target["ignore"] = np.zeros((0, 4), np.float32)
    plain, still = (
        TrainTransform(60, 80, Augmentation(zoom=zoom))(
            image, target, np.random.default_rng(3), np.random.default_rng(4)
        )
        for zoom in ((1.0, 1.0), (0.99999, 1.00001))
    )
    np.testing.assert_allclose(plain[1]["boxes"], still[1]["boxes"], atol=0.01)
    np.testing.assert_array_equal(plain[0], still[0])
