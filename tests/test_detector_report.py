"""``report.html``: what stands in it, its weight, and what happens where it cannot be written."""

from __future__ import annotations

import errno
import json
import os
from html.parser import HTMLParser

import numpy as np
import pytest
from field_cases import QUICK, complaint, run
from small_data_set import annotation, middling, real_data, write_coco
from small_detectors import small_detector

import detector
import nn
from detector.datasets import ShapesDataset, open_dataset, write_shapes
from detector.datasets.outlines import with_outlines
from detector.detectors.two_stage import TwoStageDetector
from detector.evaluation.figures import coco_evaluation
from detector.evaluation.mistakes import KINDS
from detector.evaluation.threshold import best_threshold
from detector.masks import encode
from detector.reporting import page
from detector.reporting.pictures import COUNT, worst_mistakes
from detector.reporting.report import FEWEST, Subject, write_report
from detector.training import checkpoints
from detector.training.objectives.detection import describe

MOST_BYTES = 5_000_000


class Reading(HTMLParser):
    """The tables of a page by the heading above them, its text, and what it would fetch."""

    VOID = {"meta", "link", "img", "br", "path", "use", "input"}

    def __init__(self, text: str):
        super().__init__()
        self.tables, self.heading, self.words, self.fetched, self.open = {}, "", [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "h2":
            self.heading = ""
        if tag == "tr":
            self.tables.setdefault(self.heading, []).append([])
        if tag in ("td", "th"):
            self.tables[self.heading][-1].append("")
        for name, value in attributes:
            if name in ("src", "href", "xlink:href") and not value.startswith(("data:", "#")):
                self.fetched.append(value)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, words):
        if self.open and self.open[-1] == "style":
            assert "url(" not in words and "@import" not in words
            return
        self.words.append(words)
        if "h2" in self.open:
            self.heading += words
        elif "tr" in self.open and self.tables[self.heading][-1]:
            self.tables[self.heading][-1][-1] += words.strip()

    def rows(self, heading):
        return {row[0]: row[1:] for row in self.tables[heading][1:]}


def reported(tmp_path, dataset, detections, **more):
    """The report on these detections."""
    evaluation = coco_evaluation(dataset.coco_ground_truth(), detections)
    model = small_detector("light-head-rcnn", len(dataset.classes))
    subject = Subject(model, "a.ckpt", dataset, False, evaluation, detections, **more)
    path = tmp_path / "report.html"
    write_report(path, subject)
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    reading = Reading(text)
    assert reading.fetched == []
    return reading, evaluation


# What stands in it


@pytest.mark.parametrize("name", ["bccd", "raccoon"])
def test_figures_are_those_of_pycocotools(tmp_path, name):
    """Whatever both have, read off the page: per class, per size, and over all."""
    dataset = open_dataset(str(real_data(name)), "val")
    found = middling(dataset.coco_ground_truth())
    reading, evaluation = reported(tmp_path, dataset, found)
    classes = reading.rows("Every class")
    for entry in evaluation.classes:
        assert int(classes[entry.name][0]) == entry.boxes >= FEWEST
        for cell, value in zip(
            classes[entry.name][1:], (entry.AP, entry.AP50, entry.recall), strict=False
        ):
            assert float(cell) == pytest.approx(value, abs=0.0005)
    figures = evaluation.figures
    for cell, key in zip(classes["all"][1:4], ("AP", "AP50", "AR100"), strict=True):
        assert float(cell) == pytest.approx(figures[key], abs=0.0005)
    sizes = reading.rows("Every size")
    for size, (boxes, *cells) in sizes.items():
        if int(boxes) >= FEWEST:
            assert float(cells[0]) == pytest.approx(figures[f"AP_{size}"], abs=0.0005)
            assert float(cells[1]) == pytest.approx(figures[f"AR_{size}"], abs=0.0005)
        else:
            assert cells == ["none" if boxes == "0" else "too few to say"]
    objects = sum(entry.boxes for entry in evaluation.classes)
    assert sum(int(boxes) for boxes, *_ in sizes.values()) == objects
    assert set(reading.rows("Mistakes by kind")) == {k + words for k, words in KINDS.items()}


def test_the_matrix_counts_every_object_and_everything_shown(tmp_path):
    dataset = open_dataset(str(real_data("bccd")), "val")
    found = middling(dataset.coco_ground_truth())
    reading, evaluation = reported(tmp_path, dataset, found)
    counts = {
        name: [int(cell or 0) for cell in row]
        for name, row in reading.rows("What is taken for what").items()
    }
    for entry in evaluation.classes:
        assert sum(counts[entry.name]) == entry.boxes
    score = best_threshold(dataset.coco_ground_truth(), found).score
    shown = sum(entry["score"] >= score for entry in found)
    assert sum(sum(row[:-1]) for row in counts.values()) == shown


def small_set(tmp_path, boxes=25):
    """Cats in plenty, and one dog."""
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 8, "name": "<i>dog & 猫\x1b[31m"}],
        "annotations": [annotation(k, 1, 3, [2 * k, 5, 10, 20]) for k in range(boxes)]
        + [annotation(99, 1, 8, [5, 5, 9, 9])],
    }
    return open_dataset(str(write_coco(tmp_path / "data", document)), "train")


def test_figures_of_masks_stand_beside_those_of_boxes(tmp_path):
    dataset = with_outlines(ShapesDataset(4, image_size=64))
    found = dataset.coco_ground_truth()["annotations"]
    wrong = encode(np.eye(64) > 0)
    detections = [
        {**entry, "score": 0.9} | ({"segmentation": wrong} if number % 2 else {})
        for number, entry in enumerate(found)
    ]
    reading, evaluation = reported(tmp_path, dataset, detections)
    assert 0 < evaluation.masks["AP"] < evaluation.figures["AP"]
    for name in ("AP", "AP50"):
        assert f"{evaluation.masks[name]:.3f} {name} of the masks" in reading.text
    boxes = [{k: v for k, v in each.items() if k != "segmentation"} for each in detections]
    assert "of the masks" not in reported(tmp_path, dataset, boxes)[0].text


def test_few_boxes_say_too_little(tmp_path):
    dataset = small_set(tmp_path)
    reading, _ = reported(tmp_path, dataset, middling(dataset.coco_ground_truth()))
    classes = reading.rows("Every class")
    assert classes["cat"][0] == "25" and len(classes["cat"]) == 8
    (few,) = [row for name, row in classes.items() if "dog" in name]
    assert few == ["1", "too few to say"]


def test_names_are_text(tmp_path):
    dataset = small_set(tmp_path)
    reading, _ = reported(tmp_path, dataset, middling(dataset.coco_ground_truth()))
    assert "<i>dog & 猫" in reading.text and "\x1b" not in reading.text


@pytest.mark.parametrize("boxes", [0, 25])
def test_nothing_found(tmp_path, boxes):
    dataset = small_set(tmp_path, boxes)
    reading, _ = reported(tmp_path, dataset, [])
    assert "no line can be drawn" in reading.text
    assert "Nothing is known of the training" in reading.text
    counts = [int(row[0]) for row in reading.rows("Mistakes by kind").values()]
    assert counts == [0, 0, 0, 0, 0, boxes + 1]


def test_a_detector_without_anchors(tmp_path, monkeypatch):
    monkeypatch.setattr(TwoStageDetector, "anchor_generator", None)
    dataset = small_set(tmp_path)
    reading, _ = reported(tmp_path, dataset, middling(dataset.coco_ground_truth()))
    assert "There is no anchor" in reading.text


def test_the_worst_are_of_every_kind(tmp_path):
    dataset = open_dataset(str(real_data("bccd")), "val")
    truth = dataset.coco_ground_truth()
    worst = worst_mistakes(truth, middling(truth), 0.2)
    kinds = [mistake.kind for mistake in worst]
    assert len(worst) == COUNT and set(kinds) == set(KINDS)
    assert kinds == sorted(kinds, key=list(KINDS).index)
    for kind in KINDS:
        scores = [m.detection["score"] for m in worst if m.kind == kind and m.detection]
        assert scores == sorted(scores, reverse=True) and all(s >= 0.2 for s in scores)


# Where it comes from


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_shapes(folder / "shapes", train=8, val=4)
    return folder


@pytest.fixture(scope="module")
def weights(folder):
    """A checkpoint of an untrained detector of shapes, and nothing beside it."""
    dataset = open_dataset(str(folder / "shapes"), "train")
    model = small_detector("light-head-rcnn", len(dataset.classes))
    (folder / "bare").mkdir()
    checkpoints.write(folder / "bare" / "a.ckpt", "detection", model, describe(model, dataset))
    return folder / "bare" / "a.ckpt"


def evaluate(capsys, folder, weights, *more):
    options = ["--weights", weights, "--data", folder / "shapes", *more]
    code, _, errors = run(capsys, "evaluate", *options)
    assert code == 0, errors


def test_evaluate_writes_it_and_says_what_was_learned(capsys, folder, weights, tmp_path):
    path = tmp_path / "page.html"
    evaluate(capsys, folder, weights, "--report", path)
    new = Reading(path.read_text(encoding="utf-8"))
    assert "learned from" not in new.text and "no metrics.csv" in new.text
    evaluate(capsys, folder, weights, "--split", "train", "--report", path)  # ours is replaced
    assert "the ones that it learned from" in Reading(path.read_text(encoding="utf-8")).text


def test_where_it_cannot_be_written_nothing_is_measured(capsys, folder, weights, tmp_path):
    options = ["evaluate", "--weights", weights, "--data", folder / "shapes", "--report"]
    mine = tmp_path / "mine.html"
    mine.write_text("my own")
    assert "mine.html" in complaint(capsys, *options, mine) and mine.read_text() == "my own"
    assert "no folder" in complaint(capsys, *options, tmp_path / "no" / "page.html")
    assert "--min-box" in complaint(capsys, *options, tmp_path / "a.html", "--min-box", "8")
    if os.name != "nt" and os.geteuid() != 0:
        (tmp_path / "shut").mkdir(mode=0o500)
        assert "choose another" in complaint(capsys, *options, tmp_path / "shut" / "page.html")


def test_a_full_disk_loses_nothing_but_the_report(capsys, folder, tmp_path, monkeypatch):
    """A training without a split to measure with, whose report does not fit."""
    out = tmp_path / "run"
    options = ["--data", folder / "shapes", "--val", "train", "--out", out, *QUICK]

    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(page, "atomic_file", full)
        code, _, errors = run(capsys, "train", *options)
    line = errors.splitlines()[-1]
    assert code == 2 and "Traceback" not in errors
    assert "report.html" in line and os.strerror(errno.ENOSPC) in line
    assert "lighthead evaluate --weights" in line
    assert json.loads((out / "evaluation.json").read_text())["figures"]
    assert nn.checkpoint.load(out / "best.ckpt") and not (out / "report.html").exists()

    made = detector.load(out).report()  # now there is room
    reading = Reading(made.path.read_text(encoding="utf-8"))
    assert made.path == out / "report.html" and "the ones that it learned from" in reading.text
    assert "learning rate" in reading.text and "steps.epochs" in reading.text
    assert "srcdoc=" in made._repr_html_() and "<html" not in made._repr_html_()
