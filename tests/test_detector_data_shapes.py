"""The synthetic shapes: what is drawn is what the annotations say."""

import json

import numpy as np
import pytest

from detector.datasets import (
    ShapesDataset,
    open_dataset,
    read_image,
    shapes,
    streams,
    write_shapes,
)
from detector.datasets.layout import read_dataset
from detector.datasets.scenes import CLASSES, LEAST_VISIBLE, paint_shape, plan_scene
from detector.errors import UserError


@pytest.fixture(scope="module")
def pictures():
    return ShapesDataset(60, "train", seed=3)


def test_boxes_and_labels_keep_the_contract(pictures):
    assert pictures.classes == list(CLASSES)
    for i in range(len(pictures)):
        image, target = pictures.load(i)
        boxes, labels = target["boxes"], target["labels"]
        assert image.shape == (160, 160, 3) and image.dtype == np.uint8
        assert boxes.dtype == np.float32 and labels.dtype == np.int64
        assert 1 <= len(boxes) == len(labels) <= 6
        assert boxes.min() >= 0 and boxes.max() <= 160
        sides = boxes[:, 2:] - boxes[:, :2]
        assert sides.min() >= 10 and sides.max() <= 81
        assert labels.min() >= 1 and labels.max() <= 4
        assert target["ignore"].shape == (0, 4)


def test_every_class_and_many_sizes_occur(pictures):
    labels = np.concatenate([pictures.target(i)["labels"] for i in range(60)])
    assert np.bincount(labels, minlength=5)[1:].min() > 20
    boxes = np.concatenate([pictures.target(i)["boxes"] for i in range(60)])
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    assert np.quantile(longer, 0.1) < 30 and np.quantile(longer, 0.9) > 60


def test_boxes_are_tight_around_the_drawn_shapes():
    for i in range(40):
        for shape in plan_scene(streams.generator(1, streams.TRAIN_SCENES, index=i), 160):
            rows, columns = np.nonzero(shape.mask > 0.02)
            drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            # A sharp corner may cover too little of its last pixel to be seen in it.
            assert np.abs(shape.box - drawn).max() < 1.6
            if shape.box.min() > 0 and shape.box.max() < 160:
                # Pillow draws the outline itself too: an eighth of a pixel around.
                circumference = 2 * (shape.box[2:] - shape.box[:2]).sum()
                assert abs(shape.mask.sum() - shape.area) < 0.2 * circumference


def test_no_shape_is_mostly_hidden():
    for i in range(60):
        shapes = plan_scene(streams.generator(2, streams.TRAIN_SCENES, index=i), 160)
        for k, shape in enumerate(shapes):
            seen = shape.mask.copy()
            for later in shapes[k + 1 :]:
                seen *= 1 - later.mask
            if k + 1 < len(shapes):
                assert seen.sum() >= LEAST_VISIBLE * shape.area * 0.999
            assert seen.sum() > 0.3 * shape.area


def test_shapes_stand_out_from_what_they_cover():
    mask = np.zeros((40, 40), np.float32)
    mask[10:30, 10:30] = 1
    differences = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        canvas = np.full((3, 40, 40), rng.uniform(30, 220, (3, 1, 1)), np.float32)
        before = canvas[:, 0, 0].copy()
        paint_shape(rng, canvas, mask)
        assert (canvas[:, 0, 0] == before).all()
        differences.append(np.linalg.norm(canvas[:, mask > 0].mean(axis=1) - before))
    assert np.quantile(differences, 0.05) > 70 and min(differences) > 40


def test_a_picture_depends_on_seed_split_and_index_only():
    few, many = ShapesDataset(3, seed=5), ShapesDataset(8, seed=5)
    np.testing.assert_array_equal(few.load(2)[0], many.load(2)[0])
    np.testing.assert_array_equal(few.load(2)[1]["boxes"], many.load(2)[1]["boxes"])
    for other in (ShapesDataset(3, seed=6), ShapesDataset(3, "val", seed=5)):
        assert (few.load(2)[0] != other.load(2)[0]).mean() > 0.5
    assert (few.load(1)[0] != few.load(2)[0]).mean() > 0.5


def test_sizes_scale_with_the_picture():
    small, large = ShapesDataset(4, image_size=64), ShapesDataset(4, image_size=256)
    ratio = large.target(0)["boxes"][0] / np.maximum(small.target(0)["boxes"][0], 1e-6)
    assert ratio[2:] == pytest.approx(4, rel=1e-4)
    with pytest.raises(ValueError, match="32 x 32"):
        ShapesDataset(1, image_size=16)
    with pytest.raises(ValueError, match="train, val"):
        ShapesDataset(1, "test")


def test_written_and_read_back_is_the_same(tmp_path):
    pictures = []
    write_shapes(tmp_path, 5, 3, image_size=96, seed=4, after_image=lambda: pictures.append(1))
    assert len(pictures) == 8
    for split, count in (("train", 5), ("val", 3)):
        memory, disk = ShapesDataset(count, split, 96, 4), open_dataset(tmp_path, split)
        assert len(disk) == count and disk.problems == []
        assert (disk.classes, disk.category_ids) == (memory.classes, memory.category_ids)
        for i in range(count):
            (image, target), (expected, wanted) = disk.load(i), memory.load(i)
            np.testing.assert_array_equal(image, expected)
            np.testing.assert_array_equal(target["labels"], wanted["labels"])
            np.testing.assert_allclose(target["boxes"], wanted["boxes"], atol=1e-5)
            assert target["image_id"] == wanted["image_id"]


def test_written_twice_is_the_same_file(tmp_path):
    for name in ("one", "two"):
        write_shapes(tmp_path / name, 2, 1, image_size=64, seed=9)
    for part in ("annotations/instances_train.json", "train/00001.png", "val/00000.png"):
        assert (tmp_path / "one" / part).read_bytes() == (tmp_path / "two" / part).read_bytes()
    document = json.loads((tmp_path / "one/annotations/instances_train.json").read_text())
    assert {"images", "annotations", "categories"} <= set(document)
    assert read_image(tmp_path / "one/train/00000.png").shape == (64, 64, 3)


def test_classes_and_limits_apply_to_shapes_too():
    some = open_dataset("shapes", "val", classes=["star", "circle"], limit=25)
    assert len(some) == 25 and some.category_ids == [4, 1]
    image, target = some.load(24)
    assert image.shape == (160, 160, 3) and set(target["labels"]) <= {1, 2}
    whole = ShapesDataset(60, "val")
    record = some.images[24]
    assert record.id > 25  # some pictures show neither
    np.testing.assert_array_equal(image, whole.load(record.id - 1)[0])


def test_streams_refuse_what_is_no_counter():
    for bad in (-1, 2**64):
        with pytest.raises(ValueError, match="seed, stream, epoch and index"):
            streams.generator(bad, streams.SHUFFLE)
    draws = {
        tuple(streams.generator(seed, stream, epoch, index).integers(0, 2**32, 2))
        for seed in (0, 1, 2**64 - 1)
        for stream in (0, 1)
        for epoch in (0, 1)
        for index in (0, 1)
    }
    assert len(draws) == 24


@pytest.mark.parametrize(
    "split, classes, limit, with_others, planned",
    [
        ("train", None, 3, False, 3),
        ("val", ["star", "circle"], 3, True, 3),
        ("val", ["star"], 2, False, 200),  # which pictures show one, only the plans tell
    ],
)
def test_only_what_is_kept_is_planned(monkeypatch, split, classes, limit, with_others, planned):
    """2,400 plans take seconds. The pictures are those that all plans would have given."""
    whole = read_dataset("shapes", split) if split == "val" else ShapesDataset(20, split)
    expected = whole.select(classes, limit, with_others)
    plans = []

    def plan(rng, image_size):
        plans.append(image_size)
        return plan_scene(rng, image_size)

    monkeypatch.setattr(shapes, "plan_scene", plan)
    shapes.planned_boxes.cache_clear()
    found = open_dataset("shapes", split, classes, limit, with_others)
    assert len(plans) == planned
    assert found.images == expected.images and found.classes == expected.classes
    assert found.annotations.tobytes() == expected.annotations.tobytes()
    for index in range(limit):
        assert found.read(index).tobytes() == expected.read(index).tobytes()


def test_a_limit_beyond_the_set_is_the_set():
    assert len(open_dataset("shapes", "val", limit=10**6)) == 200
    with pytest.raises(UserError, match="limit must be at least 1"):
        open_dataset("shapes", "val", limit=-1)
