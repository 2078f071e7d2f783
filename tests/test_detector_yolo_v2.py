"""YOLO v2: its costs to the unit, and its loss against arithmetic done here."""

from __future__ import annotations

import numpy as np
import pytest

import nn
from detector.boxes import decode
from detector.detectors.yolo_v2 import YOLOv2
from detector.heads.yolo_v2 import YOLOv2Head, YOLOv2HeadSettings
from detector.necks.passthrough import four_to_one
from detector.parts.anchors import ClusteredAnchors
from nn.models import Map


@pytest.mark.parametrize(
    "num_classes, side, parameters, multiply_adds",
    [
        (20, 416, 50_655_389, 14_680_167_424),
        (20, 544, 50_655_389, 25_103_954_944),
        (80, 608, 50_962_889, 31_469_126_656),
    ],
)
def test_costs_are_those_of_the_authors_files(num_classes, side, parameters, multiply_adds):
    with nn.init.skipped():
        model = YOLOv2(num_classes)
    costs = nn.summary(model, (1, 3, side, side))
    assert (costs.parameters, costs.multiply_adds) == (parameters, multiply_adds)


def test_four_cells_become_one():
    fine = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    found = four_to_one(nn.Tensor(fine)).data
    assert found.shape == (2, 12, 2, 3)
    for quarter, (y, x) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        np.testing.assert_array_equal(
            found[:, 3 * quarter : 3 * quarter + 3], fine[:, :, y::2, x::2]
        )


def small_head(num_classes=2):
    anchors = ClusteredAnchors(shapes=((32, 32), (16, 64)))
    head = YOLOv2Head(num_classes, Map(4, 32), YOLOv2HeadSettings(anchors))
    return head.double()


def answers_of(head, seed=0, N=1):
    """Of a batch of 64 x 96 pixels: 2 x 3 cells of 2 anchors, random numbers in float64."""
    rng = np.random.Generator(np.random.Philox(seed))
    features = nn.Tensor(rng.normal(size=(N, 4, 2, 3)))
    head.output.weight.data[:] = 0.3 * rng.normal(size=head.output.weight.shape)
    answers = head([features], (64, 96))
    return answers._replace(outputs=nn.Tensor(answers.outputs.data, requires_grad=True))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_boxes_are_the_papers_formula():
    head = small_head()
    answers = answers_of(head)
    found = decode(head.deltas(answers.outputs.data[0], answers.anchors), answers.anchors)
    for row in range(2):
        for column in range(3):
            for a, (width, height) in enumerate([(32, 32), (16, 64)]):
                m = (row * 3 + column) * 2 + a
                tx, ty, tw, th = answers.outputs.data[0, m, :4]
                x, y = 32 * (column + sigmoid(tx)), 32 * (row + sigmoid(ty))
                half = np.array([width * np.exp(tw), height * np.exp(th)]) / 2
                np.testing.assert_allclose(found[m], [*((x, y) - half), *((x, y) + half)], 1e-5)


def one_object():
    """36 x 20 pixels around (70, 40): row 1, column 2, more like the square anchor: number 10."""
    return {"boxes": np.float32([[52, 30, 88, 50]]), "labels": np.array([2])}


def test_who_is_responsible_by_hand():
    head = small_head()
    answers = answers_of(head)
    targets = head.assign(answers, [one_object()])
    assert targets.objects.tolist() == [10] and targets.labels.tolist() == [2]
    np.testing.assert_allclose(
        targets.boxes, [[70 / 32 - 2, 40 / 32 - 1, np.log(36 / 32), np.log(20 / 32)]], rtol=1e-5
    )
    assert targets.weights[0] == pytest.approx(2 - 36 * 20 / (64 * 96))
    assert 10 not in targets.background


def test_the_later_of_two_takes_the_anchor_and_the_border_has_a_cell():
    head = small_head()
    boxes = np.float32([[52, 30, 88, 50], [54, 32, 86, 52], [92, 60, 100, 68]])
    target = {"boxes": boxes, "labels": np.array([1, 2, 1])}
    targets = head.assign(answers_of(head), [target])
    assert targets.objects.tolist() == [10] and targets.labels.tolist() == [1]
    targets = head.assign(answers_of(head), [{**target, "boxes": boxes[:2], "labels": [1, 2]}])
    assert targets.objects.tolist() == [10] and targets.labels.tolist() == [2]


def test_what_is_near_an_object_is_not_background():
    head = small_head()
    answers = answers_of(head)
    answers.outputs.data[:] = -9  # far from everything
    # Number 8, in the next cell, says nearly the object: 36 x 20 around (63.9, 40).
    answers.outputs.data[0, 8, :4] = 9, -np.log(3), np.log(36 / 32), np.log(20 / 32)
    background = head.assign(answers, [one_object()]).background.tolist()
    assert background == [0, 1, 2, 3, 4, 5, 6, 7, 9, 11]


def test_the_loss_by_hand():
    head = small_head()
    answers = answers_of(head)
    targets = head.assign(answers, [one_object()])
    said = answers.outputs.data[0]
    tx, ty, tw, th, to, first, second = said[10]
    x, y, w, h = 70 / 32 - 2, 40 / 32 - 1, np.log(36 / 32), np.log(20 / 32)
    weight = 2 - 36 * 20 / (64 * 96)
    squares = (sigmoid(tx) - x) ** 2 + (sigmoid(ty) - y) ** 2 + (tw - w) ** 2 + (th - h) ** 2
    found = {name: loss.item() for name, loss in head.loss(answers, targets).items()}
    assert found["box"] == pytest.approx(weight * squares / 2, rel=1e-5)
    cx, cy, sw, sh = (
        32 * (2 + sigmoid(tx)),
        32 * (1 + sigmoid(ty)),
        32 * np.exp(tw),
        32 * np.exp(th),
    )
    wide = min(cx + sw / 2, 88) - max(cx - sw / 2, 52)
    high = min(cy + sh / 2, 50) - max(cy - sh / 2, 30)
    shared = max(wide, 0) * max(high, 0)
    fit = shared / (sw * sh + 36 * 20 - shared)
    assert found["object"] == pytest.approx(5 * (sigmoid(to) - fit) ** 2 / 2, rel=1e-5)
    others = sum(sigmoid(said[m, 4]) ** 2 for m in targets.background)
    assert found["background"] == pytest.approx(others / 2, rel=1e-6)
    assert found["class"] == pytest.approx(np.log(1 + np.exp(first - second)), rel=1e-6)


def test_logistic_confidence_by_hand():
    head = small_head()
    head.settings = head.settings.changed("confidence", "logistic")
    logits, fits = np.array([0.0, 3.0, -800.0]), np.array([0.25, 1.0, 1.0])
    found = head.confidence(nn.Tensor(logits), fits).item()
    assert found == pytest.approx(np.log(2) + np.log(1 + np.exp(-3)) + 800)


def test_the_gradient_holds_the_fit_fixed():
    """The IoU that is asked for is a number; its own gradient is not taken."""
    head = small_head()
    answers = answers_of(head, N=2)
    empty = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    targets = head.assign(answers, [one_object(), empty])
    nn.gradcheck(
        lambda outputs: list(head.loss(answers._replace(outputs=outputs), targets).values()),
        [answers.outputs],
    )


def test_a_picture_without_objects_teaches_that_there_are_none():
    head = small_head()
    answers = answers_of(head)
    empty = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    targets = head.assign(answers, [empty])
    losses = {name: loss.item() for name, loss in head.loss(answers, targets).items()}
    assert losses["background"] > 0
    assert losses["box"] == losses["object"] == losses["class"] == 0


def test_fitted_anchors_are_the_clusters():
    sides = np.float32([[10, 10]] * 5 + [[80, 40]] * 5)
    settings = YOLOv2.Settings().fitted(sides, 2, 1)
    np.testing.assert_allclose(settings.head.anchors.shapes, [[10, 10], [80, 40]], rtol=1e-6)
