"""Real photographs and annotations, where they are at hand."""

import contextlib
import io

import numpy as np
import pytest
from small_data_set import real_data

from detector.datasets import Loader, TrainTransform, open_dataset
from detector.datasets.inspection import check_pictures, duplicate_pictures


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_coco_as_pycocotools_reads_it(split):
    from pycocotools.coco import COCO

    folder = real_data("coco-mini")
    dataset = open_dataset(folder, split)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(folder / "annotations" / f"instances_{split}.json"))
    assert dataset.category_ids == sorted(theirs.getCatIds()) and len(dataset.classes) == 80
    assert [record.id for record in dataset.images] == theirs.getImgIds()
    for index, record in enumerate(dataset.images):
        target = dataset.target(index)
        for key, crowd in (("boxes", False), ("ignore", True)):
            entries = theirs.loadAnns(theirs.getAnnIds(record.id, iscrowd=crowd))
            expected = np.array([entry["bbox"] for entry in entries]).reshape(-1, 4)
            expected[:, 2:] += expected[:, :2]
            np.testing.assert_allclose(target[key], expected, atol=0.02)
        entries = theirs.loadAnns(theirs.getAnnIds(record.id, iscrowd=False))
        names = [theirs.cats[entry["category_id"]]["name"] for entry in entries]
        assert [dataset.classes[label - 1] for label in target["labels"]] == names
    areas = {entry["id"]: entry["area"] for entry in theirs.dataset["annotations"]}
    ours = dataset.coco_ground_truth()["annotations"]
    assert {entry["id"]: entry["area"] for entry in ours} == areas


@pytest.mark.parametrize("name", ["coco-mini", "bccd"])
def test_all_pictures_decode_and_no_split_shows_another(name):
    folder = real_data(name)
    sets = {split: open_dataset(folder, split) for split in ("train", "val")}
    for dataset in sets.values():
        assert dataset.problems == [] and check_pictures(dataset) == []
    assert duplicate_pictures(sets) == []


def test_blood_cells():
    folder = real_data("bccd")
    train, val = open_dataset(folder, "train"), open_dataset(folder, "val")
    assert train.classes == val.classes and set(train.classes) == {"RBC", "WBC", "Platelets"}
    assert (len(train), len(train.annotations)) == (205, 2804)
    assert (len(val), len(val.annotations)) == (87, 1137)
    few = open_dataset(folder, "train", classes=["Platelets"], limit=8)
    batch = next(Loader(few, TrainTransform(240, 400), 8).epoch(0))
    assert [image.shape for image in batch.images] == [(240, 320, 3)] * 8
    assert all((target["labels"] == 1).all() for target in batch.targets)
