"""The doctor: data sets broken on purpose are named rightly, sound ones are not named at all."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from field_cases import complaint, run
from small_data_set import real_data, real_weights

from detector.datasets import ShapesDataset, open_dataset, write_shapes
from detector.tools import doctor
from detector.tools.by_heart import Knowledge, few_pictures
from detector.tools.doctor import failing, way_of, wrong_places
from detector.tools.naming import (
    Named,
    area_under_curve,
    balanced,
    contradictions,
    named_by_others,
)
from detector.tools.placement import integrals, moved, placement, stand_out
from detector.training.objectives.detection import Detection
from detector.training.presets import preset
from detector.training.sessions import Session

# Placement


def broken(dataset, change):
    """The data set with each box (x1, y1, x2, y2) as ``change(boxes (R, 4), (h, w))`` has it,
    cut off at the edge, as readers do it; boxes without area are left out."""
    new = copy.copy(dataset)
    rows = dataset.annotations.copy()
    for index, record in enumerate(dataset.images):
        here = rows["image"] == index
        size = record.height, record.width
        boxes = change(rows["box"][here], size)
        rows["box"][here] = np.clip(boxes, 0, np.array([record.width, record.height] * 2))
    rows = rows[(rows["box"][:, 2:] - rows["box"][:, :2] >= 2).all(axis=1)]
    new.annotations = rows
    return new.part(np.arange(len(dataset)))


def shifted_by_own(x, y):
    return lambda boxes, size: moved(boxes, "moved by their own size", (x, y), size)


def by(kind, *way):
    return lambda boxes, size: moved(boxes, kind, way, size)


BREAKS = {
    "corner for centre": (by("moved by their own size", 0.5, 0.5), "moved"),
    "centre for corner": (by("moved by their own size", -0.5, -0.5), "moved"),
    "to the right": (by("moved", 0.15, 0), "moved"),
    "twice as large": (by("of another size", 2, 2), "of a"),  # of what fills its picture, either
    "half as large": (by("of another size", 0.5, 0.5), "of another size"),
    "of a larger picture": (by("of a picture of another size", 1.5, 1.5), "of a picture"),
    "of half the picture": (by("of a picture of another size", 0.5, 0.5), "of a picture"),
}
# A raccoon is of the colours of its woods, and fills its picture: moved boxes still lie on raccoon.
SEEN = {
    "shapes": list(BREAKS),
    "bccd": list(BREAKS),
    "raccoon": [*list(BREAKS)[3:5], "of half the picture"],
}


def data_set(name):
    if name == "shapes":
        return ShapesDataset(100)
    return open_dataset(str(real_data(name)), "train")


@pytest.mark.parametrize("name", SEEN)
def test_a_sound_set_is_in_place(name):
    found = placement(data_set(name))
    assert found.kind is None and found.stands_out > 0.03, found


@pytest.mark.parametrize(("name", "how"), [(name, how) for name in SEEN for how in SEEN[name]])
def test_boxes_in_wrong_places_are_named(name, how):
    change, kind = BREAKS[how]
    found = placement(broken(data_set(name), change))
    assert found.kind is not None and found.kind.startswith(kind), found
    assert found.better > found.stands_out


@pytest.mark.nightly
@pytest.mark.parametrize("how", [None, *list(BREAKS)[:3]])
def test_a_trained_backbone_sees_raccoons(how):
    """As ``doctor`` looks: colours first, then it."""
    weights = real_weights()
    session = Session(data=str(real_data("raccoon")), recipe=preset("laptop"), init_from=weights)
    objective = Detection(session)
    train = objective.train if how is None else broken(objective.train, BREAKS[how][0])
    found = list(wrong_places({"train": train}, objective.model, lambda line: None))
    assert [finding.stage for finding in found] == ["data"] * (how is not None)
    assert all("the boxes of train are moved" in finding.what for finding in found)


def test_the_way_out_is_the_way_in():
    """What is said to mend the boxes of shapes does."""
    sound = ShapesDataset(100)
    for how, (change, _) in BREAKS.items():
        wrong = broken(sound, change)
        found = placement(wrong)
        mended = broken(wrong, by(found.kind, *found.way))
        assert placement(mended).kind is None, (how, found)


def test_how_much_a_box_stands_out_is_counted_pixel_by_pixel():
    rng = np.random.default_rng(0)
    planes = rng.standard_normal((3, 30, 40))
    planes[:, 8:20, 10:25] += 2
    for box in ([10, 8, 25, 20], [0, 0, 12, 9], [20, 15, 38, 29]):
        x1, y1, x2, y2 = box
        width, height = (2**0.5 - 1) / 2 * (x2 - x1), (2**0.5 - 1) / 2 * (y2 - y1)
        inside, around = [], []
        for y in range(30):
            for x in range(40):
                if x1 <= x < x2 and y1 <= y < y2:
                    inside.append(planes[:, y, x])
                elif round(x1 - width) <= x < round(x2 + width) and round(y1 - height) <= y < round(
                    y2 + height
                ):
                    around.append(planes[:, y, x])
        both = np.array(inside + around)
        total = ((both - both.mean(0)) ** 2).sum()
        within = sum(((side - np.mean(side, 0)) ** 2).sum() for side in (inside, around))
        expected = (total - within) / (total + 1e-3 * len(both))
        (actual,) = stand_out(integrals(planes), np.array([box], float))
        assert actual == pytest.approx(expected)


def test_a_box_outside_its_picture_stands_out_by_nothing():
    sums = integrals(np.random.default_rng(0).standard_normal((3, 30, 40)))
    boxes = np.array([[35, 5, 55, 20], [0, 0, 40, 30], [5, 5, 7, 9], [60, 60, 80, 80]], float)
    assert not stand_out(sums, boxes).any()  # mostly outside, without a strip, tiny, outside


def test_few_pictures_say_nothing():
    lines = []
    assert not list(wrong_places({"train": ShapesDataset(7)}, None, lines.append))
    assert "too few" in lines[0]
    assert "moved by +25% of their own width and -50%" in way_of(
        placement(ShapesDataset(8))._replace(kind="moved by their own size", way=(0.25, -0.5))
    )


# Names


def called(swapped=0.0, likeness=0.1, pictures=120, seed=0):
    """Objects of three classes, the first two exchanged in a part of the pictures."""
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(pictures), 5)
    truth = rng.integers(1, 4, len(numbers))
    scores = np.where(truth[:, None] == [1, 2, 3], 0.0, -3.0)
    scores += rng.standard_normal(scores.shape) * 10 * likeness
    labels = truth.copy()
    turned = rng.random(pictures) < swapped
    is_turned = turned[numbers]
    labels[is_turned] = np.array([0, 2, 1, 3])[truth[is_turned]]
    return Named(numbers, labels, scores), np.flatnonzero(turned)


def test_sound_names_agree():
    assert contradictions(called()[0]) == []


@pytest.mark.parametrize("part", [0.1, 0.3])
def test_swapped_classes_are_named_with_their_pictures(part):
    named, turned = called(part)
    (pair,) = contradictions(named)
    assert pair.labels == (1, 2)
    assert len(pair.pictures) > len(turned) / 2 and set(pair.pictures[:3]) <= set(turned.tolist())


def test_names_without_a_meaning_are_not_told_apart():
    (pair,) = contradictions(called(0.5)[0])
    assert pair.labels == (1, 2) and pair.auc < 0.7


def test_classes_that_look_alike_are_not_called_swapped():
    named, _ = called()
    noise = np.random.default_rng(1).standard_normal((len(named.labels), 1)) * 3
    scores = named.scores + noise * [[1, -1, 0]]
    assert all(not pair.pictures for pair in contradictions(named._replace(scores=scores)))


def test_rare_classes_say_nothing():
    named, _ = called(0.5, pictures=8)
    assert contradictions(named) == []


def test_the_area_under_the_curve_counts_pairs():
    rng = np.random.default_rng(0)
    low, high = rng.integers(0, 9, 30), rng.integers(2, 12, 20)
    pairs = [(h > l) + (h == l) / 2 for h in high for l in low]  # noqa: E741
    assert area_under_curve(low, high) == pytest.approx(np.mean(pairs))
    middle = balanced(low, high)
    assert abs((low > middle).mean() - (high <= middle).mean()) <= 0.15


# Learning by heart


def test_few_pictures_show_as_many_classes_as_they_can():
    shapes = ShapesDataset(40)
    for count in (1, 2, 8):
        few = few_pictures(shapes, count)
        assert len(few) == count and len(few.annotations)
    assert set(few_pictures(shapes, 4).annotations["label"]) == {1, 2, 3, 4}
    assert len(few_pictures(shapes.part(np.arange(3)), 8)) == 3


KNOWN = Knowledge(anchors=1.0, proposals=1.0, head=1.0, f1=0.5, loss=0.1)
FAILURES = {
    "anchors": (KNOWN._replace(anchors=0.6, proposals=0.2), "only 60% of the boxes overlap an"),
    "proposals": (
        KNOWN._replace(proposals=0.7, head=0.1),
        "only 70% of the boxes overlap a proposal",
    ),
    "head": (KNOWN._replace(head=0.8), "only 80% are called"),
    "detections": (KNOWN, "F1 is 0.50"),
    "one stage": (Knowledge(None, None, None, 0.5), "F1 is 0.50"),
}


@pytest.mark.parametrize("stage", FAILURES)
def test_the_first_stage_that_fails_is_named(stage):
    knowledge, words = FAILURES[stage]
    objective = SimpleNamespace(session=Session(recipe=preset("tiny")))
    finding = failing(knowledge, objective, ShapesDataset(4))
    assert finding.stage in (stage, "detections") and words in finding.what
    assert "--" in finding.remedy and "\n" not in str(finding)


# The command

TINY = ["--init-from", "none", "--preset", "tiny"]
QUICK = [*TINY, "--pictures", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes") / "data"
    write_shapes(folder, train=60, val=20)
    return folder


def rewritten(folder, to, change):
    """A copy of the data set whose annotations of train ``change(annotations)`` has changed."""
    shutil.copytree(folder, to)
    path = to / "annotations" / "instances_train.json"
    document = json.loads(path.read_text())
    change(document["annotations"])
    path.write_text(json.dumps(document))
    return to


def test_boxes_that_lie_wrong_end_it_before_the_network_learns(
    capsys, monkeypatch, shapes, tmp_path
):
    def shift(annotations):
        for entry in annotations:
            x, y, width, height = entry["bbox"]
            entry["bbox"] = [min(x + width / 2, 158), y, min(width, 160 - x - width / 2), height]

    monkeypatch.setattr(doctor, "LEAST_BOXES", 10**6)  # names are another matter
    folder = rewritten(shapes, tmp_path / "data", shift)
    code, text, errors = run(capsys, "doctor", "--data", folder, *QUICK)
    assert code == 2 and "by heart" not in text
    assert "data: the boxes of train are moved by their own size: moved by -50%" in text
    assert errors.count("\n") == 1 and "not healthy yet: data" in errors


def test_what_is_not_learnt_is_named(capsys, monkeypatch, shapes):
    monkeypatch.setattr(doctor, "LEAST_BOXES", 10**6)
    code, text, errors = run(capsys, "doctor", "--data", shapes, *QUICK, "--iterations", "1")
    assert code == 2 and "learning 2 pictures by heart" in text
    assert "anchors: 100% of the boxes" in text and "\nproposals: the anchors are there" in text
    assert "not healthy yet: proposals" in errors


def test_mistakes_are_one_line(capsys, shapes, tmp_path):
    assert "from 1 to 8, not 0" in complaint(capsys, "doctor", "--data", shapes, "--pictures", "0")
    assert "at least 1" in complaint(capsys, "doctor", "--data", shapes, "--iterations", "0")
    assert "no folder" in complaint(capsys, "doctor", "--data", tmp_path / "nowhere")
    assert "no class" in complaint(capsys, "doctor", "--data", shapes, "--classes", "cube", *QUICK)


@pytest.mark.nightly
def test_a_sound_set_is_healthy(capsys, shapes):
    code, text, errors = run(capsys, "doctor", "--data", shapes, *TINY)
    assert code == 0, text + errors
    assert text.endswith("healthy: these pictures can be learnt\n")


@pytest.mark.nightly
def test_swapped_classes_of_photographs_are_named(capsys, tmp_path):
    def swap(annotations):
        for entry in annotations:
            if entry["image_id"] % 4 == 0 and entry["category_id"] in swapped:
                entry["category_id"] = sum(swapped) - entry["category_id"]

    sound = open_dataset(str(real_data("bccd")), "train")
    swapped = [sound.category_ids[sound.classes.index(name)] for name in ("RBC", "WBC")]
    folder = rewritten(real_data("bccd"), tmp_path / "data", swap)
    code, text, errors = run(capsys, "doctor", "--data", folder, "--init-from", real_weights())
    assert code == 2 and "not healthy yet: data" in errors
    assert text.count("\ndata: the classes 'RBC' and 'WBC' are swapped in some pictures") == 1
    assert "Platelets" not in text.partition("\n\n")[2]


@pytest.mark.nightly
def test_swapped_classes_of_shapes_are_named():
    """From random weights, so it takes all that there are."""
    train = ShapesDataset()
    rows = train.annotations
    here = (rows["image"] % 5 == 0) & (rows["label"] <= 2)
    rows["label"][here] = 3 - rows["label"][here]
    session = Session(data="shapes", recipe=preset("tiny"))
    model = Detection(replace(session, limit=8)).model
    (pair,) = contradictions(named_by_others(train, None, model, session))
    assert pair.labels == (1, 2)
