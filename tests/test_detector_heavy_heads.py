"""The heads of Faster R-CNN and R-FCN: what they cost, what they cut out, what they lose."""

from __future__ import annotations

import numpy as np
import pytest
from torchvision_oracle import torchvision_part

import nn
from detector.detectors.faster_rcnn import FasterRCNN
from detector.detectors.r_fcn import RFCN
from detector.heads.fast_rcnn import FastRCNNHead, FastRCNNHeadSettings, levels_of
from detector.heads.r_fcn import RFCNHead, RFCNHeadSettings
from detector.heads.region_head import HeadTargets
from detector.heads.rpn import RegionProposalNetwork, RPNSettings
from detector.necks.fpn import FPN
from detector.necks.score_maps import ScoreMaps, ScoreMapsSettings
from detector.parts.anchors import AnchorSettings
from detector.parts.proposals import ProposalSelector
from detector.parts.pyramid_anchors import PyramidAnchors
from nn import functional as F
from nn.models import NETWORKS, Map

CLASSES = 80  # COCO's


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds_of_a_region(head):
    return sum(layer.weight.numel() for layer in head.children())


def generator(seed=0):
    return np.random.Generator(np.random.Philox(seed))


# Costs


@pytest.mark.parametrize(
    ("channels", "hidden", "parameters", "multiply_adds"),
    [
        (512, 4096, 121_205_141, 121_196_544),  # Faster R-CNN on VGG-16
        # On a pyramid. Papers have no box outputs for the background, 4 x 1024 weights and biases.
        (256, 1024, 14_306_705 + 4 * 1025, 14_304_256 + 4 * 1024),
    ],
)
def test_what_two_connected_layers_cost(channels, hidden, parameters, multiply_adds):
    settings = FastRCNNHeadSettings(hidden_channels=hidden)
    with nn.init.skipped():
        head = FastRCNNHead(CLASSES, [Map(channels, 16)], settings)
    assert count(head) == parameters
    assert multiply_adds_of_a_region(head) == multiply_adds


@pytest.mark.parametrize(
    ("class_specific", "channels", "source", "expected"),
    [
        (False, 1024, Map(2048, 16), 6_367_301),
        (True, 1024, Map(2048, 16), 22_439_301),
        (False, 0, Map(464, 32), 1_936_725),
        (False, 0, Map(704, 32), 2_936_325),
    ],
)
def test_what_score_maps_cost(class_specific, channels, source, expected):
    head = RFCNHeadSettings(class_specific_boxes=class_specific)
    with nn.init.skipped():
        maps = ScoreMaps(
            {"c5": source}, head.out_channels(CLASSES), ScoreMapsSettings(channels=channels)
        )
    assert count(maps) == expected
    assert count(RFCNHead(CLASSES, 16, head)) == 0


def cost_of(model, part, size):
    rows = nn.summary(model, (1, 3, *size)).rows
    return sum(row.multiply_adds for row in rows if row.name.startswith(part))


def test_multiply_adds_of_a_picture():
    """At 800 x 1200: 54.39 billion in the pyramid, 1.84 in the score maps of ShuffleNet v2."""
    with nn.init.skipped():
        faster, r_fcn = (
            FasterRCNN(CLASSES, backbone="resnet50"),
            RFCN(CLASSES, backbone="shufflenet_v2_x1_0", score_maps={"channels": 0}),
        )
    cells = {256: 200 * 300, 512: 100 * 150, 1024: 50 * 75, 2048: 25 * 38}
    expected = sum(area * (C * 256 + 9 * 256**2) for C, area in cells.items())
    assert round(expected / 1e7) == 5439
    # The network sees multiples of 32: 1216 pixels, and 304, 152, 76, 38 cells.
    wide = {256: 200 * 304, 512: 100 * 152, 1024: 50 * 76, 2048: 25 * 38}
    padded = sum(area * (C * 256 + 9 * 256**2) for C, area in wide.items())
    assert cost_of(faster, "fpn", (800, 1216)) == padded
    assert cost_of(r_fcn, "score_maps", (800, 1216)) == 25 * 38 * 464 * 49 * 85 == 1_835_932_000


# Faster R-CNN's head


def pyramid(seed=0, dtype=np.float32):
    rng = generator(seed)
    return tuple(
        nn.Tensor(rng.standard_normal((2, 5, side, side + 2)).astype(dtype)) for side in (16, 8, 4)
    )


ROIS = np.float32(
    [[0, 2, 3, 40, 50], [1, 0, 0, 22, 20], [0, 10, 10, 22, 18], [1, 4, 4, 60, 62], [0, 5, 5, 5, 5]]
)


def small_head(**options):
    nn.manual_seed(0)
    settings = FastRCNNHeadSettings(
        pooled_size=3, hidden_channels=7, canonical_side=32, init="he", **options
    )
    return FastRCNNHead(4, [Map(5, 4), Map(5, 8), Map(5, 16)], settings)


def test_a_region_is_cut_from_the_map_of_its_size():
    # log2(side / 32) from the map of stride 16 on: half as large is the next finer one.
    boxes = np.float32([[0, 0, side, side] for side in (4, 8, 15.9, 16, 31, 32, 64, 500)])
    assert levels_of(boxes, (4, 8, 16), 32).tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    head, maps = small_head(), pyramid()
    levels = levels_of(ROIS[:, 1:], head.strides, 32)
    assert set(levels) == {0, 1, 2}
    pooled = head.pool(maps, ROIS).data
    for roi, level, found in zip(ROIS, levels, pooled, strict=True):
        alone = F.roi_align(maps[level], roi[None], 3, 1 / head.strides[level], 2, aligned=True)
        np.testing.assert_array_equal(found, alone.data[0])
    assert head.pool(maps, ROIS[:0]).shape == (0, 5, 3, 3)


def test_levels_are_torchvisions():
    torch = pytest.importorskip("torch")

    poolers = torchvision_part("ops.poolers")
    sides = generator(1).uniform(1, 1200, (500, 2)).astype(np.float32)
    boxes = np.concatenate([np.zeros_like(sides), sides], axis=1)
    theirs = poolers.LevelMapper(2, 5)([torch.from_numpy(boxes)])
    np.testing.assert_array_equal(levels_of(boxes, (4, 8, 16, 32), 224), theirs.numpy())


def examples(seed=3):
    rng = generator(seed)
    labels = np.array([1, 4, 0, 2, 0])
    deltas = rng.normal(0, 1, (5, 4)).astype(np.float32) * (labels > 0)[:, None]
    return HeadTargets(ROIS, labels, deltas)


def test_its_losses_and_their_gradients_are_torchvisions(monkeypatch):
    torch = pytest.importorskip("torch")

    roi_heads = torchvision_part("models.detection.roi_heads")
    head, targets, rng = small_head(beta=1 / 9), examples(), generator(5)
    logits, deltas = rng.normal(0, 1, (5, 5)), rng.normal(0, 1, (5, 5, 4))
    ours = [nn.Tensor(array, requires_grad=True) for array in (logits, deltas)]
    monkeypatch.setattr(head, "forward", lambda features, rois: ours)
    losses = head.loss(None, targets)
    theirs = [torch.tensor(a, requires_grad=True) for a in (logits, deltas.reshape(5, 20))]
    expected = roi_heads.fastrcnn_loss(
        *theirs, [torch.tensor(targets.labels)], [torch.tensor(targets.deltas)]
    )
    for loss, value in zip(losses.values(), expected, strict=True):
        assert loss.item() == pytest.approx(value.item(), rel=1e-6) and loss.item() > 0
    sum(losses.values()).backward()
    sum(expected).backward()
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our.grad.reshape(5, -1), their.grad, rtol=1e-5, atol=1e-9)


def test_gradients_of_a_head_on_a_pyramid():
    head, maps = small_head(), pyramid(dtype=np.float64)
    for parameter in head.parameters():
        parameter.data = parameter.data.astype(np.float64)
    targets = examples()
    rois, targets = ROIS.astype(np.float64), targets._replace(deltas=targets.deltas.astype(float))

    def loss(*maps):
        return sum(head.loss(maps, targets._replace(rois=rois)).values())

    nn.gradcheck(loss, [nn.Tensor(level.data, requires_grad=True) for level in maps])


# R-FCN's vote


def test_a_score_is_the_mean_of_what_the_bins_find():
    """Two classes, 2 x 2 bins: every bin has a map of its own, filled with one number."""
    settings = RFCNHeadSettings(pooled_size=2, hard_examples=None)
    head, channels = RFCNHead(2, 4, settings), settings.out_channels(2)
    assert channels == (1 + 2 + 4) * 4
    numbers = np.arange(channels, dtype=np.float32)
    maps = nn.Tensor(np.broadcast_to(numbers[None, :, None, None], (1, channels, 8, 8)).copy())
    logits, deltas = head(maps, np.float32([[0, 4, 4, 20, 20], [0, 0, 8, 12, 30]]))
    # The background has the maps 0 1 2 3, the classes 4 5 6 7 and 8 9 10 11; then the box.
    np.testing.assert_allclose(logits.data, [[1.5, 5.5, 9.5]] * 2)
    np.testing.assert_allclose(deltas.data, [[13.5, 17.5, 21.5, 25.5]] * 2)


def test_a_bin_looks_at_its_own_map_only_and_at_its_own_place():
    settings = RFCNHeadSettings(pooled_size=2)
    head = RFCNHead(1, 4, settings)
    maps = np.zeros((1, settings.out_channels(1), 8, 8), np.float32)
    maps[0, 4 + 1, :4, 4:] = 8  # class 1, the bin at the top right, and only there
    region = np.float32([[0, 2, 2, 30, 30]])
    logits, _ = head(nn.Tensor(maps), region)
    # A quarter of the bins finds 8, almost all over.
    assert logits.data[0, 0] == 0 and 1.5 < logits.data[0, 1] <= 2
    maps[0, 4 + 2] = maps[0, 4 + 1]  # where the bin at the bottom left never looks
    maps[0, 4 + 1] = 0
    logits, _ = head(nn.Tensor(maps), region)
    assert abs(logits.data[0, 1]) < 0.3


def test_class_specific_boxes_have_maps_of_their_own():
    settings = RFCNHeadSettings(pooled_size=1, class_specific_boxes=True)
    head, channels = RFCNHead(2, 4, settings), settings.out_channels(2)
    assert channels == 3 + 3 * 4
    numbers = np.arange(channels, dtype=np.float32)
    maps = nn.Tensor(np.broadcast_to(numbers[None, :, None, None], (1, channels, 8, 8)).copy())
    _, deltas = head(maps, ROIS[2:3])
    np.testing.assert_allclose(deltas.data[0], np.arange(3, 15).reshape(3, 4))


# Region proposals of a pyramid


def test_anchors_are_dealt_out_by_their_areas():
    anchors = PyramidAnchors(AnchorSettings(), (4, 8, 16, 32, 64))
    assert anchors.num_anchors_per_cell == 3 and anchors.stride.tolist() == sum(
        ([stride] * 3 for stride in (4, 8, 16, 32, 64)), []
    )
    for level, size in zip(anchors.levels, (32, 64, 128, 256, 512), strict=True):
        np.testing.assert_allclose(level.shapes.prod(axis=1), size**2)
        np.testing.assert_allclose(level.shapes[:, 1] / level.shapes[:, 0], [0.5, 1, 2])
    grids = anchors.grids([(2, 3)] * 5)
    assert [grid.shape for grid in grids] == [(18, 4)] * 5
    np.testing.assert_allclose(grids[1][1], [4 - 32, 4 - 32, 4 + 32, 4 + 32])
    with pytest.raises(ValueError, match="15 anchors cannot be shared out evenly to 4 maps"):
        PyramidAnchors(AnchorSettings(), (4, 8, 16, 32))


def test_each_map_of_a_pyramid_proposes_its_best():
    settings = RPNSettings(
        channels=4,
        anchors=AnchorSettings((8, 16), (1,)),
        test_selector=ProposalSelector(pre_nms=2, post_nms=3),
    )
    rpn = RegionProposalNetwork(5, settings, (4, 8)).eval()
    maps = pyramid()[:2]
    objectness, deltas = rpn(*maps)
    assert objectness.shape == (2, 16 * 18 + 8 * 10) and deltas.shape == (2, 16 * 18 + 8 * 10, 4)
    for start, level in ((0, maps[0]), (16 * 18, maps[1])):
        alone, _ = rpn(level)
        np.testing.assert_array_equal(
            objectness.data[:, start : start + alone.shape[1]], alone.data
        )
    levels = (16 * 18, 8 * 10)
    anchors = np.concatenate(rpn.anchor_generator.grids([(16, 18), (8, 10)]))
    # By themselves the two best of all would lie on one map: the lowest scores on the other.
    scores = np.zeros((1, sum(levels)), np.float32)
    scores[0, [5, 100, 200]] = 9, 8, 7
    scores[0, [300, 350]] = 2, 1
    zero = nn.Tensor(np.zeros((1, sum(levels), 4), np.float32))
    (proposals,) = rpn.propose(nn.Tensor(scores), zero, anchors, [(64, 72)], levels)
    np.testing.assert_allclose(proposals, np.clip(anchors[[5, 100, 300]], 0, [72, 64, 72, 64]))


def test_a_pyramid_has_its_strides():
    maps = NETWORKS["shufflenet_v2_x0_5"](num_classes=None).maps
    assert [stride for _, stride in FPN(maps).maps.values()] == [4, 8, 16, 32, 64]
    model = FasterRCNN(3, backbone="shufflenet_v2_x0_5", neck="none")
    assert model.rpn_maps == ("c4",) and model.head.strides == (16,) and model.fpn is None
