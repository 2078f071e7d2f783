"""Light-Head R-CNN on networks of other families: it learns, predicts, comes back from a file."""

import numpy as np
import pytest

import nn
from detector import CompiledDetector, LightHeadRCNN
from detector.datasets import ShapesDataset
from detector.training import checkpoints
from detector.training.initial_weights import load_initial_weights
from detector.training.loading import load_detector
from detector.training.presets import TINY
from nn.models import NETWORKS, map_of_stride
from nn.weights import safetensors

BACKBONES = ["mobilenet_v2", "resnet18"]
SIDE = 96


def model_of(backbone):
    settings = TINY.updated(
        {
            "backbone": backbone,
            "image": {"short_side": SIDE, "max_side": SIDE},
            "rpn": {"anchors": {"sizes": (20, 32, 48)}},
            "head": {"hidden_channels": 128},
        }
    )
    nn.manual_seed(0)
    return LightHeadRCNN(4, **settings.as_dict())


@pytest.fixture(scope="module")
def pictures():
    shapes = ShapesDataset(8, image_size=SIDE)
    return [shapes.read(index) for index in range(8)], [shapes.target(i) for i in range(8)]


@pytest.fixture(scope="module", params=BACKBONES)
def trained(request, pictures):
    """A detector after a few steps, and the loss of each of them."""
    images, targets = pictures
    model = model_of(request.param)
    optimizer = nn.optim.MomentumSGD(list(model.parameters()), lr=0.05)
    losses = []
    for step in range(24):
        loss = sum(model.loss(images, targets, np.random.default_rng(step)).values())
        losses.append(loss.item())
        loss.backward()
        nn.optim.clip_grad_norm(model.parameters(), 10.0)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), losses


def test_the_loss_falls(trained):
    _, losses = trained
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


def test_predictions_are_boxes_in_the_pictures_compiled_or_not(trained, pictures):
    model, _ = trained
    images = [pictures[0][0], pictures[0][1][:70]]
    plain = model.predict(images)
    compiled = CompiledDetector(model).predict(images)
    for image, found, again in zip(images, plain, compiled, strict=True):
        height, width = image.shape[:2]
        assert len(found["boxes"]) and set(found["labels"]) <= {1, 2, 3, 4}
        assert (found["boxes"] >= 0).all() and (found["boxes"] <= [width, height] * 2).all()
        np.testing.assert_allclose(again["scores"], found["scores"], atol=1e-3)


def test_a_checkpoint_comes_back(trained, pictures, tmp_path):
    model, _ = trained
    about = {
        "detector": "light-head-rcnn",
        "config": model.config(),
        "classes": ["circle", "square", "triangle", "star"],
        "category_ids": [1, 2, 3, 4],
    }
    checkpoints.write(tmp_path / "w.ckpt", "detection", model, about)
    again = load_detector(tmp_path / "w.ckpt").model
    assert type(again.backbone) is type(model.backbone)
    for one, other in zip(model.predict(pictures[0]), again.predict(pictures[0]), strict=True):
        assert all(one[key].tobytes() == other[key].tobytes() for key in one)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_weights_of_the_network_with_its_classifier_are_a_start(backbone, tmp_path):
    nn.manual_seed(1)
    network, model = NETWORKS[backbone](), model_of(backbone)
    safetensors.write(tmp_path / "w.safetensors", network.state_dict())
    assert "(torchvision)" in load_initial_weights(model, tmp_path / "w.safetensors")
    theirs = network.state_dict()
    for key, array in model.backbone.state_dict().items():
        np.testing.assert_array_equal(array, theirs[key])
    model.backbone.freeze(1)
    stem = model.backbone.parts()[0]
    assert not any(parameter.requires_grad for parameter in stem.parameters())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_parts_get_the_maps_of_their_strides(backbone):
    model = model_of(backbone)
    assert model.rpn_maps == ("fused",)
    assert LightHeadRCNN(4, backbone).rpn_maps == (map_of_stride(model.backbone.maps, 16),) == ("c4",)
    assert model.thin_map.sources == ("c4", "c5")
    assert "last" not in model.backbone.maps


def test_a_map_that_a_network_does_not_have_is_one_line():
    with pytest.raises(ValueError, match="^the backbone has no map 'last', only c2, c3, c4, c5: "):
        LightHeadRCNN(4, "resnet18", thin_map={"source": "last"})
    assert "last" in LightHeadRCNN(4, "mobilenet_v2", thin_map={"source": "last"}).backbone.maps


@pytest.mark.parametrize("backbone", NETWORKS)
def test_every_network_with_maps_of_stride_16_and_32_is_a_backbone(backbone):
    """Traced, not computed: all sizes fit, whatever a network does at its border."""
    with nn.init.skipped():
        strides = {stride for _, stride in NETWORKS[backbone](num_classes=None).maps.values()}
        if not {16, 32} <= strides:
            with pytest.raises(ValueError, match="the network has no map of stride 32"):
                model_of(backbone)
            return
        model = model_of(backbone)
    rows = nn.summary(model, (1, 3, 160, 224)).rows
    idle = [row.name for row in rows if row.output_shape is None]
    assert not any(name.startswith("backbone") for name in idle)


@pytest.mark.parametrize("backbone", ["xception_like", "shufflenet_v1_g3_x0_25", "googlenet"])
def test_others_too_have_losses_and_predictions(backbone, pictures):
    images, targets = pictures
    model = model_of(backbone)
    losses = model.loss(images[:2], targets[:2], np.random.default_rng(0))
    sum(losses.values()).backward()
    assert all(np.isfinite(loss.item()) for loss in losses.values())
    assert all(parameter.grad is not None for parameter in model.backbone.parameters())
    model.eval()
    for found in model.predict(images[:1]):
        assert np.isfinite(found["boxes"]).all()
