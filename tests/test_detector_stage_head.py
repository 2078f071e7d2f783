"""Faster R-CNN with the backbone's last stage as its head: what it costs, computes and shares."""

from __future__ import annotations

import numpy as np
import pytest
from small_detectors import batch, picture, small_detector
from torchvision_oracle import torchvision_part

import nn
from detector.detectors.faster_rcnn_c4 import FasterRCNNC4
from detector.heads.region_head import HeadTargets
from detector.heads.stage_head import AT_ONCE, CompiledLook, StageHead, StageHeadSettings
from nn.models import NETWORKS, Map

CLASSES = 80  # COCO's


def count(modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


# Costs


@pytest.mark.parametrize(
    ("backbone", "stride_2_in_3x3"), [("resnet50_paper", 0), ("resnet50", 147 * 1024 * 512)]
)
def test_what_resnets_stage_costs(backbone, stride_2_in_3x3):
    """Papers have no box outputs for the background, 4 x 2048 weights and biases. torchvision's
    first 1x1 convolution sees all 14 x 14 cells, 147 more than the paper's."""
    with nn.init.skipped():
        model = FasterRCNNC4(CLASSES, backbone=backbone)
    stage = model.backbone.stages()["c5"]
    assert count([stage, model.head]) == 15_786_385 + 4 * 2049
    assert model.head.multiply_adds == 732_989_440 + 4 * 2048 + stride_2_in_3x3


def test_what_shufflenets_stage_costs():
    """Four blocks whose branches have 96 channels, the first from 14 x 14 to 7 x 7 cells."""
    pointwise, depthwise = 96**2, 9 * 96
    halving = 196 * pointwise + 49 * 2 * pointwise + 2 * 49 * depthwise
    block = 49 * (2 * pointwise + depthwise)
    assert round((halving + 3 * block) / 1e4) == 563
    with nn.init.skipped():
        model = FasterRCNNC4(3, backbone="shufflenet_v2_x0_5", head={"class_specific_boxes": False})
    assert model.head.multiply_adds == halving + 3 * block + 192 * (4 + 4)


def test_a_picture_passes_no_further_than_its_map():
    with nn.init.skipped():
        model = FasterRCNNC4(CLASSES, backbone="resnet50")
    rows = nn.summary(model, (1, 3, 800, 1216)).rows
    called = {row.name.split(".")[1] for row in rows if row.output_shape and "backbone" in row.name}
    assert called == {"conv1", "bn1", "maxpool", "layer1", "layer2", "layer3"}
    assert sum(row.multiply_adds for row in rows if row.name.startswith("rpn")) == (
        50 * 76 * (9 * 1024 * 512 + 512 * 15 * 6)
    )
    assert count([model.rpn]) == 4_765_274


# The oracle


ROIS = np.array(
    [[0, 2, 3, 90, 50], [1, 0, 0, 62, 70], [0, 10, 10, 42, 78], [1, 4, 4, 95, 62], [0, 5, 5, 37, 9]]
)


@pytest.mark.parametrize("training", [True, False])
def test_losses_and_gradients_are_torchvisions(training):
    torch = pytest.importorskip("torch")
    models = torchvision_part("models")
    ops = torchvision_part("ops")
    roi_heads = torchvision_part("models.detection.roi_heads")

    nn.manual_seed(0)
    network = NETWORKS["resnet18"](num_classes=None).double()
    settings = StageHeadSettings(pooled_size=6, beta=1 / 9)
    head = StageHead(4, Map(256, 16), network.stages()["c5"], 512, settings).double()
    theirs = models.resnet18(weights=None).double()
    state = {name: torch.from_numpy(array) for name, array in network.state_dict().items()}
    theirs.load_state_dict(state, strict=False)
    linear = [torch.nn.Linear(512, size).double() for size in (5, 20)]
    for ours, their in zip((head.classes, head.boxes), linear, strict=True):
        ours.weight.data = ours.weight.data * 20
        their.weight.data, their.bias.data = map(
            torch.from_numpy, (ours.weight.data, ours.bias.data)
        )
    for module in (network, head, theirs):
        module.train(training)

    rng = np.random.default_rng(1)
    array, labels = np.abs(rng.normal(size=(2, 256, 5, 6))), np.array([1, 4, 0, 2, 0])
    targets = rng.normal(size=(5, 4)) * (labels > 0)[:, None]
    ours = nn.Tensor(array, requires_grad=True)
    losses = head.loss(ours, HeadTargets(ROIS, labels, targets))
    sum(losses.values()).backward()

    map_ = torch.tensor(array, requires_grad=True)
    pooled = ops.roi_align(map_, torch.from_numpy(ROIS), 6, 1 / 16, 2, aligned=True)
    mean = theirs.layer4(pooled).mean((2, 3))
    expected = roi_heads.fastrcnn_loss(
        linear[0](mean), linear[1](mean), [torch.tensor(labels)], [torch.tensor(targets)]
    )
    sum(expected).backward()
    for loss, value in zip(losses.values(), expected, strict=True):
        assert loss.item() == pytest.approx(value.item(), rel=1e-6) and loss.item() > 0
    np.testing.assert_allclose(ours.grad, map_.grad, rtol=1e-5, atol=1e-7)
    gradients = dict(theirs.named_parameters())
    compared = 0
    for name, parameter in network.named_parameters():
        if name.startswith("layer4."):
            np.testing.assert_allclose(parameter.grad, gradients[name].grad, rtol=1e-5, atol=1e-7)
            compared += 1
        else:
            assert parameter.grad is None
    assert compared == 15
    for ours, their in zip((head.classes, head.boxes), linear, strict=True):
        np.testing.assert_allclose(ours.weight.grad, their.weight.grad, rtol=1e-5, atol=1e-7)


# Whose weights they are


def test_the_stage_is_the_backbones():
    model = small_detector("faster-rcnn-c4")
    assert sorted(model.head.state_dict()) == [
        "boxes.bias", "boxes.weight", "classes.bias", "classes.weight",
    ]  # fmt: skip
    whole = NETWORKS["shufflenet_v2_x0_5"](num_classes=None).state_dict()
    model.backbone.load_state_dict(whole)  # published weights fit as they are
    sum(model.loss(*batch()).values()).backward()
    learned = [p.grad is not None for p in model.backbone.stage4.parameters()]
    assert all(learned)
    model.zero_grad()
    model.backbone.freeze(4)
    sum(model.loss(*batch()).values()).backward()
    assert all(p.grad is None for p in model.backbone.parameters())


def test_many_regions_are_looked_at_in_parts():
    model = small_detector("faster-rcnn-c4").eval()
    features = model(model.to_tensor([picture(64, 96)])).features
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 64, (2 * AT_ONCE + 3, 2, 2)), axis=1)
    rois = np.pad(corners.reshape(-1, 4), ((0, 0), (1, 0))).astype(np.float32)
    together = model.head(features, rois)
    compiled = CompiledLook(model.head)
    for some in (rois[:0], rois[:1], rois[:AT_ONCE], rois[: AT_ONCE + 1], rois):
        for kind in (None, compiled):
            logits, deltas = model.head(features, some, kind)
            assert logits.shape == (len(some), 4) and deltas.shape == (len(some), 4, 4)
            for found, expected in zip((logits, deltas), together, strict=True):
                np.testing.assert_allclose(
                    found.data, expected.data[: len(some)], rtol=1e-4, atol=1e-6
                )


def test_a_backbone_that_cannot_be_cut_is_named():
    with pytest.raises(ValueError, match="NASNet cannot be cut into stages"):
        FasterRCNNC4(3, backbone="nasnet_a_mobile")
    with pytest.raises(ValueError, match="nothing of shufflenet_v2_x0_5 lies behind .* c5"):
        FasterRCNNC4(3, backbone="shufflenet_v2_x0_5", rpn={"stride": 32})


def test_more_than_one_stage_may_lie_behind():
    model = FasterRCNNC4(3, backbone="shufflenet_v2_x0_5", rpn={"stride": 8})
    stages = model.backbone.stages()
    expected = [id(p) for name in ("c4", "c5") for p in stages[name].parameters()]
    (stage,) = model.head._stage
    assert [id(parameter) for parameter in stage.parameters()] == expected
