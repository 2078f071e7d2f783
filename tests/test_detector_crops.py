"""Crops of objects, and the classification that a backbone learns from them."""

from __future__ import annotations

import numpy as np
import pytest

import nn
from detector.crops import CropTransform
from detector.datasets import ShapesDataset
from detector.light_head_rcnn import LightHeadRCNN
from detector.presets import preset
from detector.pretraining import crop_batches, pretrain_backbone

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (128, 128, 128)


def picture() -> tuple[np.ndarray, dict]:
    """A red object of class 1 and a blue one of class 2 on grey."""
    image = np.full((200, 300, 3), GREY, np.uint8)
    image[20:60, 20:100] = RED
    image[120:180, 220:260] = BLUE
    boxes = np.array([[20, 20, 100, 60], [220, 120, 260, 180]], np.float32)
    ignore = np.zeros((0, 4), np.float32)
    return image, {"boxes": boxes, "labels": np.array([1, 2]), "ignore": ignore, "image_id": 1}


def cut(transform: CropTransform, image, target, seed: int = 0):
    rng = np.random.Generator(np.random.Philox(seed))
    return transform(image, target, rng, rng)


def test_a_crop_shows_what_its_label_says():
    transform = CropTransform(2, size=24, count=400, horizontal_flip=0.5, vertical_flip=0.5)
    image, target = picture()
    crops, made = cut(transform, image, target)
    labels = made["labels"]
    assert crops.shape == (400, 24, 24, 3) and crops.dtype == np.uint8
    for label, colour in ((1, RED), (2, BLUE)):
        shown = np.abs(crops[labels == label].astype(int) - colour).sum(axis=3) < 60
        # An object half as wide as long in a square of twice its length: an eighth, less its
        # blended edges.
        assert shown.mean(axis=(1, 2)).min() > 0.07
    coloured = np.abs(crops[labels == 0].astype(int) - GREY).sum(axis=3) > 60
    # A square at the border is moved into the picture, and then may show more than a fifth.
    assert np.quantile(coloured.mean(axis=(1, 2)), 0.9) < 0.2
    counts = np.bincount(labels, minlength=3)
    assert counts == pytest.approx([400 / 3] * 3, abs=40)


def test_a_picture_without_objects_is_background():
    image, target = picture()
    target = {**target, "boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    _, made = cut(CropTransform(2, size=16, count=20), image, target)
    assert not made["labels"].any()


@pytest.mark.parametrize("box", [[0, 0, 300, 200], [299, 199, 300, 200], [0, 0, 2, 200]])
def test_boxes_of_any_shape(box):
    image, target = picture()
    target = {**target, "boxes": np.array([box], np.float32), "labels": np.array([1])}
    crops, _ = cut(CropTransform(2, size=16, count=20), image, target)
    assert crops.shape == (20, 16, 16, 3)


def test_crops_depend_on_the_seed_only():
    image, target = picture()
    transform = CropTransform(2, size=16, count=20)
    first, again = cut(transform, image, target, 1), cut(transform, image, target, 1)
    np.testing.assert_array_equal(first[0], again[0])
    assert (cut(transform, image, target, 2)[0] != first[0]).any()


RECIPE = preset("tiny").changed(crop_iterations=12, crop_size=32, crop_batch=16, crop_lr=0.05)


def test_there_are_as_many_batches_as_asked_for():
    """More than an epoch holds, and it ends within one: 6 pictures are 2 batches of 16 and 8."""
    recipe = RECIPE.changed(crop_iterations=11)
    sizes = [len(labels) for _, labels in crop_batches(ShapesDataset(6), recipe, seed=0)]
    assert sizes == [16, 8] * 5 + [16]


def test_the_backbone_learns_and_nothing_else_does():
    def pretrained() -> dict[str, np.ndarray]:
        nn.manual_seed(0)
        model = LightHeadRCNN(4, "shufflenet_v2_x0_5")
        before = {name: array.copy() for name, array in model.state_dict().items()}
        pretrain_backbone(model, ShapesDataset(8), RECIPE, 0, lambda: None)
        after = model.state_dict()
        changed = {name for name in after if not np.array_equal(after[name], before[name])}
        assert changed == {name for name in after if name.startswith("backbone.")}
        return after

    first, again = pretrained(), pretrained()
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)


def test_it_can_be_stopped():
    def stop():
        raise KeyboardInterrupt

    model = LightHeadRCNN(4, "shufflenet_v2_x0_5")
    with pytest.raises(KeyboardInterrupt):
        pretrain_backbone(model, ShapesDataset(4), RECIPE, 0, stop)
