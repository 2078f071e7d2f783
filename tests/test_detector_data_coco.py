"""COCO's JSON: what is read, and that every mistake in it is named."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_data_set import annotation, coco_document, write_coco

from detector.datasets import DatasetError, coco, open_dataset, read_dataset
from detector.datasets.box_checks import check_box
from detector.datasets.problems import warning
from detector.errors import UserError


def test_a_sound_file(tmp_path):
    dataset = open_dataset(write_coco(tmp_path), "train")
    assert dataset.problems == []
    # Labels follow the category ids, images the file.
    assert dataset.category_ids == [3, 17, 90] and dataset.classes == ["cat", "dog", "zebra"]
    assert [record.id for record in dataset.images] == [50, 7, 9]
    image, target = dataset.load(1)
    assert image.shape == (48, 64, 3) and target["image_id"] == 7
    assert target["boxes"].tolist() == [[4.5, 5, 14.5, 25], [30, 10, 38.25, 19]]
    assert target["labels"].tolist() == [1, 2]
    assert target["ignore"].tolist() == [[20, 0, 60, 48]]
    empty = dataset.load(2)[1]
    assert empty["boxes"].shape == (0, 4) and empty["boxes"].dtype == np.float32
    assert empty["labels"].shape == (0,) and empty["labels"].dtype == np.int64


def test_the_ground_truth_goes_round(tmp_path):
    document = coco_document()
    truth = open_dataset(write_coco(tmp_path), "train").coco_ground_truth()
    assert truth["images"] == document["images"]
    assert truth["categories"] == sorted(document["categories"], key=lambda c: c["id"])
    found = {entry["id"]: entry for entry in truth["annotations"]}
    for entry in document["annotations"]:
        x, y, width, height = entry["bbox"]
        expected = {"area": width * height, "iscrowd": 0, **entry}
        assert found[entry["id"]] == expected
    json.dumps(truth)


def test_the_ground_truth_is_what_pycocotools_reads(tmp_path):
    from pycocotools.coco import COCO

    path = write_coco(tmp_path) / "annotations" / "instances_train.json"
    with contextlib.redirect_stdout(io.StringIO()):
        theirs, ours = COCO(str(path)), COCO()
        ours.dataset = open_dataset(tmp_path, "train").coco_ground_truth()
        ours.createIndex()
    assert ours.getImgIds() == theirs.getImgIds()
    assert sorted(ours.getCatIds()) == sorted(theirs.getCatIds())
    for crowd in (0, 1):
        for area in ((0, 100), (0, 1e9)):
            options = {"iscrowd": crowd, "areaRng": area}
            with_areas = copy.deepcopy(theirs)
            for entry in with_areas.dataset["annotations"]:
                entry.setdefault("area", entry["bbox"][2] * entry["bbox"][3])
                entry.setdefault("iscrowd", 0)
            assert sorted(ours.getAnnIds(**options)) == sorted(with_areas.getAnnIds(**options))


def test_classes_come_in_the_order_asked_for(tmp_path):
    write_coco(tmp_path)
    dataset = open_dataset(tmp_path, "train", classes=["zebra", "cat"])
    assert (dataset.classes, dataset.category_ids) == (["zebra", "cat"], [90, 3])
    assert [record.id for record in dataset.images] == [50, 7, 9]
    assert dataset.target(0)["labels"].tolist() == [1]
    assert dataset.target(1)["labels"].tolist() == [2] and len(dataset.target(1)["ignore"]) == 1
    # An image of other classes only goes, one that is empty stays.
    dogs = open_dataset(tmp_path, "train", classes=["dog"])
    assert [record.id for record in dogs.images] == [7, 9]
    assert dogs.target(0)["boxes"].tolist() == [[30, 10, 38.25, 19]]
    assert len(dogs.target(0)["ignore"]) == 0
    assert [entry["id"] for entry in dogs.coco_ground_truth()["annotations"]] == [104]


def test_limits_count_after_the_class_filter(tmp_path):
    write_coco(tmp_path)
    for limit, ids in ((1, [50]), (2, [50, 7]), (99, [50, 7, 9])):
        part = open_dataset(tmp_path, "train", limit=limit)
        assert [record.id for record in part.images] == ids
    dogs = open_dataset(tmp_path, "train", classes=["dog"], limit=1)
    assert [record.id for record in dogs.images] == [7]
    assert {entry["image_id"] for entry in dogs.coco_ground_truth()["annotations"]} == {7}
    with pytest.raises(UserError, match="at least 1"):
        open_dataset(tmp_path, "train", limit=0)


def test_unknown_classes_suggest_the_nearest(tmp_path):
    write_coco(tmp_path)
    with pytest.raises(
        UserError, match=r"no class 'zbra' \(did you mean 'zebra'\?\): it has cat, "
    ):
        open_dataset(tmp_path, "train", classes=["cat", "zbra"])
    with pytest.raises(UserError, match="'cat' is named twice"):
        open_dataset(tmp_path, "train", classes=["cat", "cat"])


# ---------------------------------------------------------------------------------- broken files


def broken(change):
    """The sound document after ``change(document)``."""
    document = coco_document()
    change(document)
    return document


def refusal(tmp_path, document) -> UserError:
    with pytest.raises(UserError) as caught:
        open_dataset(write_coco(tmp_path, document), "train")
    assert "instances_train.json" in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not valid JSON"),
        (b'{"images": [', "not valid JSON"),
        (b'\xff\xfe{"images"', "not valid JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'{"images": ' + b"9" * 50_000 + b"}", "not"),
        (b"[1, 2]", "must be an object, not a list"),
        (b"null", "must be an object, not null"),
        (b'{"categories": [], "images": []}', "the list 'categories' is empty"),
        (b'{"images": [1], "categories": [1]}', "the key 'annotations' is missing"),
        (b'{"images": {}, "annotations": [], "categories": [1]}', "'images' must be a list"),
    ],
    ids=range(11),
)
def test_files_that_are_no_coco_json(tmp_path, text, reason):
    error = refusal(tmp_path, text)
    assert reason in str(error) and "\n" not in str(error) and len(str(error)) < 500


@pytest.mark.parametrize("depth", [10, 400, 900, 960, 980, 990, 2000, 50_000])
def test_a_deeply_nested_field(tmp_path, depth):
    text = json.dumps(broken(set_box(1, 2, "deep", 4))).replace('"deep"', "[" * depth + "]" * depth)
    error = refusal(tmp_path, text.encode())
    assert "nested" in str(error) or "not [1, 2, a list, 4]" in str(error)


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    text = json.dumps(coco_document()).encode("utf-8-sig")
    assert len(open_dataset(write_coco(tmp_path, text), "train")) == 3


def test_huge_files_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(coco, "MAX_BYTES", 100)
    assert "GiB large" in str(refusal(tmp_path, coco_document()))


def set_box(*box):
    return lambda d: d["annotations"][0].update(bbox=list(box))


BAD = {
    "no id": (lambda d: d["images"][2].pop("id"), "image number 3 of the list", "'id'"),
    "no box": (lambda d: d["annotations"][0].pop("bbox"), "annotation 101", "'bbox' is missing"),
    "no size": (lambda d: d["images"][1].update(width="wide"), "image 7", "'width' must be"),
    "no name": (lambda d: d["categories"][2].pop("name"), "category 17", "'name' is missing"),
    "nan": (set_box(1, 2, float("nan"), 4), "annotation 101", "not [1, 2, nan, 4]"),
    "infinity": (set_box(1, 2, float("inf"), 4), "annotation 101", "not [1, 2, inf, 4]"),
    "overflow": (set_box(1, 2, 10**400, 4), "annotation 101", "four finite numbers"),
    "text": (set_box(1, 2, "3px", 4), "annotation 101", 'not [1, 2, "3px", 4]'),
    "truth": (set_box(1, 2, True, 4), "annotation 101", "four finite numbers"),
    "three": (set_box(1, 2, 3), "annotation 101", "[1, 2, 3]"),
    "null": (lambda d: d["annotations"][0].update(bbox=None), "annotation 101", "not null"),
    "negative width": (
        set_box(9, 2, -3, 4), "annotation 101 (image b.png), box [9, 2, -3, 4]", "negative (-3)"
    ),
    "negative height": (set_box(9, 2, 3, -4), "annotation 101", "height is negative"),
    "image text": (lambda d: d["annotations"][0].update(image_id="b7"), "annotation 101", '"b7"'),
    "category": (
        lambda d: d["annotations"][0].update(category_id=4),
        "annotation 101, box [4.5, 5, 10, 20]",
        "there is no category 4",
    ),
    "image": (
        lambda d: d["annotations"][0].update(image_id=51), "annotation 101", "no image 51"
    ),
    "twice annotation": (
        lambda d: d["annotations"][1].update(id=101), "annotation 101", "used twice"
    ),
    "twice image": (lambda d: d["images"].append(d["images"][2]), "image 9", "used twice"),
    "twice category": (
        lambda d: d["categories"].append({"id": 90, "name": "z"}), "category 90", "used twice"
    ),
    "one name": (
        lambda d: d["categories"][1].update(name="dog"), "categories 3, 17", "all called 'dog'"
    ),
    "area": (lambda d: d["annotations"][0].update(area=-1), "annotation 101", "'area'"),
    "crowd": (lambda d: d["annotations"][0].update(iscrowd=2), "annotation 101", "'iscrowd'"),
    "no object": (lambda d: d["annotations"].append(5), "annotation number 5", "not a number"),
    "no side": (lambda d: d["images"][0].update(width=-1), "image 50", "'width' must be"),
    "float id": (
        lambda d: d["images"].append(d["images"][0] | {"id": 5.5}), "image number 4", "'id' must be"
    ),
    "big id": (lambda d: d["images"][2].update(id=2**70), "image number 3", "'id'"),
    "upwards": (lambda d: d["images"][0].update(file_name="../gone.png"), "image 50", "inside the"),
    "absolute": (lambda d: d["images"][0].update(file_name="/gone.png"), "image 50", "inside the"),
    "drive": (lambda d: d["images"][0].update(file_name="C:\\gone.png"), "image 50", "inside the"),
    "backwards": (lambda d: d["images"][0].update(file_name="x\\..\\..\\gone"), "image 50", ""),
    "nothing": (lambda d: d["images"][0].update(file_name=""), "image 50", "inside the"),
    "zero byte": (lambda d: d["images"][0].update(file_name="a\0.png"), "image 50", "inside the"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_fatal_mistakes_name_the_entry(tmp_path, case):
    change, entry, reason = BAD[case]
    error = refusal(tmp_path, broken(change))
    assert isinstance(error, DatasetError)
    assert entry in str(error) and reason in str(error)
    # One mistake is one line and causes no others.
    assert len(error.problems) == 1 and "\n" not in str(error)


def test_all_mistakes_are_listed_at_once(tmp_path):
    def change(document):
        for bad_change, _, _ in (BAD["nan"], BAD["twice image"], BAD["one name"]):
            bad_change(document)
        document["annotations"] += [annotation(n, 50, 90, [1, 1, -n, 5]) for n in range(200, 230)]
        document["images"].append({"id": 1, "file_name": "gone.png", "width": 9, "height": 9})

    with pytest.raises(DatasetError) as caught:
        open_dataset(write_coco(tmp_path, broken(change)), "train", strict=True)
    error = caught.value
    assert len(error.problems) == 34
    lines = str(error).splitlines()
    assert lines[0] == "34 mistakes in the data set:" and len(lines) == 22
    assert "and 14 more: lighthead check-data" in lines[-1]
    assert any("gone.png" in str(problem) for problem in error.problems)
    # The sound rest is still there for check-data to look at.
    rest = read_dataset(tmp_path, "train")
    assert len(rest.images) == 4 and rest.category_ids == [3, 17, 90]


@pytest.mark.parametrize("key", ["images", "categories", "annotations"])
def test_not_one_sound_entry(tmp_path, key):
    error = refusal(tmp_path, coco_document() | {key: [{"id": "x"}, 5]})
    assert len(error.problems) >= 2


def test_boxes_that_are_mended_are_counted(tmp_path):
    def change(document):
        document["annotations"] = [
            annotation(1, 50, 90, [10, 10, 0, 5]),
            annotation(2, 50, 90, [70, 10, 5, 5]),
            annotation(3, 50, 90, [-6, 10, 20, 100]),
            annotation(4, 50, 90, [-0.5, 10, 65, 5]),
            annotation(5, 7, 90, [1, 1, 5, 5]),
        ]

    dataset = open_dataset(write_coco(tmp_path, broken(change)), "train")
    assert dataset.target(0)["boxes"].tolist() == [[0, 10, 14, 48], [0, 10, 64, 15]]
    assert [problem.fatal for problem in dataset.problems] == [False] * 3
    first, second, third = map(str, dataset.problems)
    assert "annotation 1 (image a.png), box [10, 10, 0, 5]: it has no area (left out)" in first
    assert "annotation 2" in second and "outside its 64 x 48 image (left out)" in second
    assert "annotation 3" in third and "by 62 pixels (clipped)" in third
    line = warning(dataset.problems)
    assert "annotation 1 " in line and "2 more" in line and "\n" not in line
    assert warning([]) == ""


@example(-9, 1, -3, 9)
@example(1, -9, 9, -3)
@example(70, 1, 90, 9)
@example(1, 50, 9, 60)
@example(-20, 1, 0, 9)
@given(*[st.integers(-30, 120) for _ in range(4)])
def test_a_checked_box_is_the_part_inside_its_image(x1, y1, x2, y2):
    checked = check_box(x1, y1, x2, y2, 64, 48)
    inside = {(x, y) for x in range(x1, x2) for y in range(y1, y2) if 0 <= x < 64 and 0 <= y < 48}
    if checked.corners is None:
        assert not inside and checked.why
        assert checked.fatal == (x2 < x1 or y2 < y1)
    else:
        left, top, right, bottom = map(int, checked.corners)
        assert inside == {(x, y) for x in range(left, right) for y in range(top, bottom)} != set()
        whole = (x1, y1, x2, y2) == checked.corners
        assert checked.sticks_out == bool(checked.why)
        assert not (whole and checked.why)


def test_two_corners_instead_of_a_size_are_recognised(tmp_path):
    def change(document):
        document["annotations"] = [annotation(n, 50, 90, [30 + n, 20, 60, 40]) for n in range(1, 9)]

    assert "are they two corners?" in str(refusal(tmp_path, broken(change)))


PARTS = [[0.1, 0.2, 0.5, 0.25], [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]]


@pytest.mark.parametrize("boxes", [PARTS, PARTS[:1], [*PARTS, [3, 3, 20, 20]], [["0.5"] * 4]])
def test_parts_of_the_picture_are_named(tmp_path, boxes):
    document = coco_document()
    document["annotations"] = [annotation(n, 50, 3, box) for n, box in enumerate(boxes)]
    assert "are they parts of the picture?" in str(refusal(tmp_path, document))


@pytest.mark.parametrize("boxes", [[[0, 0, 1, 1]], [PARTS[0], *[[9, 9, 9, 9]] * 2], []])
def test_pixels_are_not_taken_for_parts(tmp_path, boxes):
    document = coco_document()
    document["annotations"] = [annotation(n, 50, 3, box) for n, box in enumerate(boxes)]
    assert len(open_dataset(write_coco(tmp_path, document), "train")) == 3


def test_missing_files(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "train" / "b.png").unlink()
    (tmp_path / "train" / "c.png").unlink()
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path, "train", strict=True)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3 and "b.png: no such file" in lines[1] and "c.png" in lines[2]
    assert len(open_dataset(tmp_path, "train", limit=1)) == 1


def test_a_picture_of_another_size_names_both(tmp_path):
    document = broken(lambda d: d["images"][0].update(width=128, height=96))
    with pytest.raises(UserError, match="a.png: is 64 x 48 .* says 128 x 96"):
        open_dataset(write_coco(tmp_path, document), "train")
    with pytest.raises(UserError, match="a.png is 64 x 48 .* says 128 x 96"):
        read_dataset(tmp_path, "train").load(0)


def test_a_wrong_shape_is_looked_up(tmp_path):
    document = broken(lambda d: d["images"][0].update(width=48, height=64))
    dataset = open_dataset(write_coco(tmp_path, document), "train")
    assert (dataset.images[0].width, dataset.images[0].height) == (64, 48)
    assert "says 48 x 64" in str(dataset.problems[-1]) and dataset.load(0)[0].shape == (48, 64, 3)


def test_one_file_listed_twice_is_reported(tmp_path):
    document = broken(lambda d: d["images"][1].update(file_name="a.png"))
    dataset = open_dataset(write_coco(tmp_path, document), "train")
    assert "image 7: a.png is also image 50" in str(dataset.problems[0])
    assert not dataset.problems[0].fatal


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(
    key=st.sampled_from(["images", "annotations", "categories"]),
    position=st.integers(0, 2),
    field=st.sampled_from(
        ["id", "file_name", "width", "height", "name", "image_id", "category_id", "bbox", "area",
         "iscrowd", "segmentation"]
    ),
    junk=JUNK,
)  # fmt: skip
def test_junk_anywhere_is_reported_or_harmless(tmp_path_factory, key, position, field, junk):
    """No junk in the file may raise anything but UserError or give an unsound target."""
    document = coco_document()
    document[key][position][field] = junk
    folder = write_coco(tmp_path_factory.mktemp("junk"), document)
    try:
        dataset = open_dataset(folder, "train")
    except UserError as error:
        assert "instances_train.json" in str(error)
        return
    for i, record in enumerate(dataset.images):
        target = dataset.target(i)
        boxes = np.concatenate([target["boxes"], target["ignore"]])
        assert np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes >= 0).all() and (boxes <= [record.width, record.height] * 2).all()
        assert ((target["labels"] >= 1) & (target["labels"] <= 3)).all()
    json.dumps(dataset.coco_ground_truth(), allow_nan=False)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_json_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "instances_train.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="instances_train.json"):
        coco.read_json(path)
