"""Images to one batch and boxes back to the image."""

import numpy as np
import pytest

from detector.parts.preprocess import (
    check_image,
    network_size,
    resize,
    scale_boxes,
    to_batch,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(height, width, seed=0):
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((400, 1000), (480, 1200)),  # the longer side decides
        ((1, 1), (800, 800)),
        ((1, 5000), (1, 1200)),
        ((3, 5000), (1, 1200)),
        ((7000, 2), (1200, 1)),
    ],
)
def test_network_size(size, expected):
    assert network_size(size, 800, 1200) == expected


def test_resize_of_the_same_size_is_the_image_itself():
    image = picture(7, 9)
    assert resize(image, (7, 9)) is image
    assert resize(image, (14, 3)).shape == (14, 3, 3)
    np.testing.assert_array_equal(resize(np.full((1, 1, 3), 7, np.uint8), (5, 6)), 7)


def test_boxes_go_there_and_back():
    boxes = np.float32([[10, 20, 30, 60], [0, 0, 100, 80]])
    scaled = scale_boxes(boxes, (80, 100), (160, 50))
    np.testing.assert_array_equal(scaled, [[5, 40, 15, 120], [0, 0, 50, 160]])
    np.testing.assert_allclose(scale_boxes(scaled, (160, 50), (80, 100)), boxes)
    assert scale_boxes(np.zeros((0, 4)), (1, 1), (2, 2)).shape == (0, 4)


def test_batch_equals_the_loop():
    images = [picture(5, 7), picture(33, 3, seed=1)]
    batch = to_batch(images, MEAN, STD)
    assert batch.shape == (2, 3, 64, 32) and batch.dtype == np.float32
    for n, image in enumerate(images):
        for channel in range(3):
            for y in range(64):
                for x in range(32):
                    expected = 0.0
                    if y < image.shape[0] and x < image.shape[1]:
                        value = image[y, x, channel] / 255
                        expected = (value - MEAN[channel]) / STD[channel]
                    assert batch[n, channel, y, x] == pytest.approx(expected, abs=1e-5)


def test_batch_sizes():
    assert to_batch([picture(1, 1)], MEAN, STD).shape == (1, 3, 32, 32)
    assert to_batch([picture(32, 64)], MEAN, STD).shape == (1, 3, 32, 64)
    assert to_batch([picture(32, 65)], MEAN, STD, np.float64).dtype == np.float64


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="uint8"):
        check_image(image)
