"""Finding data sets: where pictures may be, how splits are named, what is said if nothing fits."""

import shutil

import pytest
from small_data_set import coco_document, voc_object, voc_xml, write_coco, write_voc

from detector.datasets import open_dataset, splits
from detector.datasets.layout import find_split
from detector.errors import UserError
from nn.table import did_you_mean


@pytest.mark.parametrize("place", ["train2017", "images/train2017", "images", "JPEGImages"])
def test_where_pictures_may_be(tmp_path, place):
    write_coco(tmp_path, split="train2017")
    if place != "train2017":
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / "train2017").rename(tmp_path / place)
    dataset = open_dataset(str(tmp_path), "train")
    assert dataset.images[0].path == tmp_path / place / "a.png"
    assert dataset.load(0)[0].shape == (48, 64, 3)


def test_the_folder_that_has_the_pictures_counts(tmp_path):
    write_coco(tmp_path)
    shutil.move(tmp_path / "train", tmp_path / "images")
    (tmp_path / "train").mkdir()
    assert open_dataset(tmp_path, "train").images[0].path.parent == tmp_path / "images"


def test_pictures_in_subfolders(tmp_path):
    document = coco_document()
    document["images"][0]["file_name"] = "deep/er/a.png"
    document["images"][1]["file_name"] = "deep\\er\\b.png"  # a file written on Windows
    write_coco(tmp_path, document)
    (tmp_path / "train" / "deep" / "er").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (tmp_path / "train" / name).rename(tmp_path / "train" / "deep" / "er" / name)
    assert open_dataset(tmp_path, "train").load(1)[0].shape == (48, 64, 3)


def test_no_folder_of_pictures(tmp_path):
    write_coco(tmp_path)
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(UserError, match="looked for a folder .*train, .*images"):
        open_dataset(tmp_path, "train")


def test_split_names():
    known = ["train2014", "train2017", "val2017"]
    assert find_split("val2017", known, "d") == "val2017"
    assert find_split("val", known, "d") == "val2017"
    with pytest.raises(UserError, match="several splits 'train': choose train2014 or train2017"):
        find_split("train", known, "d")
    with pytest.raises(
        UserError, match=r"no split 'vall2017' \(did you mean 'val2017'\?\): it has"
    ):
        find_split("vall2017", known, "d")
    with pytest.raises(UserError, match="no split ''"):
        find_split("", known, "d")
    assert find_split("train", ["train", "train2017"], "d") == "train"


def test_nothing_that_fits(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*none: --data takes a folder"):
        open_dataset(tmp_path / "none", "train")
    with pytest.raises(UserError, match=r"did you mean 'shapes'\?"):
        open_dataset("shpes", "train")
    with pytest.raises(UserError, match=r"instances_\*.json \(COCO\) and .*xml \(VOC\)"):
        open_dataset(tmp_path, "train")
    with pytest.raises(UserError, match="shapes has no split 'test'"):
        open_dataset("shapes", "test")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no folder"):
        open_dataset(tmp_path / "file", "train")


def test_both_layouts(tmp_path):
    write_voc(tmp_path / "voc", {"a": voc_xml(voc_object("cat", (1, 1, 9, 9)))}, test=["a"])
    assert splits(tmp_path / "voc") == ["test"]
    write_coco(tmp_path / "coco", split="b")
    write_coco(tmp_path / "coco", split="a")
    assert splits(tmp_path / "coco") == ["a", "b"]
    assert splits("shapes") == ["train", "val"]


def test_a_selection_without_images(tmp_path):
    document = coco_document()
    document["categories"].append({"id": 91, "name": "gnu"})
    document["images"].pop()
    write_coco(tmp_path, document)
    with pytest.raises(UserError, match="no image to offer"):
        open_dataset(tmp_path, "train", classes=["gnu"])


def test_a_data_set_without_classes(tmp_path):
    with pytest.raises(UserError, match="no class to offer"):
        open_dataset(write_voc(tmp_path, {"a": voc_xml()}, train=["a"]), "train")


def test_hints():
    assert did_you_mean("Zbera", ["cat", "Zebra"]) == " (did you mean 'Zebra'?)"
    assert did_you_mean("RBC", ["rbc"]) == " (did you mean 'rbc'?)"
    assert did_you_mean("house", ["cat", "zebra"]) == ""
    assert did_you_mean("x", []) == ""
