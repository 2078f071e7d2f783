"""What check-data tells: pictures that cannot be used, duplicates, sizes and anchors."""

import json
import shutil

import numpy as np
import pytest
from field_cases import check_data, run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data_set import annotation, coco_document, write_coco

from detector.datasets import ShapesDataset, open_dataset, read_dataset
from detector.datasets.inspection import (
    check_pictures,
    doubled_annotations,
    duplicate_pictures,
    similar_classes,
)
from detector.datasets.statistics import (
    NetworkBoxes,
    anchor_fit,
    network_boxes,
    summarize,
    summary_table,
)
from detector.parts.anchors import AnchorGenerator


def test_every_bad_picture_is_found(tmp_path):
    document = coco_document()
    document["images"][2].update(width=128, height=96)
    write_coco(tmp_path, document)
    path = tmp_path / "train" / "a.png"
    path.write_bytes(path.read_bytes()[:-40])
    (tmp_path / "train" / "b.png").unlink()
    count = []
    problems = check_pictures(read_dataset(tmp_path, "train"), after_image=lambda: count.append(1))
    assert len(count) == 3
    third, first, second = map(str, problems)
    assert f"{path}: is damaged or truncated" in first
    assert "b.png: no such file" in second
    assert "c.png: is 64 x 48 pixels when upright" in third
    assert [problem.fatal for problem in problems] == [True, False, False]
    assert check_pictures(ShapesDataset(2)) == []


def test_an_interruption_ends_the_check(tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_pictures(open_dataset(write_coco(tmp_path), "train"), after_image=interrupt)


def test_duplicates_within_and_between_splits(tmp_path):
    write_coco(tmp_path, split="train")
    write_coco(tmp_path, split="val")  # the same three pictures
    shutil.copy(tmp_path / "train" / "a.png", tmp_path / "train" / "c.png")
    sets = {name: open_dataset(tmp_path, name) for name in ("train", "val")}
    lines = [str(problem) for problem in duplicate_pictures(sets)]
    assert len(lines) == 3
    # train/c = train/a, val/a = train/a, val/b = train/b; val/c is unique by now.
    assert sum("both in train" in line for line in lines) == 1
    assert sum("(in train)" in line for line in lines) == 2
    assert not any("val" in line.split(": ")[0] and "c.png" in line for line in lines)
    assert not any(problem.fatal for problem in duplicate_pictures(sets))
    assert duplicate_pictures({"train": ShapesDataset(2), "val": ShapesDataset(2, "val")}) == []


def pair_iou(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inside = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return inside / (sum(areas) - inside)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_anchor_fit_is_the_best_of_all_anchors(seed):
    rng = np.random.default_rng(seed)
    h, w = (int(side) for side in rng.integers(20, 120, 2))
    corners = np.sort(rng.uniform(0, 1, (4, 2, 2)), axis=1) * [w, h]
    boxes = corners.reshape(4, 4).astype(np.float32)
    shapes = rng.uniform(5, 80, (3, 2))
    found = NetworkBoxes(boxes, np.ones(4, int), np.zeros(4, int))
    rows, columns = -(-h // 32) * 2, -(-w // 32) * 2
    anchors = AnchorGenerator(shapes=shapes, stride=16).grid((rows, columns))
    expected = [max(pair_iou(anchor, box) for anchor in anchors) for box in boxes.astype(float)]
    np.testing.assert_allclose(anchor_fit(found, shapes, 16), expected, atol=1e-5)


def test_the_summary_counts_boxes_as_the_network_sees_them(tmp_path):
    document = coco_document()
    document["annotations"] = [
        annotation(1, 50, 3, [0, 0, 10, 10]),  # 40 x 40 when 48 pixels become 192: medium
        annotation(2, 7, 3, [0, 0, 5, 5]),  # 20 x 20: small
        annotation(3, 7, 3, [20, 20, 24, 24]),  # 96 x 96: large
        annotation(4, 7, 17, [20, 20, 25, 23], iscrowd=1),
    ]
    dataset = open_dataset(write_coco(tmp_path, document), "train")
    found = network_boxes(dataset, 192, 999)
    assert found.widths_heights.tolist() == [[40, 40], [20, 20], [96, 96]]
    assert found.images.tolist() == [0, 1, 1]
    summaries = summarize(dataset, 192, 999, np.array([[96.0, 96.0]]), 16)
    cat, dog, zebra, everything = summaries
    assert (cat.images, cat.boxes, cat.sizes) == (2, 3, (1, 1, 1))
    assert sum(cat.fits) == 3 and cat.fits[0] == 2
    assert (dog.boxes, dog.mean_fit, zebra.boxes) == (0, 0.0, 0)
    assert (everything.name, everything.boxes) == ("all", 3)
    table = summary_table(summaries)
    assert len(table.splitlines()) == 6 and "zebra" in table


def test_a_data_set_without_boxes_has_a_summary(tmp_path):
    document = coco_document() | {"annotations": []}
    dataset = open_dataset(write_coco(tmp_path, document), "train")
    assert len(dataset) == 3
    summary_table(summarize(dataset, 100, 200, np.array([[32.0, 32.0]]), 16))


@pytest.mark.parametrize("orientation", [3, 6, 8, 2])
def test_turned_pictures_are_counted(tmp_path, orientation):
    write_coco(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in "ab":
        path = tmp_path / "train" / f"{name}.png"
        Image.open(path).resize((48, 48)).save(path, exif=exif)
    document = coco_document()
    for entry in document["images"][:2]:
        entry.update(width=48, height=48)
    path = tmp_path / "annotations" / "instances_train.json"
    path.write_text(json.dumps(document))
    (problem,) = check_pictures(open_dataset(tmp_path, "train"))
    assert not problem.fatal and "2 of 3 pictures are turned by their EXIF" in problem.why


def test_a_size_of_the_stored_pixels_names_exif(tmp_path):
    write_coco(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "train" / "a.png"
    Image.open(path).save(path, exif=exif)
    # A quarter turn clockwise: what was at the left is at the top, what was below at the left.
    dataset = open_dataset(tmp_path, "train")
    (problem,) = dataset.problems
    assert not problem.fatal and "48 x 64 pixels when upright, but" in problem.why
    before = read_dataset(tmp_path, "train").target(0)["boxes"]
    x1, y1, x2, y2 = before.T
    after = np.stack([48 - y2, x1, 48 - y1, x2], axis=1)
    np.testing.assert_array_equal(dataset.target(0)["boxes"], after)
    assert dataset.load(0)[0].shape == (64, 48, 3)


@pytest.mark.parametrize("doubled", [1, 2, 4])
def test_doubled_annotations_are_said(tmp_path, doubled):
    document = coco_document()
    for number, entry in enumerate(document["annotations"][:doubled]):
        document["annotations"].append(entry | {"id": 900 + number})
    (problem,) = doubled_annotations(open_dataset(write_coco(tmp_path, document), "train"))
    assert f"{doubled} annotations repeat another" in problem.why and not problem.fatal


def test_boxes_that_only_resemble_are_not_doubled(tmp_path):
    document = coco_document()
    first = document["annotations"][0]
    for number, change in enumerate(
        ({"category_id": 17}, {"image_id": 50}, {"iscrowd": 1}, {"bbox": [4.5, 5, 10, 20.001]})
    ):
        document["annotations"].append(first | {"id": 900 + number} | change)
    assert doubled_annotations(open_dataset(write_coco(tmp_path, document), "train")) == []
    assert doubled_annotations(ShapesDataset(3)) == similar_classes(ShapesDataset(3)) == []


@pytest.mark.parametrize(
    ("names", "count"),
    [(("Bolt", "bolt", "nut"), 1), (("a b", "ab ", "AB"), 2), (("Straße", "STRASSE", "x"), 1)],
)
def test_classes_that_differ_in_case_only_are_said(tmp_path, names, count):
    document = coco_document()
    for entry, name in zip(document["categories"], names, strict=True):
        entry["name"] = name
    problems = similar_classes(open_dataset(write_coco(tmp_path, document), "train"))
    assert len(problems) == count and not any(problem.fatal for problem in problems)


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "\ud800.png", "a/" * 3000 + "gone.png"])
def test_names_that_no_file_has_hide_nothing(capsys, tmp_path, name):
    document = coco_document()
    document["images"][0]["file_name"] = name
    write_coco(tmp_path, document)
    (tmp_path / "train" / "b.png").write_bytes(b"no picture")
    code, text, errors = run(capsys, "check-data", "--data", tmp_path, "--no-timing", "--strict")
    assert code == 2 and errors.count("\n") == 1 and "2 mistakes" in errors
    assert "b.png: is no picture" in text


def test_what_check_data_says_of_all_splits_it_says_once(capsys, tmp_path):
    document = coco_document()
    document["categories"][0]["name"] = "CAT"
    write_coco(tmp_path, document)
    text = check_data(capsys, tmp_path)
    assert text.count("'cat' and 'CAT' differ in case") == 1
