"""Boxes that are not learned from: they are counted, and where none is left, one line says why."""

import numpy as np
import pytest
from field_cases import QUICK, check_data, complaint, field_case, run
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data_set import annotation, coco_document, voc_object, voc_xml, write_coco, write_voc

from detector.datasets import Loader, TrainTransform, open_dataset
from detector.datasets.learnable import learning_line, measuring_line, require_boxes, thin_boxes
from detector.datasets.transforms import Augmentation
from detector.errors import UserError
from detector.evaluation.figures import coco_evaluation


def with_boxes(*annotations) -> dict:
    return coco_document() | {"annotations": list(annotations)}


def test_what_is_learned_and_what_is_not(tmp_path):
    document = with_boxes(
        annotation(1, 50, 3, [10, 10, 20, 20]),
        annotation(2, 50, 3, [10, 10, 0, 20]),
        annotation(3, 50, 3, [99, 10, 5, 5]),
        annotation(4, 50, 90, [-9, 10, 20, 20]),
        annotation(5, 7, 90, [10, 10, 0.5, 20]),
        annotation(6, 7, 90, [10, 10, 9, 9], iscrowd=1),
    )
    dataset = open_dataset(write_coco(tmp_path, document), "train")
    assert learning_line(dataset, "train", 48, 999) == (
        "train: 2 boxes to learn from; not learned: 1 has iscrowd 1, 2 left out, without "
        "area or outside the picture, 1 thinner than a pixel at a short side of 48; learned in "
        "part: 1 clipped; no box: dog"
    )
    # At twice the size the thin box is a pixel wide.
    assert learning_line(dataset, "train", 96, 999).startswith("train: 3 boxes to learn from; ")
    assert measuring_line(dataset, "val").startswith("val: 3 boxes to measure with; not measured: ")
    # Only what is in the chosen pictures counts.
    assert "left out" not in learning_line(dataset.select(["dog"], limit=1), "train", 48, 999)
    sound = open_dataset(tmp_path, "train").select(["cat"])
    assert "crowds" not in learning_line(sound, "train", 48, 999)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 60))
def test_thin_boxes_are_those_that_the_loader_drops(tmp_path_factory, seed, short_side):
    rng = np.random.default_rng(seed)
    boxes = [
        annotation(
            n, int(rng.choice([50, 7, 9])), 3, [*rng.uniform(0, 20, 2), *rng.uniform(0.1, 6, 2)]
        )
        for n in range(1, 30)
    ]
    folder = write_coco(tmp_path_factory.mktemp("thin"), with_boxes(*boxes))
    dataset = open_dataset(folder, "train")
    transform = TrainTransform(short_side, 999, Augmentation(horizontal_flip=0))
    dropped = sum(batch.dropped for batch in Loader(dataset, transform, 2, threads=0).epoch(0))
    assert thin_boxes(dataset, short_side, 999) == dropped


CROWDS = with_boxes(*[annotation(n, 50, 3, [n, n, 9, 9], iscrowd=1) for n in range(1, 5)])
FLAT = with_boxes(annotation(1, 50, 3, [1, 1, 0, 9]), annotation(2, 7, 3, [90, 1, 9, 9]))
THIN = with_boxes(*[annotation(n, 7, 3, [30, 1, 1.5, 0.25]) for n in range(1, 4)])
LAST = with_boxes(
    annotation(1, 9, 3, [1, 1, 20, 20]), annotation(2, 9, 17, [1, 1, 8, 8], iscrowd=1)
)
HARD = {name: voc_xml(voc_object("cat", (5, 5, 30, 30), difficult=1)) for name in "abcde"}
CASES = {
    "crowds": (CROWDS, [], "train has no box to learn from (4 are crowds, iscrowd 1): what is to"),
    "flat": (FLAT, [], "(2 left out, without area or outside the picture): lighthead check-data"),
    "thin": (THIN, [], "(3 thinner than a pixel at a short side of 64): choose a larger --short"),
    "nothing": (with_boxes(), [], "(3 pictures without an annotation): annotate what is"),
    "class": (LAST, ["--classes", "dog"], "has no box of dog to learn from (1 has iscrowd 1)"),
    "difficult": (HARD, [], "train has no box to learn from (4 are difficult): what is to be le"),
}  # fmt: skip


@pytest.mark.parametrize("preset", ["tiny", "thesis-s"])
@pytest.mark.parametrize("case", CASES)
def test_no_box_to_learn_from_is_one_line(capsys, tmp_path, case, preset):
    document, options, words = CASES[case]
    folder = tmp_path / "data"
    if case == "difficult":
        write_voc(folder, document)
    else:
        write_coco(folder, document)
    options = ["--data", folder, "--preset", preset, "--short-side", "64", *options]
    checked = complaint(capsys, "check-data", *options)
    assert words in checked
    assert complaint(capsys, "train", "--out", tmp_path / "run", *options) == checked
    assert complaint(capsys, "multitask", "multi-scale", "--iterations", "2", *options) == checked


def test_a_limit_that_leaves_no_box(capsys, tmp_path):
    folder = write_coco(tmp_path / "data", LAST)
    line = complaint(capsys, "train", "--data", folder, "--out", tmp_path / "run", "--limit", "2")
    assert "no box to learn from in its first 2 pictures (2 pictures without an" in line
    assert "raise --limit" in line


@pytest.mark.parametrize("case", ["crowds", "flat", "thin", "nothing"])
def test_any_box_that_can_be_learned_is_enough(tmp_path, case):
    document = CASES[case][0]
    document = document | {
        "annotations": document["annotations"] + [annotation(99, 9, 90, [5, 5, 20, 20])]
    }
    dataset = open_dataset(write_coco(tmp_path, document), "train")
    require_boxes(dataset, "train", 48, 999)
    with pytest.raises(UserError, match="of cat, dog to learn from"):
        require_boxes(dataset.select(["cat", "dog"]), "train", 48, 999, ["cat", "dog"])


def test_a_split_with_nothing_to_measure_says_so(tmp_path):
    dataset = open_dataset(write_coco(tmp_path, CROWDS), "train")
    assert measuring_line(dataset, "val") == (
        "val: 0 boxes to measure with; not measured: 4 are crowds, iscrowd 1; every "
        "figure will be -"
    )
    truth = dataset.coco_ground_truth()
    found = [{"image_id": 50, "category_id": 3, "bbox": [1, 1, 9, 9], "score": 1.0}]
    for detections in (found, []):
        result = coco_evaluation(truth, detections)
        assert result.warning.startswith("all 4 annotated boxes are to be ignored")
        assert set(result.figures.values()) == {None}


def test_train_and_evaluate_say_what_they_leave_out(capsys, tmp_path):
    boxes = [
        annotation(1, 50, 3, [10, 10, 30, 30]),
        annotation(2, 50, 90, [10, 10, 0, 20]),
        annotation(3, 7, 17, [20, 10, 60, 20]),
        annotation(4, 7, 3, [20, 10, 30, 20]),
    ]
    folder = tmp_path / "data"
    write_coco(folder, with_boxes(*boxes))
    write_coco(folder, with_boxes(*boxes), split="val")
    out = tmp_path / "run"
    code, text, errors = run(capsys, "train", "--data", folder, "--out", out, *QUICK)
    assert code == 0, errors
    assert "train: 3 boxes to learn from; not learned: 1 left out" in text
    assert "val: 3 boxes to measure with; not measured: 1 left out" in text
    assert "box [10, 10, 0, 20]: it has no area (left out) (and 1 more: lighthead check" in text
    code, text, _ = run(capsys, "evaluate", "--data", folder, "--weights", out)
    assert code == 0 and "val: 3 boxes to measure with; not measured: 1 left out" in text


def test_field_case_04(capsys):
    crowds, difficult = field_case("04-all-crowd"), field_case("04-all-difficult")
    for command in (["check-data"], ["train", "--train", "default", "--out", "never"]):
        options = ["--split", "default"] if command == ["check-data"] else []
        line = complaint(capsys, *command, *options, "--data", crowds)
        assert "has no box to learn from (1" in line and "are crowds, iscrowd 1)" in line
    assert "are difficult" in complaint(capsys, "check-data", "--data", difficult)


def test_field_case_16_two_pixel_objects(capsys):
    folder = field_case("16-two-pixel-objects")
    assert "(8 thinner than a pixel" in complaint(capsys, "check-data", "--data", folder)
    assert "train: 8 boxes to learn from" in check_data(capsys, folder, "--preset", "thesis-s")


def test_field_case_23(capsys, tmp_path):
    folder, out = field_case("23-left-out"), tmp_path / "run"
    assert "6 left out" in check_data(capsys, folder)
    code, text, _ = run(capsys, "train", "--data", folder, "--out", out, *QUICK)
    assert code == 0 and "train: 6 boxes to learn from; not learned: 6 left out" in text
