"""VOC's XML: coordinates, splits, and files that are wrong or made to do harm."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data_set import picture, voc_object, voc_xml, write_voc

from detector.datasets import DatasetError, open_dataset, read_dataset, splits
from detector.datasets.voc import split_by_name
from detector.datasets.xml_file import parse_xml
from detector.errors import UserError

FILES = {
    "000001": voc_xml(voc_object("dog", (1, 1, 64, 48)) + voc_object("cat", (11, 21, 20, 22))),
    "000002": voc_xml(voc_object("cat", (5, 6, 7, 8), difficult=1)),
    "000005": voc_xml(),
    "000009": voc_xml(voc_object("ant", ("3.5", " 4 ", "10.25", "12"), difficult=0)),
}
SPLITS = {"train": ["000001", "000005"], "val": ["000009"], "trainval": ["000001"]}


def test_pixels_count_from_one_and_include_their_last(tmp_path):
    write_voc(tmp_path, FILES, **SPLITS)
    train = open_dataset(tmp_path, "train")
    # The classes are those of the whole folder, so that all splits agree.
    assert train.classes == ["ant", "cat", "dog"] and train.category_ids == [1, 2, 3]
    assert [record.id for record in train.images] == [1, 3]
    image, target = train.load(0)
    assert image.shape == (48, 64, 3)
    assert target["boxes"].tolist() == [[0, 0, 64, 48], [10, 20, 20, 22]]
    assert target["labels"].tolist() == [3, 2]
    assert len(train.target(1)["boxes"]) == 0 and train.problems == []
    val = open_dataset(tmp_path, "val")
    assert val.classes == train.classes
    assert val.target(0)["boxes"].tolist() == [[2.5, 3, 10.25, 12]]
    assert val.coco_ground_truth()["annotations"][0]["bbox"] == [2.5, 3, 7.75, 9]


def test_difficult_objects_are_ignored_not_learned(tmp_path):
    write_voc(tmp_path, FILES, train=["000002"])
    dataset = open_dataset(tmp_path, "train")
    assert len(dataset.target(0)["boxes"]) == 0
    assert dataset.target(0)["ignore"].tolist() == [[4, 5, 7, 8]]
    assert dataset.coco_ground_truth()["annotations"][0]["iscrowd"] == 1


def test_split_names(tmp_path):
    write_voc(tmp_path, FILES, **SPLITS, cat_train=["000001 1"], my_own=["000001"])
    assert splits(tmp_path) == ["my_own", "train", "trainval", "val"]
    assert len(open_dataset(tmp_path, "trainval")) == 1
    with pytest.raises(UserError, match=r"no split 'vla' \(did you mean 'val'\?\): it has my_own,"):
        open_dataset(tmp_path, "vla")


def test_without_lists_the_split_is_fixed_by_the_names(tmp_path):
    names = [f"{n:03d}" for n in range(20)]
    write_voc(tmp_path, {name: voc_xml(voc_object("a", (1, 1, 9, 9))) for name in names})
    train, val = open_dataset(tmp_path, "train"), open_dataset(tmp_path, "val")
    assert (len(train), len(val)) == (16, 4)
    together = sorted(record.path.stem for record in train.images + val.images)
    assert together == names
    assert [r.id for r in train.images] == [int(r.path.stem) + 1 for r in train.images]


@given(st.sets(st.text(min_size=1, max_size=6), max_size=40), st.text(min_size=1, max_size=6))
def test_a_new_image_moves_at_most_one_other(names, new):
    before, after = split_by_name(sorted(names)), split_by_name(sorted(names | {new}))
    assert sorted(before["train"] + before["val"]) == sorted(names)
    moved = set(before["train"]) & set(after["val"]) | set(before["val"]) & set(after["train"])
    assert len(moved) <= 1


def test_images_folder_other_suffixes_and_missing_sizes(tmp_path):
    write_voc(tmp_path, FILES, train=list(FILES))
    (tmp_path / "JPEGImages").rename(tmp_path / "images")
    (tmp_path / "images" / "000005.jpg").unlink()
    Image.fromarray(picture(30, 20)).save(tmp_path / "images" / "other.PNG")
    for size in ("", "<size><width>0</width><height>0</height></size>"):
        text = voc_xml(voc_object("cat", (1, 1, 30, 20)), size, name="other.PNG")
        (tmp_path / "Annotations" / "000005.xml").write_text(text)
        record = open_dataset(tmp_path, "train").images[2]
        assert (record.width, record.height, record.path.name) == (30, 20, "other.PNG")


BAD = {
    "broken": ("<annotation>", "not well-formed XML"),
    "empty": ("", "not well-formed XML"),
    "bomb": (
        '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotation>&y;</annotation>',
        "declares a document type",
    ),
    "outside": (
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>',
        "declares a document type",
    ),
    "deep": ("<a>" * 100_000, "nested more than 50 deep"),
    "entity": ("<annotation>&x;</annotation>", "not well-formed XML"),
    "text": (voc_xml(voc_object("cat", ("one", 2, 3, 4))), "object 1 (cat), box [one, 2, 3, 4]"),
    "nan": (voc_xml(voc_object("cat", ("nan", 2, 3, 4))), "four finite numbers"),
    "infinity": (voc_xml(voc_object("cat", ("1e999", 2, 3, 4))), "four finite numbers"),
    "negative": (voc_xml(voc_object("cat", (20, 2, 3, 4))), "width is negative"),
    "no box": (voc_xml("<object><name>cat</name></object>"), "object 1 (cat), box [None"),
    "no name": (voc_xml("<object/>"), "the name of its class is missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named(tmp_path, case):
    text, reason = BAD[case]
    write_voc(tmp_path, FILES | {"bad": text}, train=[*FILES, "bad"])
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path, "train")
    message = str(caught.value)
    assert "bad.xml" in message and reason in message and "\n" not in message
    # The other files are still read, and so are the other splits.
    assert len(read_dataset(tmp_path, "train")) >= 4


def test_boxes_that_are_mended(tmp_path):
    boxes = [(0, 0, 64, 48), (-9, 1, 20, 20), (10, 10, 9, 20), (80, 1, 90, 9)]
    text = voc_xml("".join(voc_object("cat", box) for box in boxes))
    write_voc(tmp_path, {"a": text}, train=["a"])
    dataset = open_dataset(tmp_path, "train")
    assert dataset.target(0)["boxes"].tolist() == [[0, 0, 64, 48], [0, 0, 20, 20]]
    reasons = [problem.why for problem in dataset.problems]
    assert len(reasons) == 3 and not any(problem.fatal for problem in dataset.problems)
    assert ["clipped" in why for why in reasons] == [True, False, False]


def test_a_crowded_picture(tmp_path):
    objects = "".join(voc_object("cat", (n % 60 + 1, 1, n % 60 + 4, 9)) for n in range(200))
    write_voc(tmp_path, {"a": voc_xml(objects)}, train=["a"])
    assert len(open_dataset(tmp_path, "train").target(0)["boxes"]) == 200


def test_lists_and_pictures_that_do_not_match(tmp_path):
    write_voc(tmp_path, FILES, train=["000001", "000077", "../../etc/passwd"])
    (tmp_path / "JPEGImages" / "000001.jpg").unlink()
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path, "train")
    message = str(caught.value)
    assert "3 mistakes" in message and "000077.xml" in message and "000001" in message
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("\n \n")
    with pytest.raises(UserError, match="val.txt names no image"):
        open_dataset(tmp_path, "val")


def test_no_pictures_at_all(tmp_path):
    write_voc(tmp_path, FILES, **SPLITS)
    (tmp_path / "JPEGImages").rename(tmp_path / "Pictures")
    with pytest.raises(UserError, match="JPEGImages or .*images"):
        open_dataset(tmp_path, "train")


def test_namesakes_outside_the_folder_are_not_read(tmp_path):
    outside = tmp_path / "secret.jpg"
    Image.fromarray(picture()).save(outside)
    text = voc_xml(voc_object("cat", (1, 1, 9, 9)), name="../../secret.jpg")
    write_voc(tmp_path / "data", {"a": text}, train=["a"])
    (tmp_path / "data" / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(DatasetError, match="there is no image"):
        open_dataset(tmp_path / "data", "train")


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="<>/&;!?[]=\"' abx\n", max_size=60))
def test_any_text_is_parsed_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("xml") / "a.xml"
    path.write_text(text)
    try:
        root = parse_xml(path)
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(root.tag, str)


def test_the_parser_agrees_with_the_standard_one(tmp_path):
    from xml.etree import ElementTree

    path = tmp_path / "a.xml"
    path.write_text(FILES["000001"].replace("<object>", "<object>\n <!-- x --><part a='1'/>ü"))
    ours, theirs = parse_xml(path), ElementTree.parse(path).getroot()
    assert ElementTree.tostring(ours) == ElementTree.tostring(theirs)
    assert np.allclose([float(e.text) for e in ours.iter("xmax")], [64, 20])


def test_not_one_sound_file(tmp_path):
    write_voc(tmp_path, {"a": "<a>", "b": "<b>"}, train=["a", "b"])
    with pytest.raises(DatasetError, match="2 mistakes"):
        open_dataset(tmp_path, "train")
