"""VOC's XML: coordinates, splits, and files that are wrong or made to do harm."""

import shutil

import numpy as np
import pytest
from field_cases import check_data, complaint, field_case
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data_set import picture, voc_object, voc_xml, write_voc

from detector.datasets import DatasetError, open_dataset, read_dataset, splits
from detector.datasets.problems import left_out
from detector.datasets.splitting import split_by_name
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
        open_dataset(tmp_path, "train", strict=True)
    message = str(caught.value)
    assert "3 mistakes" in message and "000077.xml" in message and "000001" in message
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("\n \n")
    with pytest.raises(UserError, match="val.txt names no image"):
        open_dataset(tmp_path, "val")


def test_no_pictures_at_all(tmp_path):
    write_voc(tmp_path, FILES, **SPLITS)
    shutil.rmtree(tmp_path / "JPEGImages")
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


# -------------------------------------------------------------- layouts that other tools write

CAT = voc_xml(voc_object("cat", (1, 1, 20, 20)))


def both(folder):
    """Every image of a folder without lists of splits."""
    sets = [open_dataset(folder, split) for split in splits(folder)]
    return sets, sorted(
        record.path.relative_to(folder).as_posix() for s in sets for record in s.images
    )


def put(folder, name, text=CAT, pictures="JPEGImages"):
    for place in ("Annotations", pictures):
        (folder / place / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / "Annotations" / f"{name}.xml").write_text(text)
    Image.fromarray(picture()).save(folder / pictures / f"{name}.jpg")


def test_folders_below_are_read_at_any_depth(tmp_path):
    names = ["top", "cam1/0001", "cam2/0001", "a/b/c/deep", "a/b/Größe 1"]
    for name in names:
        put(tmp_path, name)
    sets, found = both(tmp_path)
    assert found == sorted(f"JPEGImages/{name}.jpg" for name in names)
    assert len({record.id for s in sets for record in s.images}) == len(names)
    assert all(s.problems == [] for s in sets)
    only = tmp_path / "only"
    for name in names[1:]:
        put(only, name, pictures="images")
    assert len(both(only)[1]) == 4


def test_pictures_in_other_folders_than_their_xml(tmp_path):
    for name in ("x/1", "x/2", "y/3"):
        put(tmp_path, name)
    (tmp_path / "JPEGImages" / "x").rename(tmp_path / "JPEGImages" / "photos")
    assert both(tmp_path)[1] == [
        f"JPEGImages/{name}.jpg" for name in ("photos/1", "photos/2", "y/3")
    ]
    # Where another XML has the picture, it is not anybody's.
    put(tmp_path, "z/4", voc_xml(name="3.jpg"))
    (tmp_path / "JPEGImages" / "z" / "4.jpg").unlink()
    dataset = open_dataset(tmp_path, "train")
    assert "there is no image" in left_out(dataset.problems) and "z/4" in left_out(dataset.problems)


def test_suffixes_in_capitals(tmp_path):
    for name in "abc":
        put(tmp_path, name)
        (tmp_path / "Annotations" / f"{name}.xml").rename(tmp_path / "Annotations" / f"{name}.XML")
        (tmp_path / "JPEGImages" / f"{name}.jpg").rename(tmp_path / "JPEGImages" / f"{name}.JPEG")
    assert len(both(tmp_path)[1]) == 3


@pytest.mark.parametrize("flat", [True, False])
def test_xml_beside_pictures(tmp_path, flat):
    for number in range(10):
        name = f"{number}" if flat else f"cam{number % 2}/{number}"
        put(tmp_path / "set", name)
    shutil.copytree(tmp_path / "set" / "Annotations", tmp_path / "beside")
    shutil.copytree(tmp_path / "set" / "JPEGImages", tmp_path / "beside", dirs_exist_ok=True)
    assert splits(tmp_path / "beside") == ["train", "val"]
    assert len(both(tmp_path / "beside")[1]) == 10
    # Annotations may hold the pictures too.
    shutil.copytree(tmp_path / "beside", tmp_path / "third" / "Annotations")
    assert len(both(tmp_path / "third")[1]) == 10


def test_folders_called_like_splits_are_the_splits(tmp_path):
    for split, count in {"train": 4, "valid": 2, "test": 1}.items():
        for number in range(count):
            put(tmp_path, f"{split}/{number}.jpg.rf.{number}", pictures="Annotations")
    folder = tmp_path / "Annotations"
    assert splits(folder) == ["test", "train", "valid"]
    assert [len(open_dataset(folder, split)) for split in ("train", "val", "test")] == [4, 2, 1]


@pytest.mark.parametrize(("without", "of"), [(1, 3), (3, 5), (8, 9)])
def test_pictures_without_xml_are_counted(tmp_path, without, of):
    for number in range(of):
        put(tmp_path, f"{number}")
    for number in range(without):
        (tmp_path / "Annotations" / f"{number}.xml").unlink()
    sets, found = both(tmp_path)
    assert len(found) == of - without
    for dataset in sets:
        assert f"{without} of {of} pictures have no XML (left out" in str(dataset.problems[0])


def test_a_list_makes_a_picture_without_xml_a_negative(tmp_path):
    write_voc(tmp_path, dict.fromkeys("abcd", CAT), train=["a", "c", "b"], val=["d"])
    for name in "bc":
        (tmp_path / "Annotations" / f"{name}.xml").unlink()
    train = open_dataset(tmp_path, "train")
    assert [record.path.stem for record in train.images] == ["a", "b", "c"]
    assert [len(train.target(index)["boxes"]) for index in range(3)] == [1, 0, 0]
    assert "2 of its pictures have no XML (taken for" in str(train.problems[0])
    # No two images of a folder share their number.
    numbers = [record.id for record in train.images + open_dataset(tmp_path, "val").images]
    assert len(set(numbers)) == 4


LINES = [
    "{}",
    "{}.jpg",
    "{}.JPG",
    "{} 1",
    "{}  -1",
    "{}.jpg 1",
    "data/obj/{}.jpg",
    "JPEGImages\\{}",
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("names", [["a", "c"], ["0001", "000012"], ["two words", "x 1"]])
def test_lines_of_lists(tmp_path, line, names):
    write_voc(tmp_path, dict.fromkeys([*names, "other"], CAT), train=map(line.format, names))
    found = [record.path.stem for record in open_dataset(tmp_path, "train").images]
    assert found == sorted(names)


def test_two_pictures_are_one_split(tmp_path):
    write_voc(tmp_path, dict.fromkeys("ab", CAT))
    assert splits(tmp_path) == ["train"] and len(open_dataset(tmp_path, "train")) == 2


PARTS = [(0.1, 0.2, 0.4, 0.9), ("0.5", "0.5", "1", "1.0"), (0, 0, 0.25, 1)]


@pytest.mark.parametrize("more", [0, 2])
def test_parts_of_the_picture_are_named(tmp_path, more):
    text = voc_xml("".join(voc_object("cat", box) for box in [*PARTS, (9, 9, 20, 20)][: 3 + more]))
    write_voc(tmp_path, {"a": text}, train=["a"])
    with pytest.raises(DatasetError, match="are they parts of the picture"):
        open_dataset(tmp_path, "train")


def test_field_cases_10_and_11(capsys):
    text = check_data(capsys, field_case("10-xml-beside-pictures"))
    assert "no mistakes in train and val" in text and "train: 5 pictures" in text
    text = check_data(capsys, field_case("10-pictures-without-xml"))
    assert text.count("2 of 6 pictures have no XML (left out; a picture without objects") == 1
    text = check_data(capsys, field_case("11-xml-below-folders"))
    assert "train: 5 pictures" in text and "val: 1 pictures" in text


def test_field_case_16_parts(capsys):
    line = complaint(capsys, "train", "--data", field_case("16-boxes-as-parts-of-the-picture"))
    assert "are they parts of the picture? COCO's bbox is in pixels" in line
