"""Pictures that annotations name in the ways of many tools, and files that do not count."""

import json
import os
import unicodedata

import pytest
from field_cases import check_data, field_case
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data_set import (
    annotation,
    coco_document,
    picture,
    voc_object,
    voc_xml,
    write_coco,
    write_voc,
)

from detector.datasets import DatasetError, open_dataset, splits
from detector.datasets.files import files_below, files_in, folders_in, is_hidden
from detector.datasets.finding import PictureFinder, is_inside


def save(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed=seed)).save(path)


def named(tmp_path, *names):
    """A data set whose pictures are called so, of which nothing lies in its place yet."""
    document = coco_document()
    for entry, name in zip(document["images"], names, strict=False):
        entry["file_name"] = name
    write_coco(tmp_path, document)
    return tmp_path


WRITTEN = [
    ("train/a.png", "train/a.png"),
    ("images/train/a.png", "images/train/a.png"),
    ("./a.png", "train/a.png"),
    ("train\\a.png", "train/a.png"),
    ("data\\project\\train\\a.png", "train/a.png"),
    ("C:\\Users\\me\\train\\a.png", "train/a.png"),
    ("/home/me/my data/images/a.png", "images/a.png"),
    ("..\\..\\media\\upload\\a.png", "images/a.png"),
    ("../images/a.png", "images/a.png"),
    ("upload/17/a%20b%C3%A9.png", "images/a bé.png"),
    ("/data/local-files/?d=set/images/a.png", "images/a.png"),
    ("/data/local-files/?d=set%2Fimages%2Fa%20b.png", "images/a b.png"),
    ("https://example.org/bucket/a.png?token=x%2Fy", "images/deep/a.png"),
    ("file:///C:/a.png", "a.png"),
    ("s3://bucket/set/a.png", "images/a.png"),
    ("A.PNG", "train/a.png"),
    ("a%20b.png", "train/a%20b.png"),
    ("a\\b.png", "train/a\\b.png"),
    (
        unicodedata.normalize("NFC", "Größe.png"),
        "train/" + unicodedata.normalize("NFD", "Größe.png"),
    ),
    (unicodedata.normalize("NFD", "が.png"), "train/" + unicodedata.normalize("NFC", "が.png")),
]


@pytest.mark.parametrize(("name", "place"), WRITTEN, ids=range(len(WRITTEN)))
def test_names_as_tools_write_them(tmp_path, name, place):
    named(tmp_path, name)
    (tmp_path / "train" / "a.png").unlink()
    save(tmp_path / place)
    dataset = open_dataset(tmp_path, "train")
    assert dataset.images[0].path == tmp_path / place
    # The others are where they were: each entry is decided by itself.
    assert dataset.images[1].path == tmp_path / "train" / "b.png"


@settings(max_examples=60, deadline=None)
@given(
    front=st.lists(
        st.sampled_from(["images", "train", "x y", "..", "C:", "日本", "é", "data"]), max_size=4
    ),
    last=st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\?%:"),
        min_size=1,
        max_size=8,
    ),
    separator=st.sampled_from("/\\"),
)
@example(["..", ".."], "a", "\\")
def test_the_only_picture_of_a_name_is_found_and_nothing_outside(
    tmp_path_factory, front, last, separator
):
    assume(not is_hidden(last) and len(last.encode()) < 200)
    root = tmp_path_factory.mktemp("find")
    (root / "outside").mkdir()
    folder = root / "data"
    save(folder / "pictures" / f"{last}.png")
    name = separator.join([*front, f"{last}.png"])
    finder = PictureFinder(folder, [folder / "images"])
    (found,), guessed = finder.find([name])
    assert found == folder / "pictures" / f"{last}.png" and guessed == {name: found}
    # The same picture beside the data folder is not.
    found.rename(root / "outside" / f"{last}.png")
    for try_name in (name, f"../outside/{last}.png", str(root / "outside" / f"{last}.png")):
        assert PictureFinder(folder, [folder / "images"]).find([try_name]) == ([None], {})


@given(st.text(max_size=12))
def test_what_is_inside_stays_inside(name):
    if is_inside(name):
        assert os.path.normpath(os.path.join("/data/x", name)).startswith("/data/x")


def test_two_candidates_are_none(tmp_path):
    named(tmp_path, "deep/a.png")
    save(tmp_path / "one" / "a.png")
    save(tmp_path / "two" / "a.png")
    (tmp_path / "train" / "a.png").unlink()
    with pytest.raises(DatasetError, match="holds one/a.png and two/a.png, and nothing says"):
        open_dataset(tmp_path, "train", strict=True)
    # A folder more decides.
    named(tmp_path / "more", "x/two/a.png")
    save(tmp_path / "more" / "two" / "a.png")
    save(tmp_path / "more" / "three" / "a.png")
    found = open_dataset(tmp_path / "more", "train").images[0].path
    assert found == tmp_path / "more" / "two" / "a.png"


@pytest.mark.parametrize(
    "names", [["cam1/1.png", "cam2/1.png"], ["x/1.png", "y/1.png", "cam2/1.png"]]
)
def test_the_picture_of_another_entry_is_not_taken(tmp_path, names):
    folder = named(tmp_path, *names)
    save(folder / "train" / "cam2" / "1.png")
    with pytest.raises(DatasetError) as caught:
        open_dataset(folder, "train", strict=True)
    assert len(caught.value.problems) == len(names) - 1
    assert "nothing says that one of them is meant" in str(caught.value)


def test_pictures_of_another_split_are_not_taken(tmp_path):
    write_coco(tmp_path, split="train")
    write_coco(tmp_path, split="val")
    (tmp_path / "train" / "b.png").unlink()
    with pytest.raises(DatasetError, match="train/b.png: no such file"):
        open_dataset(tmp_path, "train", strict=True)
    document = coco_document()
    document["images"][1]["file_name"] = "val/b.png"
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(document))
    assert open_dataset(tmp_path, "train").images[1].path == tmp_path / "val" / "b.png"


def test_guesses_are_said(tmp_path):
    folder = named(tmp_path, "/home/me/a.png", "D:\\b.png")
    (problem,) = open_dataset(folder, "train").problems
    assert "2 file names do not lead to their pictures" in problem.why and not problem.fatal
    assert "'/home/me/a.png' is taken for" in problem.why


def test_a_missing_first_picture_does_not_decide_for_the_others(tmp_path):
    folder = named(tmp_path, "gone.png")
    (folder / "train").rename(folder / "images")
    (folder / "train").mkdir()
    with pytest.raises(DatasetError) as caught:
        open_dataset(folder, "train", strict=True)
    (problem,) = caught.value.problems
    assert "no picture below" in problem.why and "is called gone.png: put it there" in problem.why


# ------------------------------------------------------------------------ files that do not count


def test_hidden_files_do_not_count(tmp_path):
    names = "b.JPG a.png ._a.png .DS_Store c.txt x/d.png x/._d.png y/.git/e.png __MACOSX/a.png"
    for name in (*names.split(), ".ipynb_checkpoints/a-checkpoint.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    suffixes = (".jpg", ".png")
    assert files_in(tmp_path, suffixes) == [tmp_path / "a.png", tmp_path / "b.JPG"]
    assert folders_in(tmp_path) == [tmp_path / "x", tmp_path / "y"]
    assert files_below(tmp_path, suffixes) == [
        tmp_path / "a.png", tmp_path / "b.JPG", tmp_path / "x" / "d.png"
    ]  # fmt: skip
    assert files_in(tmp_path / "none", suffixes) == files_below(tmp_path / "a.png", suffixes) == []


def test_links_are_followed_once(tmp_path):
    (tmp_path / "data" / "real").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    for path in (tmp_path / "data" / "real" / "a.png", tmp_path / "other" / "b.png"):
        path.touch()
    for link, target in {"0": "real", "up": ".", "far": "../other", "again": "../other"}.items():
        (tmp_path / "data" / link).symlink_to(target)
    (tmp_path / "data" / "loop.png").symlink_to("loop.png")
    found = [
        path.relative_to(tmp_path / "data").as_posix()
        for path in files_below(tmp_path / "data", (".png",))
    ]
    assert found == ["again/b.png", "loop.png", "real/a.png"]


def test_copies_of_a_mac_and_of_notebooks_beside_the_data(tmp_path):
    files = {name: voc_xml(voc_object("cat", (1, 1, 20, 20))) for name in "abcdef"}
    write_voc(tmp_path, files)
    for name in files:
        (tmp_path / "Annotations" / f"._{name}.xml").write_bytes(b"\0\5\x16\7")
        (tmp_path / "JPEGImages" / f"._{name}.jpg").write_bytes(b"\0\5\x16\7")
    (tmp_path / "Annotations" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "Annotations" / ".ipynb_checkpoints" / "a-checkpoint.xml").write_text("<a>")
    train, val = (open_dataset(tmp_path, split) for split in ("train", "val"))
    assert len(train) + len(val) == 6 and train.problems == val.problems == []
    coco = write_coco(tmp_path / "coco")
    (coco / "annotations" / "._instances_train.json").write_bytes(b"\0\5\x16\7")
    assert splits(coco) == ["train"]


def test_field_cases_03_and_10(capsys):
    assert "no mistakes in train" in check_data(capsys, field_case("03-folder-in-file-name"))
    assert "no mistakes in train and val" in check_data(capsys, field_case("10-apple-double"))


def test_annotations_go_to_the_pictures_that_were_found(tmp_path):
    """Names with folders and without, shuffled: every box lies in the picture of its entry."""
    document = {"images": [], "categories": [{"id": 1, "name": "x"}], "annotations": []}
    for number in range(1, 13):
        place = ["train", "images", "photos/deep"][number % 3]
        save(tmp_path / place / f"{number:02d}.png", seed=number)
        front = ["", "C:\\data\\", "/root/"][number // 3 % 3]
        document["images"].append({"id": number, "file_name": f"{front}{number:02d}.png"})
        document["annotations"].append(annotation(number, number, 1, [number, 1, 9, 9]))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train.json").write_text(json.dumps(document))
    dataset = open_dataset(tmp_path, "train")
    for index, record in enumerate(dataset.images):
        assert record.path.stem == f"{record.id:02d}" and (record.width, record.height) == (64, 48)
        assert dataset.target(index)["boxes"][0, 0] == record.id
