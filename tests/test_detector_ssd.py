"""SSD: its costs to the unit, its boxes, which of them it learns from, its loss by torchvision."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from torchvision_oracle import torchvision_part

import nn
from detector.detectors.ssd import SSD
from detector.detectors.ssdlite import SSDLite
from detector.heads.dense import DenseAnswers
from detector.heads.ssd import SSDHead, SSDHeadSettings
from detector.necks.extra_maps import ExtraMaps, ExtraMapsSettings
from detector.parts.default_boxes import LEAST_CELLS, DefaultBoxes, DefaultBoxSettings
from detector.parts.matching import IGNORED, NEGATIVE, POSITIVE
from detector.parts.ohem import HardNegatives
from nn.models import NETWORKS, Map

SSD300_MAPS = [(38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1)]
STRIDES = (8, 16, 32, 64, 128, 256)


def random(seed=0):
    return np.random.Generator(np.random.Philox(seed))


# Costs, from the papers' configurations


@pytest.mark.parametrize(
    "num_classes, parameters, multiply_adds",
    [(20, 26_285_486, 31_373_537_792), (80, 34_305_206, 34_360_351_232)],
)
def test_costs_of_ssd300(num_classes, parameters, multiply_adds):
    with nn.init.skipped():
        model = SSD(num_classes)
    costs = nn.summary(model, (1, 3, 300, 300))
    assert (costs.parameters, costs.multiply_adds) == (parameters, multiply_adds)


class PaperSSDLite(nn.Module):
    """As the paper has it: MobileNet v2's inner map of 576 channels, 20 x 20, with three boxes."""

    def __init__(self):
        super().__init__()
        settings, maps = SSDLite.Settings(), {"c4": Map(576, 16), "c5": Map(1280, 32)}
        shapes = settings.head.anchors.of_maps()
        shapes[0] = shapes[0][:3]
        settings = settings.changed("head.anchors.shapes", shapes)
        self.features = NETWORKS["mobilenet_v2"](num_classes=0).features
        self.neck = ExtraMaps(maps, settings.neck)
        self.head = SSDHead(80, list(self.neck.maps.values()), settings.head)

    def forward(self, images):
        inner = nn.Tensor(np.zeros((1, 576, 20, 20), np.float32))
        maps = self.neck({"c4": inner, "c5": self.features(images)["last"]})
        return self.head(list(maps.values()), (320, 320))


def test_costs_of_ssdlite():
    with nn.init.skipped():
        model = PaperSSDLite()
    costs = nn.summary(model, (1, 3, 320, 320))
    assert (costs.parameters, costs.multiply_adds) == (4_337_013, 788_830_144)
    heads = [row for row in costs.rows if row.name.startswith("head.")]
    assert sum(row.parameters for row in heads) == 1_456_181
    assert sum(row.multiply_adds for row in heads) == 139_066_368


def test_ssd300_looks_at_8732_boxes():
    boxes = DefaultBoxes(DefaultBoxSettings().of_maps(), STRIDES)
    assert boxes.counts == [4, 6, 6, 6, 4, 4]
    assert len(boxes.grid(SSD300_MAPS, (300, 300))) == 8732


# Boxes


def test_boxes_of_a_cell_by_hand():
    first, second = DefaultBoxSettings((10, 40, 90), ((4,), ())).of_maps()
    np.testing.assert_allclose(first, [[10, 10], [20, 20], [20, 5], [5, 20]])
    np.testing.assert_allclose(second, [[40, 40], [60, 60]])
    boxes = DefaultBoxes([first, second], (8, 16)).grid([(2, 4), (1, 1)], (16, 32))
    assert boxes.shape == (2 * 4 * 4 + 2, 4)
    np.testing.assert_allclose(boxes[4], [12 - 5, 4 - 5, 12 + 5, 4 + 5])  # row 0, cell 1
    np.testing.assert_allclose(boxes[-2], [16 - 20, 8 - 20, 16 + 20, 8 + 20])  # evenly divided


def test_boxes_are_torchvisions():
    anchor_utils = torchvision_part("models.detection.anchor_utils")
    import torch

    settings = DefaultBoxSettings()
    scales = [size / 320 for size in settings.sizes]
    ratios = [list(map(int, ratios)) for ratios in settings.ratios]
    theirs = anchor_utils.DefaultBoxGenerator(ratios, scales=scales, clip=False)
    maps = [(40, 48), (20, 24), (10, 12), (5, 6), (3, 3), (1, 1)]
    features = [torch.zeros(1, 1, *size) for size in maps]
    images = SimpleNamespace(tensors=torch.zeros(1, 3, 320, 320), image_sizes=[(320, 320)])
    (expected,) = theirs(images, features)
    found = DefaultBoxes(settings.of_maps(), STRIDES).grid(maps, (320, 320))
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-4)


def test_fitted_boxes_lie_where_they_cover_some_cells():
    wide = np.float32([[24, 24], [200, 200], [40, 40], [100, 100]])
    shapes = DefaultBoxSettings().fit(wide, 4, 1, (8, 16, 32, 64))
    sizes = [np.sqrt(shapes.prod(axis=1)) for shapes in shapes]
    assert sum(map(len, shapes)) == 4
    cells = LEAST_CELLS
    for size, stride, after in zip(sizes, (8, 16, 32, 64), (16, 32, 64, 1e9), strict=True):
        assert (size < cells * after).all() and (stride == 8 or (size >= cells * stride).all())


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"head": {"anchors": {"sizes": (1, 2)}}}, "one size more .* not 2 for 6"),
        ({"head": {"anchors": {"shapes": ((),) * 6}}}, "there must be anchors"),
        ({"head": {"anchors": {"shapes": (((3, 4),),)}}}, "boxes for 1 maps, but 6 maps"),
        ({"neck": {"strides": (16, 8)}}, "neck.strides must rise"),
        ({"neck": {"strides": (8, 32)}}, "no map of stride 32"),
        ({"neck": {"channels": (2**14, 2**14)}}, "weights, more than"),
        ({"neck": {"channels": (8,) * 17}}, "neck.channels can be 16 at most"),
        ({"image": {"short_side": 4096, "max_side": 4096}, "head": {"anchors": {
            "shapes": (((9, 9),) * 512, (), (), (), (), ())}}}, "anchors in a picture"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_told(settings, message):
    with nn.init.skipped(), pytest.raises(ValueError, match=message):
        SSD(3, **settings)


# The maps


def test_unpadded_maps_end_where_there_is_no_room():
    neck = ExtraMaps({"c4": Map(4, 16)}, ExtraMapsSettings((16,), (8, 8, 8), 2))

    def sizes(H, W):
        maps = neck({"c4": nn.Tensor(np.ones((1, 4, H, W), np.float32))})
        return [features.shape[2:] for features in maps.values()]

    assert sizes(10, 10) == [(10, 10), (5, 5), (3, 3), (1, 1)]
    assert sizes(5, 10) == [(5, 10), (3, 5), (1, 3)]


def test_ssdlites_maps_are_separable():
    neck = ExtraMaps({"c5": Map(8, 32)}, ExtraMapsSettings((32,), (16,), 0, True, 0, "batch"))
    shapes = [array.shape for key, array in neck.state_dict().items() if array.ndim == 4]
    assert shapes == [(8, 8, 1, 1), (8, 1, 3, 3), (16, 8, 1, 1)]


# What is learned from


def test_the_hardest_of_the_background_by_hand():
    labels = np.int8([POSITIVE, NEGATIVE, NEGATIVE, IGNORED, NEGATIVE, NEGATIVE])
    # Background's logit first: the less of it, the harder.
    logits = np.float32([[9, 0], [0, 5], [5, 0], [-9, 9], [0, 1], [0, 900]])
    assert HardNegatives(2.0)(labels, logits).tolist() == [0, 1, 5]
    assert HardNegatives(3.0)(labels, logits).tolist() == [0, 1, 4, 5]
    assert HardNegatives(9.0)(labels, logits).tolist() == [0, 1, 2, 4, 5]
    empty = np.where(labels == POSITIVE, NEGATIVE, labels)
    assert HardNegatives(3.0)(empty, logits).tolist() == []
    assert HardNegatives(3.0, least=1)(empty, logits).tolist() == [5]


def batch(seed=0):
    """Two pictures' answers in float64, and what is in them; the second is empty."""
    rng = random(seed)
    head = SSDHead(3, [Map(4, 8), Map(4, 16)], SSDHeadSettings(ANCHORS))
    anchors = head.anchor_generator.grid([(6, 6), (3, 3)], (48, 48))
    logits = nn.Tensor(rng.normal(size=(2, len(anchors), 4)), True)
    deltas = nn.Tensor(rng.normal(size=(2, len(anchors), 4)), True)
    corners = rng.uniform(0, 30, (3, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(8, 18, (3, 2))], axis=1)
    targets = [
        {"boxes": boxes.astype(np.float32), "labels": np.array([1, 3, 2])},
        {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)},
    ]
    return head, DenseAnswers(logits, deltas, anchors), targets


ANCHORS = DefaultBoxSettings((10, 16, 30), ((2,), (2,)))


def test_without_objects_there_is_nothing_to_learn():
    head, answers, targets = batch()
    losses = head.loss(answers, head.assign(answers, [targets[1]] * 2))
    assert [loss.item() for loss in losses.values()] == [0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_loss_and_gradient_are_torchvisions(seed):
    ssd = torchvision_part("models.detection.ssd")
    utils, box_iou = torchvision_part("models.detection._utils"), torchvision_part("ops").box_iou
    import torch

    head, answers, targets = batch(seed)
    losses = head.loss(answers, head.assign(answers, targets))
    sum(losses.values()).backward()

    anchors = torch.from_numpy(answers.anchors).double()
    theirs = [
        {"boxes": torch.from_numpy(t["boxes"]).double(), "labels": torch.from_numpy(t["labels"])}
        for t in targets
    ]
    logits, deltas = (
        torch.from_numpy(tensor.data).clone().requires_grad_() for tensor in answers[:2]
    )
    matcher = utils.SSDMatcher(0.5)
    matched = [
        matcher(box_iou(target["boxes"], anchors))
        if len(target["boxes"])
        else torch.full((len(anchors),), -1)
        for target in theirs
    ]
    oracle = SimpleNamespace(box_coder=utils.BoxCoder((10.0, 10, 5, 5)), neg_to_pos_ratio=3.0)
    outputs = {"cls_logits": logits, "bbox_regression": deltas}
    expected = ssd.SSD.compute_loss(oracle, theirs, outputs, [anchors] * 2, matched)
    sum(expected.values()).backward()
    assert losses["class"].item() == pytest.approx(expected["classification"].item(), rel=1e-6)
    assert losses["box"].item() == pytest.approx(expected["bbox_regression"].item(), rel=1e-5)
    np.testing.assert_allclose(answers.logits.grad, logits.grad.numpy(), atol=1e-9)
    np.testing.assert_allclose(answers.deltas.grad, deltas.grad.numpy(), rtol=1e-5)
    assert (answers.logits.grad[0] != 0).any() and not answers.logits.grad[1].any()
