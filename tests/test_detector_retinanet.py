"""RetinaNet: its costs to the unit, its focal loss by hand, its losses against torchvision's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from torchvision_oracle import torchvision_part

import nn
from detector.detectors.retinanet import RetinaNet
from detector.heads.dense import DenseAnswers
from detector.heads.retina import RetinaHead, RetinaHeadSettings
from detector.parts.anchors import AnchorSettings
from detector.parts.losses import focal_loss
from detector.parts.matching import AnchorMatcher
from nn.models import Map


def test_costs_of_the_papers_network():
    """The heads of 80 classes on the five maps of a picture of 800 x 1200, 20,017 cells."""
    with nn.init.skipped():
        model = RetinaNet(80)
    heads = sum(parameter.data.size for parameter in model.head.parameters())
    assert heads == 6_463_220
    costs = nn.summary(model, (1, 3, 800, 1200))
    found = sum(row.multiply_adds for row in costs.rows if row.name.startswith("head."))
    assert found == 20_017 * 9 * 256 * (8 * 256 + 9 * 84)


def test_anchors_grow_with_the_stride():
    head = RetinaHead(2, [Map(4, 8), Map(4, 32)], RetinaHeadSettings(channels=4))
    fine, coarse = head.anchor_generator.of_maps
    assert len(fine) == 9 and np.sqrt(fine.prod(axis=1).min()) == pytest.approx(32)
    np.testing.assert_allclose(coarse, 4 * fine)


def test_fitted_anchors_are_one_octave_of_the_ratios():
    settings = RetinaNet.Settings().fitted(np.float32([[10, 40], [20, 80], [40, 160]]), 2, 1)
    shapes = np.asarray(settings.head.anchors.shapes)
    np.testing.assert_allclose(shapes[:, 1] / shapes[:, 0], 4, rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(shapes.prod(axis=1)), [32, 32 * 2**0.5], rtol=1e-6)


def test_an_untrained_network_believes_in_the_prior():
    head = RetinaHead(3, [Map(4, 8)], RetinaHeadSettings(channels=4, prior=0.02))
    answers = head([nn.Tensor(np.zeros((1, 4, 2, 2), np.float32))], (16, 16))
    probabilities = head.probabilities(answers.logits[0])
    assert not probabilities[:, 0].any()
    np.testing.assert_allclose(probabilities[:, 1:], 0.02, rtol=1e-5)


def test_focal_loss_by_hand():
    """p = 0.8: -0.25 * 0.2^2 ln 0.8 if it is there, -0.75 * 0.8^2 ln 0.2 if not."""
    logits = nn.Tensor(np.full((1, 2), np.log(4.0)))
    found = focal_loss(logits, np.array([[True, False]]), 0.25, 2.0).data
    expected = [-0.25 * 0.04 * np.log(0.8), -0.75 * 0.64 * np.log(0.2)]
    np.testing.assert_allclose(found, [expected])


def test_focal_loss_is_cross_entropy_where_nothing_is_known_and_finite_where_all_is():
    logits = nn.Tensor(np.float32([[0, 90, -90, 5000, -5000]]), True)
    losses = focal_loss(logits, np.array([[True, True, False, False, True]]), 0.5, 1.0)
    assert losses.data[0, 0] == pytest.approx(0.25 * np.log(2))
    losses.sum().backward()
    assert np.isfinite(losses.data).all() and np.isfinite(logits.grad).all()


def test_gradient_of_the_focal_loss():
    rng = np.random.Generator(np.random.Philox(1))
    is_class = rng.random((4, 3)) < 0.4
    logits = nn.Tensor(2 * rng.normal(size=(4, 3)), True)
    nn.gradcheck(lambda x: [focal_loss(x, is_class, 0.25, 2.0)], [logits])


@pytest.mark.parametrize("seed", range(3))
def test_losses_and_gradients_are_torchvisions(seed):
    """Its classes count the background as 0 as ours do, its sums are divided picture by picture."""
    retinanet = torchvision_part("models.detection.retinanet")
    utils, ops = torchvision_part("models.detection._utils"), torchvision_part("ops")
    import torch

    rng = np.random.Generator(np.random.Philox(seed))
    settings = RetinaHeadSettings(
        AnchorSettings((12.0, 20.0), (0.5, 2.0)), channels=4,
        matcher=AnchorMatcher(0.5, 0.4, inside_only=False),
    )  # fmt: skip
    head = RetinaHead(3, [Map(4, 8), Map(4, 16)], settings)
    anchors = head.anchor_generator.grid([(6, 6), (3, 3)], (48, 48))
    logits = nn.Tensor(2 * rng.normal(size=(1, len(anchors), 3)), True)
    deltas = nn.Tensor(rng.normal(size=(1, len(anchors), 4)), True)
    corners = rng.uniform(0, 30, (3, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(8, 18, (3, 2))], axis=1)
    target = {"boxes": boxes.astype(np.float32), "labels": np.array([1, 3, 2])}
    answers = DenseAnswers(logits, deltas, anchors)
    losses = head.loss(answers, head.assign(answers, [target]))
    sum(losses.values()).backward()

    theirs = {
        "boxes": torch.from_numpy(target["boxes"]).double(),
        "labels": torch.from_numpy(target["labels"]),
    }
    places = torch.from_numpy(anchors).double()
    matcher = utils.Matcher(0.5, 0.4, allow_low_quality_matches=True)
    matched = matcher(ops.box_iou(theirs["boxes"], places))
    outputs = {
        # An extra first column: the class number 0, which no target has.
        "cls_logits": torch.from_numpy(logits.data.copy()),
        "bbox_regression": torch.from_numpy(deltas.data.copy()),
    }
    outputs["cls_logits"] = torch.nn.functional.pad(outputs["cls_logits"], (1, 0), value=-1e9)
    for output in outputs.values():
        output.requires_grad_()
    oracle = SimpleNamespace(
        BETWEEN_THRESHOLDS=matcher.BETWEEN_THRESHOLDS, _loss_type="l1",
        box_coder=utils.BoxCoder((1.0, 1.0, 1.0, 1.0)),
    )  # fmt: skip
    named = {
        "class": retinanet.RetinaNetClassificationHead.compute_loss(
            oracle, [theirs], outputs, [matched]
        ),
        "box": retinanet.RetinaNetRegressionHead.compute_loss(
            oracle, [theirs], outputs, [places], [matched]
        ),
    }
    sum(named.values()).backward()
    assert losses["class"].item() == pytest.approx(named["class"].item(), rel=1e-6)
    assert losses["box"].item() == pytest.approx(named["box"].item(), rel=1e-4)
    np.testing.assert_allclose(
        logits.grad[0], outputs["cls_logits"].grad.numpy()[0, :, 1:], atol=1e-9
    )
    expected = outputs["bbox_regression"].grad.numpy()
    np.testing.assert_allclose(deltas.grad, expected, atol=1e-4)
    assert (deltas.grad != 0).any()
