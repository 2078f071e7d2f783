"""Numbers as other programs write them, and messages that show them as they are written."""

import json

import pytest
from field_cases import check_data, field_case
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data_set import annotation, coco_document, voc_object, voc_xml, write_coco, write_voc

from detector.datasets import DatasetError, open_dataset
from detector.datasets.numbers import to_number, to_whole
from detector.datasets.problems import shorten


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", " {} ", "{}.0", "{}.", "{}e0", "+{}"]))
def test_whole_numbers_however_written(number, form):
    text = form.format(number).replace("+-", "-")
    assert to_whole(text) == number and type(to_whole(text)) is int
    assert to_whole(float(number)) == to_number(number) == number


@given(st.floats(-1e9, 1e9, allow_nan=False))
def test_numbers_survive_being_written(number):
    assert to_number(repr(number)) == to_number(f"  {number!r}\n") == to_number(number) == number


@pytest.mark.parametrize(
    "value",
    [None, True, False, "", " ", "one", "1,5", "1_0", "١٢", "0x10", "nan", "inf", "--1", "1 2", [1],
     {}, float("nan"), float("inf"), 1e10, "1e10", 10**400, "9" * 5000, "1e999", "\ud800"],
)  # fmt: skip
def test_what_is_no_number(value):
    assert to_number(value) is None


def test_whole_numbers_only():
    assert to_whole(1.5) is to_whole("1.5") is to_whole(2**70) is to_whole("1e300") is None
    assert to_whole(2**62) == 2**62 and to_whole("-0") == 0


def change_every_number(value, change):
    if isinstance(value, dict):
        return {key: change_every_number(inner, change) for key, inner in value.items()}
    if isinstance(value, list):
        return [change_every_number(inner, change) for inner in value]
    return value if isinstance(value, str) else change(value)


@pytest.mark.parametrize("change", [float, str, lambda n: f"{float(n)}", lambda n: f" {n} "])
def test_a_file_of_other_numbers_is_the_same_data_set(tmp_path, change):
    document = coco_document()
    expected = open_dataset(write_coco(tmp_path / "plain", document), "train").coco_ground_truth()
    other = write_coco(tmp_path / "other", change_every_number(document, change))
    dataset = open_dataset(other, "train")
    assert dataset.coco_ground_truth() == expected and dataset.problems == []
    assert dataset.load(0)[0].shape == (48, 64, 3)


@pytest.mark.parametrize("size", [{}, {"width": None, "height": None}, {"width": 0, "height": "0"}])
def test_missing_sizes_are_looked_up(tmp_path, size):
    document = coco_document()
    for entry in document["images"]:
        del entry["width"], entry["height"]
        entry.update(size)
    dataset = open_dataset(write_coco(tmp_path, document), "train")
    assert {(record.width, record.height) for record in dataset.images} == {(64, 48)}
    assert dataset.problems == []


def test_a_missing_picture_without_a_size_is_one_mistake(tmp_path):
    document = coco_document()
    document["images"][1] = {"id": 7, "file_name": "gone.png"}
    with pytest.raises(DatasetError) as caught:
        open_dataset(write_coco(tmp_path, document), "train", strict=True)
    (problem,) = caught.value.problems
    assert "gone.png" in str(problem)


def test_null_areas_and_flags_and_no_ids(tmp_path):
    document = coco_document()
    document["annotations"] = [
        {"image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20], "area": None, "iscrowd": None},
        annotation("7f3a", 7, 3, [5, 2, 10, 20], iscrowd=False),
        annotation(2, 7, 17, [1, 2, 10, 20], iscrowd="1", area="12.5"),
        annotation(None, 7, 17, [1, 2, 10, 20], iscrowd=True),
        annotation(2**90, 50, 17, [1, 2, 10, 20], iscrowd=0.0),
    ]
    dataset = open_dataset(write_coco(tmp_path, document), "train")
    truth = dataset.coco_ground_truth()["annotations"]
    assert sorted(entry["id"] for entry in truth) == [2, 3, 4, 5, 6]
    assert sorted(entry["area"] for entry in truth) == [12.5, 200, 200, 200, 200]
    assert sum(entry["iscrowd"] for entry in truth) == 2 and dataset.problems == []


@settings(max_examples=40)
@given(st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9))
def test_a_message_shows_a_number_as_it_is(number):
    assert json.loads(shorten(number)) == number
    assert type(json.loads(shorten(number))) is type(number)


@pytest.mark.parametrize(("width", "shown"), [(128.5, "128.5"), (-3.0, "-3.0"), ("12x", '"12x"')])
def test_a_refused_number_is_shown_as_written(tmp_path, width, shown):
    document = coco_document()
    document["images"][0]["width"] = width
    with pytest.raises(DatasetError, match=f"1 or more, not {shown}"):
        open_dataset(write_coco(tmp_path, document), "train")


def test_numbers_in_xml(tmp_path):
    size = "<size><width> 64.0 </width><height>48.</height></size>"
    objects = voc_object("cat", ("3.0", " 4 ", "1e1", "+12"), difficult="0.0")
    objects += voc_object("cat", (3, 4, 10, 12), difficult=" 1 ")
    write_voc(tmp_path, {"a": voc_xml(objects, size)}, train=["a"])
    target = open_dataset(tmp_path, "train").target(0)
    assert target["boxes"].tolist() == target["ignore"].tolist() == [[2, 3, 10, 12]]


def test_field_case_08(capsys):
    assert "no mistakes in train" in check_data(capsys, field_case("08-sizes-as-128.0"))
