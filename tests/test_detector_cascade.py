"""The cascade of heads: who learns from which boxes, and what comes out at its end."""

from __future__ import annotations

import numpy as np
import pytest
from test_detector_heavy_heads import ROIS, pyramid

import nn
from detector.boxes import box_iou, decode
from detector.heads.cascade import CascadeHead, CascadeHeadSettings
from detector.parts.sampling import RoISampler
from nn import functional as F
from nn.models import Map

TRUTH = np.float32([[2, 3, 40, 50], [10, 10, 22, 18]])


def cascade(**options):
    nn.manual_seed(0)
    settings = CascadeHeadSettings(
        pooled_size=2, hidden_channels=6, canonical_side=32, init="he", **options
    )
    head = CascadeHead(3, [Map(5, 4), Map(5, 8), Map(5, 16)], settings)
    for stage in head.stages:  # so that they do move boxes
        nn.init.normal_(stage.boxes.weight, 0.0, 0.3)
    return head


def test_each_head_is_stricter_and_mends_less():
    settings = CascadeHeadSettings()
    stages = [settings.stage(number) for number in range(3)]
    assert [stage.sampler.foreground_iou for stage in stages] == [0.5, 0.6, 0.7]
    # The paper's weights 10 10 5 5, 20 20 10 10 and 30 30 15 15 are one over these.
    for stage, weight in zip(stages, (10, 20, 30), strict=True):
        np.testing.assert_allclose(1 / np.array(stage.stds), [weight] * 2 + [weight / 2] * 2)
    assert [stage.sampler.add_truth for stage in stages] == [True, False, False]


def test_examples_go_from_head_to_head():
    head, maps = cascade(sampler=RoISampler(count=8)).eval(), pyramid()
    rng = np.random.default_rng(0)
    proposals = [ROIS[[0, 2, 4], 1:], ROIS[[1, 3], 1:]]
    targets = [
        {"boxes": TRUTH, "labels": np.array([3, 1])},
        {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)},
    ]
    first, second, third = head.examples(maps, proposals, targets, rng)
    assert len(first.labels) == 3 + 2 + 2  # the proposals, and the truth of the first picture
    boxes = first.rois
    for number, picked in enumerate((second, third), start=1):
        stage = head.stages[number - 1]
        _, deltas = stage(maps, boxes)
        moved = np.clip(decode(deltas.data, boxes[:, 1:], stage.settings.stds), 0, [72, 64, 72, 64])
        moved = np.concatenate([boxes[:, :1], moved], axis=1)
        assert {tuple(row) for row in picked.rois.tolist()} == {
            tuple(row) for row in moved.astype(np.float32).tolist()
        }
        for roi, label in zip(picked.rois, picked.labels, strict=True):
            overlap = box_iou(roi[None, 1:], TRUTH).max() if roi[0] == 0 else 0
            assert (label > 0) == (overlap >= (0.5, 0.6, 0.7)[number])
        boxes = picked.rois


def test_the_opinion_is_the_mean_and_the_box_the_last_ones():
    head, maps = cascade().eval(), pyramid()
    logits, deltas = head(maps, ROIS)
    boxes, opinions = ROIS[:, 1:], []
    for stage in head.stages:
        said, moves = stage(maps, np.concatenate([ROIS[:, :1], boxes], axis=1))
        opinions.append(F.softmax(said, 1).data)
        boxes = np.clip(decode(moves.data, boxes, stage.settings.stds), 0, [72, 64, 72, 64])
    np.testing.assert_allclose(F.softmax(logits, 1).data, np.mean(opinions, 0), rtol=1e-5)
    found = decode(deltas.data, ROIS[:, 1:], head.settings.stds)
    whole = (ROIS[:, 3:] - ROIS[:, 1:3] > 0).all(axis=1)  # a region without area has no way back
    np.testing.assert_allclose(found[whole], boxes[whole], rtol=1e-3, atol=1e-2)


def test_a_third_of_each_gradient_reaches_the_maps():
    head, rois = cascade().train(), ROIS
    (fine, *others), gradients = pyramid(), []
    for mode in (True, False):
        maps = (nn.Tensor(fine.data, requires_grad=True), *others)
        head.train(mode)
        head.stages[1](maps, rois)[0].sum().backward()
        gradients.append(maps[0].grad)
    assert np.abs(gradients[1]).max() > 0
    np.testing.assert_allclose(gradients[0], gradients[1] / 3, rtol=1e-5, atol=1e-7)


def test_losses_are_the_sum_of_all_heads():
    head, maps = cascade(), pyramid()
    targets = [{"boxes": TRUTH, "labels": np.array([3, 1])}] * 2
    picked = head.examples(maps, [ROIS[:, 1:]] * 2, targets, np.random.default_rng(0))
    each = [stage.loss(maps, p) for stage, p in zip(head.stages, picked, strict=True)]
    for name, loss in head.loss(maps, picked).items():
        assert loss.item() == pytest.approx(sum(part[name].item() for part in each))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"foreground_ious": ()}, "a cascade has from 1 to 8 heads, not 0"),
        ({"class_specific_boxes": True}, "must be false"),
    ],
)
def test_what_cannot_be_a_cascade(options, message):
    with pytest.raises(ValueError, match=message):
        CascadeHeadSettings(**options)
