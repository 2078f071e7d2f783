"""Finding data sets: where pictures may be, how splits are named, what is said if nothing fits."""

import json
import shutil

import pytest
from field_cases import QUICK, check_data, complaint, field_case, run
from small_data_set import annotation, coco_document, voc_object, voc_xml, write_coco, write_voc

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
    with pytest.raises(UserError, match=r"instances_\*.json \(COCO\); .*xml \(VOC\).*globox"):
        open_dataset(tmp_path, "train")
    with pytest.raises(UserError, match="shapes has no split 'test'"):
        open_dataset("shapes", "test")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file holds no data set"):
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


# ------------------------------------------------- classes of one split only, and grouping ones


def with_categories(*categories, boxes=()):
    """``categories``: (id, name, supercategory); ``boxes``: of one category each."""
    return coco_document() | {
        "categories": [
            dict(zip(("id", "name", "supercategory"), c, strict=False)) for c in categories
        ],
        "annotations": [annotation(n, 50, c, [n, n, 20, 20]) for n, c in enumerate(boxes, start=1)],
    }


def two_splits(folder, train, val):
    write_coco(folder, train)
    return write_coco(folder, val, split="val")


@pytest.mark.parametrize(
    "val",
    [
        with_categories((1, "bolt"), boxes=[1]),
        with_categories((2, "bolt"), (1, "washer"), boxes=[2, 1]),
        with_categories((9, "washer"), boxes=[]),
    ],
    ids=["one", "other ids", "none"],
)
def test_a_class_that_one_split_does_not_list(capsys, tmp_path, val):
    train = with_categories((1, "bolt"), (2, "nut"), boxes=[1, 2])
    folder, out = two_splits(tmp_path / "data", train, val), tmp_path / "run"
    check_data(capsys, folder, *QUICK)
    code, _, errors = run(capsys, "train", "--data", folder, "--out", out, *QUICK)
    assert code == 0, errors
    code, text, errors = run(capsys, "evaluate", "--data", folder, "--weights", out)
    assert code == 0, errors
    (line,) = [line for line in text.splitlines() if line.startswith("nut")]
    assert line.split() == ["nut", "0", "-", "-", "-"]
    dataset = open_dataset(folder, "val", ["bolt", "nut"], with_others=True)
    assert dataset.classes == ["bolt", "nut"] and len(set(dataset.category_ids)) == 2
    expected = [entry["id"] for entry in val["categories"] if entry["name"] == "bolt"]
    assert not expected or dataset.category_ids[:1] == expected


def test_a_class_that_no_split_has(capsys, tmp_path):
    folder = two_splits(
        tmp_path, with_categories((1, "bolt"), boxes=[1]), with_categories((1, "nut"), boxes=[1])
    )
    with pytest.raises(UserError, match=r"no class 'bolts' \(did you mean 'bolt'\?\)"):
        open_dataset(folder, "train", ["bolts"])
    line = complaint(capsys, "train", "--data", folder, "--classes", "nut", "--out", tmp_path / "o")
    assert "train has no box of nut to learn from" in line


GROUPED = [
    ([(0, "parts", "none"), (1, "bolt", "parts"), (2, "nut", "parts")], [1, 2], ["bolt", "nut"]),
    ([(0, "bolt", "none"), (1, "bolt", "bolt")], [1], ["bolt"]),
    ([(5, "a", "b"), (3, "b", "c"), (4, "c", "")], [5], ["a"]),
    ([(1, "x"), (2, "x"), (3, "x")], [2], ["x"]),
    ([(1, "person", "person"), (2, "cat", "animal")], [2], ["person", "cat"]),
    ([(0, "parts", "none"), (1, "bolt", "parts")], [1, 0], ["parts", "bolt"]),
    ([(1, "car", {}), (2, "bus", ["car"])], [2], ["car", "bus"]),
]


@pytest.mark.parametrize(("categories", "boxes", "classes"), GROUPED, ids=range(len(GROUPED)))
def test_categories_that_only_group_others(tmp_path, categories, boxes, classes):
    dataset = open_dataset(write_coco(tmp_path, with_categories(*categories, boxes=boxes)), "train")
    assert dataset.classes == classes
    left_out = [problem for problem in dataset.problems if "(left out)" in problem.why]
    assert len(left_out) == len(categories) - len(classes)
    assert [dataset.classes[label - 1] for label in dataset.target(0)["labels"]] == [
        next(name for number, name, *_ in categories if number == box) for box in boxes
    ]


def test_a_box_in_another_split_keeps_the_category(tmp_path):
    categories = [(0, "parts", "none"), (1, "bolt", "parts")]
    folder = two_splits(
        tmp_path,
        with_categories(*categories, boxes=[1]),
        with_categories(*categories, boxes=[0]),
    )
    for split in ("train", "val"):
        assert open_dataset(folder, split).classes == ["parts", "bolt"]


def as_roboflow(folder, **counts):
    for split, boxes in counts.items():
        write_coco(folder / "coco", with_categories(*GROUPED[0][0], boxes=boxes), split=split)
        (folder / "coco" / split).rename(folder / split)
        source = folder / "coco" / "annotations" / f"instances_{split}.json"
        source.rename(folder / split / "_annotations.coco.json")
    shutil.rmtree(folder / "coco")
    return folder


def test_roboflows_download(tmp_path):
    folder = as_roboflow(tmp_path / "set", train=[1, 2], valid=[2], test=[1])
    (folder / "README.dataset.txt").touch()
    assert splits(folder) == ["test", "train", "valid"]
    for split in ("train", "val", "test"):
        dataset = open_dataset(folder, split)
        assert len(dataset) == 3 and dataset.classes == ["bolt", "nut"]
        assert dataset.load(0)[0].shape == (48, 64, 3)
    assert splits(as_roboflow(tmp_path / "one", train=[1])) == ["train"]
    assert splits(folder / "valid") == ["valid"]
    # The pictures of one split are not those of another.
    (folder / "train" / "b.png").unlink()
    with pytest.raises(UserError, match="train/b.png: no such file"):
        open_dataset(folder, "train", strict=True)


@pytest.mark.parametrize("name", ["default", "all", "my set"])
def test_an_only_split_of_any_name(capsys, tmp_path, name):
    folder, out = write_coco(tmp_path / "data", split=name), tmp_path / "run"
    assert f"no mistakes in {name}" in check_data(capsys, folder, *QUICK)
    code, _, errors = run(capsys, "train", "--data", folder, "--out", out, *QUICK)
    assert code == 0, errors
    line = complaint(capsys, "evaluate", "--data", folder, "--weights", out)
    assert f"no split 'val': it has {name}; choose one with --split" in line.replace(
        " (did you mean 'all'?)", ""
    )
    write_coco(folder, split="b")
    line = complaint(capsys, "train", "--data", folder, "--out", tmp_path / "two")
    assert "no split 'train'" in line and "choose one with --train" in line
    assert f"{name}: 3 boxes to " in check_data(capsys, folder)


def test_field_cases_02(capsys):
    for name in ("02-roboflow-as-downloaded", "02-roboflow-grouping-category"):
        folder = field_case(name)
        assert splits(folder) == ["test", "train", "valid"]
        assert open_dataset(folder, "train").classes == ["bolt", "nut"]
        assert "'parts' only groups others and has no box in any split" in check_data(
            capsys, folder
        )


def test_field_case_21(capsys, tmp_path):
    folder, out = field_case("21-class-missing-in-val"), tmp_path / "run"
    check_data(capsys, folder)
    assert run(capsys, "train", "--data", folder, "--out", out, *QUICK)[0] == 0
    assert json.loads((out / "evaluation.json").read_text())["classes"][1]["AP"] is None
