"""YOLO v1: its costs to the unit, and its loss against arithmetic done here."""

from __future__ import annotations

import numpy as np
import pytest
from small_detectors import small_detector

import nn
from detector.detectors.yolo_v1 import YOLOv1
from detector.heads.yolo_v1 import GridAnswers, YOLOv1Head, YOLOv1HeadSettings


def test_costs_are_the_papers():
    with nn.init.skipped():
        model = YOLOv1(20)
    costs = nn.summary(model, (1, 3, 448, 448))
    assert (costs.parameters, costs.multiply_adds) == (271_703_550, 20_285_153_280)
    assert model(nn.Tensor(np.zeros((1, 3, 448, 448), np.float32))).outputs.shape == (1, 49, 30)


def test_settings_without_measure_are_refused():
    with nn.init.skipped(), pytest.raises(ValueError, match="weights, more than"):
        YOLOv1(20, head={"cells": 64})


def small_head():
    """A 2 x 2 grid of 2 boxes and 2 classes."""
    settings = YOLOv1HeadSettings(2, 2, channels=4, hidden_channels=4)
    return YOLOv1Head(2, 4, settings)


def answers_of(N=1, seed=0):
    """Of a batch of 40 x 80 pixels, so that a cell has 20 x 40."""
    rng = np.random.Generator(np.random.Philox(seed))
    outputs = nn.Tensor(rng.uniform(0.1, 0.9, (N, 4, 12)), requires_grad=True)
    return GridAnswers(outputs, (40, 80))


def target(*boxes, labels=(2,)):
    return {"boxes": np.float32(boxes), "labels": np.array(labels)}


def test_boxes_by_hand():
    answers = answers_of()
    answers.outputs.data[0, 3, 2:7] = 1, 0.25, 0.5, 0.5, -0.6  # row 1, column 1, its first box
    found = small_head().boxes(answers.outputs.data[0], (40, 80))
    assert found.shape == (8, 4)
    x, y, w, h = 40 * 1.25, 20 * 1.5, 80 * 0.25, 40 * 0.36
    np.testing.assert_allclose(found[6], [x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def test_the_box_that_overlaps_more_is_responsible():
    head, answers = small_head(), answers_of()
    answers.outputs.data[0, 3, 2:7] = 1, 0.25, 0.5, 0.5, 0.6
    answers.outputs.data[0, 3, 7:12] = 1, 0.25, 0.5, 0.5, 0.7
    x, y, w, h = 50, 30, 20, 40 * 0.48
    box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
    found = head.assign(answers, [target(box)])
    assert found.cells.tolist() == [3] and found.responsible.tolist() == [1]
    np.testing.assert_allclose(found.places, [[0.25, 0.5, 0.5, 0.48**0.5]], rtol=1e-6)
    assert found.fits[0] == pytest.approx(0.48 / 0.49, rel=1e-5)


def test_where_none_overlaps_the_nearest_is_responsible():
    head, answers = small_head(), answers_of()
    answers.outputs.data[0, 0, 2:7] = 1, 0.9, 0.9, 0.05, 0.05
    answers.outputs.data[0, 0, 7:12] = 1, 0.5, 0.5, 0.05, 0.05
    found = head.assign(answers, [target([1, 1, 3, 3])])
    assert found.responsible.tolist() == [1] and found.fits.tolist() == [0]


def test_the_first_object_has_the_cell_and_the_border_is_inside():
    head = small_head()
    boxes = [2, 2, 30, 18], [4, 4, 20, 10], [76, 36, 84, 44]
    found = head.assign(answers_of(), [target(*boxes, labels=(2, 1, 1))])
    assert found.cells.tolist() == [0, 3] and found.labels.tolist() == [2, 1]


def test_the_loss_by_hand():
    head, answers = small_head(), answers_of()
    targets = head.assign(answers, [target([45, 22, 75, 36])])
    (cell,), (box,), (fit,) = targets.cells, targets.responsible, targets.fits
    said = answers.outputs.data[0]
    own = said[cell, 2 + 5 * box : 7 + 5 * box]
    wanted = [60 / 40 - 1, 29 / 20 - 1, (30 / 80) ** 0.5, (14 / 40) ** 0.5]
    losses = {name: loss.item() for name, loss in head.loss(answers, targets).items()}
    assert losses["box"] == pytest.approx(5 * ((own[1:] - wanted) ** 2).sum(), rel=1e-5)
    assert losses["object"] == pytest.approx((own[0] - fit) ** 2, rel=1e-5)
    others = sum(said[s, 2 + 5 * b] ** 2 for s in range(4) for b in range(2)) - own[0] ** 2
    assert losses["background"] == pytest.approx(0.5 * others)
    assert losses["class"] == pytest.approx(said[cell, 0] ** 2 + (said[cell, 1] - 1) ** 2)


def test_what_lies_in_a_crowd_is_not_background():
    head, answers = small_head(), answers_of()
    said = answers.outputs.data[0].reshape(4, 12)[:, 2:].reshape(4, 2, 5)
    said[..., 1:] = 0.5, 0.5, 0.3, 0.3  # each box 7.2 x 3.6 pixels in the middle of its cell
    crowd = {**target([45, 22, 75, 36]), "ignore": np.float32([[39, 0, 61, 9.5]])}  # cell 1, half
    losses = head.loss(answers, head.assign(answers, [crowd]))
    others = (said[[0, 2, 3], :, 0] ** 2).sum() - said[3, 0, 0] ** 2
    assert losses["background"].item() == pytest.approx(0.5 * others)


def test_crowds_are_stretched_with_their_picture():
    model = small_detector("yolo-v1", 2).eval()
    bias = model.head.output.bias.data.reshape(16, 2 + 2 * 5)
    bias[:, 2:] = [0.5, 0.5, 0.5, 0.3, 0.3] * 2
    image = np.zeros((32, 200, 3), np.uint8)
    nothing = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    whole = model.loss([image], [nothing])["background"].item()
    right = {**nothing, "ignore": np.float32([[100, 0, 200, 32]])}
    assert model.loss([image], [right])["background"].item() == pytest.approx(whole / 2, rel=1e-3)


def test_gradients():
    head, answers = small_head(), answers_of(2)
    targets = head.assign(answers, [target([45, 22, 75, 36]), target([2, 2, 9, 9], labels=(1,))])
    nn.gradcheck(
        lambda outputs: list(head.loss(answers._replace(outputs=outputs), targets).values()),
        [answers.outputs],
    )


def test_scores_stay_within_0_and_1():
    head, answers = small_head(), answers_of()
    answers.outputs.data[:] *= 9
    scores = head.detect(answers, (40, 80))["scores"]
    assert len(scores) and scores.min() >= 0 and scores.max() <= 1


def test_a_picture_is_the_same_beside_a_larger_one():
    """Alone, as when it is looked at, and in a batch, as when it is learned from."""
    model = small_detector("yolo-v1", 2)
    model.eval()
    rng = np.random.default_rng(0)
    small, large = (rng.integers(0, 256, size, np.uint8) for size in ((64, 80, 3), (128, 96, 3)))
    targets = [target([8, 8, 40, 40]), target([20, 60, 70, 120])]
    both = model.loss([small, large], targets)
    alone = [
        model.loss([image], [each]) for image, each in zip((small, large), targets, strict=True)
    ]
    for name in both:
        mean = (alone[0][name].data + alone[1][name].data) / 2
        np.testing.assert_allclose(both[name].data, mean, rtol=1e-4)


def test_boxes_are_those_of_the_picture_before_it_was_stretched(monkeypatch):
    model = small_detector("yolo-v1", 2)
    side = model.image.short_side
    sizes = []
    monkeypatch.setattr(
        type(model.head), "detect",
        lambda self, answers, size: sizes.append((answers.size, size)) or {
            "boxes": np.float32([[0, 0, side, side / 2]]), "scores": np.ones(1), "labels": [1],
        },
    )  # fmt: skip
    (found,) = model.predict([np.zeros((40, 120, 3), np.uint8)])
    assert sizes == [((side, side), (side, side))]
    np.testing.assert_allclose(found["boxes"], [[0, 0, 120, 20]])
