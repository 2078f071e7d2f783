"""Crops of objects and background, and the backbone that learns to tell them apart."""

import itertools

import numpy as np
import pytest

import nn
from detector import LightHeadRCNN
from detector.datasets import ShapesDataset
from detector.datasets.crops import CropTransform
from detector.training.objectives.crops import crop_loader, learn_from_crops
from detector.training.presets import preset


def rng(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def picture():
    """Black, with one white object and one grey one of label 2."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:50] = 255
    image[0:8, 0:8] = 128
    boxes = np.float32([[30, 10, 50, 20], [0, 0, 8, 8]])
    target = {"boxes": boxes, "labels": np.array([1, 2]), "ignore": np.zeros((0, 4), np.float32)}
    return image, target


def test_a_crop_shows_what_its_label_says():
    transform = CropTransform(2, 16, vertical_flip=0.5)
    seen = set()
    for seed in range(60):
        crop, target = transform(*picture(), rng(seed), rng(seed))
        assert crop.shape == (16, 16, 3) and crop.dtype == np.uint8
        seen.add(target["label"])
        brightest = crop.max()
        if target["label"] == 1:
            assert brightest == 255
        elif target["label"] == 2:
            assert brightest == 128
    assert seen == {0, 1, 2}


def test_beyond_the_border_the_edge_repeats():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1).repeat(3, axis=2)
    crop = CropTransform(1, 6).cut(image, (0.0, 0.0, 6.0))
    expected = np.pad(image, ((3, 3), (3, 3), (0, 0)), mode="edge")[:6, :6]
    np.testing.assert_array_equal(crop, expected)


def test_pictures_without_objects_give_background():
    image, target = picture()
    empty = {**target, "boxes": target["boxes"][:0], "labels": target["labels"][:0]}
    _, cut = CropTransform(2, 8)(image, empty, rng(), rng())
    assert cut["label"] == 0


def test_background_keeps_away_from_objects():
    transform = CropTransform(2, 8)
    image, target = picture()
    for seed in range(30):
        x, y, side = transform.background(target["boxes"], image.shape[:2], rng(seed))
        corners = x - side / 2, y - side / 2, x + side / 2, y + side / 2
        for x1, y1, x2, y2 in target["boxes"]:
            width = min(corners[2], x2) - max(corners[0], x1)
            height = min(corners[3], y2) - max(corners[1], y1)
            assert max(width, 0) * max(height, 0) < 0.2 * side * side


@pytest.fixture(scope="module")
def shapes():
    return ShapesDataset(6, image_size=64)


def recipe():
    return preset("tiny").updated({"crops": {"iterations": 3, "batch": 4, "size": 32}})


def crop_batches(shapes, seed):
    """Three batches: pictures and labels."""
    epochs = map(crop_loader(shapes, recipe(), seed).epoch, itertools.count())
    for batch in itertools.islice(itertools.chain.from_iterable(epochs), 3):
        yield batch.images, np.array([target["label"] for target in batch.targets])


def test_batches_are_a_function_of_the_seed(shapes):
    one, same, other = (list(crop_batches(shapes, seed)) for seed in (1, 1, 2))
    assert len(one) == 3
    for (images, labels), (images2, labels2) in zip(one, same, strict=True):
        np.testing.assert_array_equal(labels, labels2)
        np.testing.assert_array_equal(np.stack(images), np.stack(images2))
    assert any((a[0][0] != b[0][0]).any() for a, b in zip(one, other, strict=True))


def test_only_the_backbone_changes_and_always_to_the_same_bits(shapes):
    def run():
        nn.manual_seed(0)
        model = LightHeadRCNN(4, "shufflenet_v2_x0_5", head={"hidden_channels": 8})
        before = {name: array.copy() for name, array in model.state_dict().items()}
        assert 0 <= learn_from_crops(model, shapes, recipe(), 0, lambda: None) <= 1
        return before, model.state_dict()

    before, after = run()
    _, again = run()
    for name, array in after.items():
        np.testing.assert_array_equal(array, again[name])
        if not name.startswith("backbone."):
            np.testing.assert_array_equal(array, before[name])
    assert (after["backbone.conv1.0.weight"] != before["backbone.conv1.0.weight"]).any()


def test_it_can_be_stopped(shapes):
    def check():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_from_crops(LightHeadRCNN(4, "shufflenet_v2_x0_5"), shapes, recipe(), 0, check)
