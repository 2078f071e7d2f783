"""Kinds of mistakes and what they cost: hand-made cases, and the package ``tidecv``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_data_set import middling, real_data

from detector.evaluation.confusion import confusion
from detector.evaluation.figures import coco_evaluation
from detector.evaluation.matches import match
from detector.evaluation.mistakes import KINDS, Tally, costs, find_mistakes

THEIRS = dict(zip(KINDS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))


def annotation(image, category, box, crowd=0):
    return {"image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd}


def detection(image, category, box, score):
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


BOX, HALF, AWAY, OTHER = [0, 0, 10, 10], [0, 0, 10, 4], [60, 60, 9, 9], [30, 30, 10, 10]


def kinds(annotations, detections):
    return [m.kind for found in match(annotations, detections) for m in find_mistakes(found)]


def test_each_kind_by_hand():
    truth = [annotation(1, 1, BOX)]
    assert kinds(truth, [detection(1, 1, BOX, 0.9)]) == []
    assert kinds(truth, [detection(1, 2, BOX, 0.9)]) == ["taken for another"]
    assert kinds(truth, [detection(1, 1, HALF, 0.9)]) == ["misplaced"]
    assert kinds(truth, [detection(1, 2, HALF, 0.9)]) == ["both", "missed"]
    assert kinds(truth, [detection(1, 1, AWAY, 0.9)]) == ["invented", "missed"]
    assert kinds(truth, []) == ["missed"]
    twice = [detection(1, 1, BOX, 0.9), detection(1, 1, BOX, 0.8)]
    assert kinds(truth, twice) == ["twice"]
    assert kinds([], [detection(1, 1, BOX, 0.9)]) == ["invented"]


def test_what_is_taken_for_what_by_hand():
    """Rows are what the objects are, and what is none; columns what they are taken for, and missed.

    Categories 7 and 3, in this order.
    """
    objects = [annotation(1, 7, BOX), annotation(1, 3, OTHER), annotation(2, 3, BOX)]
    truth = {
        "categories": [{"id": 7}, {"id": 3}],
        "annotations": [*objects, annotation(2, 7, AWAY, crowd=1)],
    }
    found = [
        detection(1, 3, BOX, 0.9),  # surer, but the object is taken by its own class
        detection(1, 7, BOX, 0.8),
        detection(1, 7, OTHER, 0.7),  # taken for another
        detection(1, 7, OTHER, 0.6),  # once more
        detection(2, 3, HALF, 0.6),  # misplaced: invented here, and the object is missed
        detection(2, 7, AWAY, 0.6),  # in a crowd
        detection(2, 3, BOX, 0.49),  # not shown
    ]
    ids, counts = confusion(truth, found, 0.5)
    assert ids == [7, 3]
    assert counts.tolist() == [[1, 0, 0], [1, 0, 1], [1, 2, 0]]


def test_what_lies_in_a_crowd_is_no_mistake():
    assert kinds([annotation(1, 1, BOX, crowd=1)], [detection(1, 1, BOX, 0.9)]) == []
    assert kinds([annotation(1, 1, BOX, crowd=1)], [detection(1, 2, BOX, 0.9)]) == ["invented"]


def test_the_surest_of_several_mends():
    found = next(match([annotation(1, 1, BOX)], [
        detection(1, 2, BOX, 0.5), detection(1, 1, HALF, 0.7)
    ]))  # fmt: skip
    assert [(m.kind, m.mends) for m in find_mistakes(found)] == [
        ("misplaced", True), ("taken for another", False)
    ]  # fmt: skip


def test_costs_by_hand():
    """Two objects of a class, one found, one missed; AP50 is 51 of 101 recalls."""
    truth = {"annotations": [annotation(1, 1, BOX), annotation(1, 1, OTHER)]}
    found = costs(truth, [detection(1, 1, BOX, 0.9), detection(1, 1, AWAY, 0.8)])
    assert found["missed"] == (1, pytest.approx(1 - 51 / 101))
    assert found["invented"] == (1, 0.0)
    assert all(cost == (0, 0.0) for kind, cost in found.items() if kind not in found or cost[0] < 1)


def test_nothing_costs_nothing():
    assert set(costs({"annotations": []}, []).values()) == {(0, 0.0)}


def in_tide(ground_truth, detections):
    """Counts and costs as the package says, by our names, and AP50."""
    tidecv = pytest.importorskip("tidecv", reason="no package tidecv")
    truth, found = tidecv.Data("truth"), tidecv.Data("found")
    for entry in ground_truth["annotations"]:
        truth.add_ground_truth(entry["image_id"], entry["category_id"], entry["bbox"])
    for entry in detections:
        found.add_detection(entry["image_id"], entry["category_id"], entry["score"], entry["bbox"])
        truth.images[entry["image_id"]]  # noqa: B018  a picture without an object is one too
    run = tidecv.TIDE().evaluate(truth, found, mode=tidecv.TIDE.BOX)
    counts = {error.short_name: count for error, count in run.count_errors().items()}
    gains = {error.short_name: gain / 100 for error, gain in run.fix_main_errors().items()}
    return {kind: (counts[name], gains[name]) for kind, name in THEIRS.items()}, run.ap / 100


def assert_same(ground_truth, detections):
    theirs, ap = in_tide(ground_truth, detections)
    ours = costs(ground_truth, detections)
    for kind, cost in ours.items():
        assert cost.count == theirs[kind][0], kind
        assert cost.gain == pytest.approx(theirs[kind][1], abs=1e-9), kind
    tally = Tally()
    for each in match(ground_truth["annotations"], detections):
        tally.add(each)
    assert tally.average_precision() == pytest.approx(ap, abs=1e-9)


places = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(2, 7), st.integers(2, 7))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), places), max_size=8),
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), places), max_size=16),
)
def test_the_same_as_tide(objects, found):
    """Scores differ, so that no order is open; of every class an object is found (the package
    divides by zero where nothing is left)."""
    sure = [(4, 1, (40, 40, 5, 5)), (5, 2, (40, 40, 5, 5))]
    objects, found = [*objects, *sure], [*found, *sure]
    truth = {"annotations": [annotation(i, c, list(map(float, box))) for i, c, box in objects]}
    scores = np.random.default_rng(len(found)).permutation(len(found)) / 100 + 0.1
    entries = [
        detection(i, c, list(map(float, box)), float(score))
        for (i, c, box), score in zip(found, scores, strict=True)
    ]
    assert_same(truth, entries)


def test_the_same_as_tide_on_blood_cells():
    """AP50 also as pycocotools has it; with LIGHTHEAD_DETECTIONS, a file of ``lighthead evaluate
    --json`` on BCCD's val, also for a trained detector."""
    from detector.datasets import open_dataset

    truth = open_dataset(str(real_data("bccd")), "val").coco_ground_truth()
    every = [middling(truth)]
    if place := os.environ.get("LIGHTHEAD_DETECTIONS"):
        every.append(json.loads(Path(place).read_bytes()))
    for detections in every:
        tally = Tally()
        for found in match(truth["annotations"], detections):
            tally.add(found)
        theirs = coco_evaluation(truth, detections).figures["AP50"]
        assert tally.average_precision() == pytest.approx(theirs, abs=1e-9)
        assert_same(truth, detections)
