"""The whole detector: its losses, their gradients, and what it promises to predict."""

import numpy as np
import pytest
from small_detectors import SMALL, batch, check_detections, generator, picture

import nn
from detector.boxes import box_iou
from detector.detectors.light_head_rcnn import LightHeadRCNN

TINY = SMALL["light-head-rcnn"]


def tiny_model(seed=0, changes=()):
    settings = TINY
    for path, value in dict(changes).items():
        settings = settings.changed(path, value)
    nn.manual_seed(seed)
    return LightHeadRCNN(3, **settings.as_dict())


NORMS = {"rpn.norm": "batch", "thin_map.norm": "batch"}


# Losses


@pytest.mark.parametrize("source", ["c4", "c5", "last", "fused"])
def test_losses_reach_every_parameter(source):
    model = tiny_model(changes={**NORMS, "thin_map.source": source})
    losses = model.loss(*batch(), rng=generator())
    assert list(losses) == ["rpn_objectness", "rpn_box", "head_class", "head_box"]
    for loss in losses.values():
        assert loss.shape == () and loss.item() > 0 and np.isfinite(loss.item())
    sum(losses.values()).backward()
    stage4_unused = source == "c4"
    for name, parameter in model.named_parameters():
        if not (stage4_unused and name.startswith("backbone.stage4")):
            assert parameter.grad is not None and np.abs(parameter.grad).max() > 0, name


def test_images_without_objects():
    model = tiny_model()
    images, targets = batch()
    losses = model.loss(images, [targets[1], targets[1]], generator())
    assert losses["rpn_box"].item() == 0 and losses["head_box"].item() == 0
    assert losses["rpn_objectness"].item() > 0 and losses["head_class"].item() > 0
    sum(losses.values()).backward()
    assert not model.rpn.deltas.weight.grad.any() and not model.head.boxes.weight.grad.any()


def test_the_ground_truth_itself_is_an_example():
    target = {"boxes": np.float32([[0, 0, 1, 1]]), "labels": np.array([2])}
    losses = tiny_model().eval().loss([picture(1, 1)], [target], generator())
    assert losses["head_class"].item() > 0


def test_loss_is_the_losses_of_a_plan():
    model = tiny_model()
    images, targets = batch()
    maps = model(model.to_tensor(images))
    plan = model.plan(maps, targets, [(64, 96), (50, 40)], generator(3))
    assert len(plan.rois.labels) == 2 * 16  # hard examples per image, of both together
    expected = model.losses(maps, plan)
    for name, loss in model.loss(images, targets, generator(3)).items():
        assert loss.item() == expected[name].item()


def test_samples_follow_the_generator():
    model = tiny_model(changes={"rpn.sampler.count": 8, "head.sampler.count": 8})
    one, other = (
        [loss.item() for loss in model.loss(*batch(), rng=generator(seed)).values()]
        for seed in (1, 2)
    )
    assert one != other


def test_padding_is_no_background():
    """What lies in the padding of a smaller image is neither sampled nor proposed."""
    model = tiny_model(
        changes={
            "rpn.matcher.inside_only": False,
            "rpn.sampler.count": 10_000,
            "head.hard_examples": None,
        }
    )
    images, targets = batch()
    sizes = [image.shape[:2] for image in images]
    maps = model(model.to_tensor(images))
    plan = model.plan(maps, targets, sizes, generator())
    M = len(maps.anchors)
    second = maps.anchors[plan.anchors.sampled[plan.anchors.sampled >= M] - M]
    centres = (second[:, :2] + second[:, 2:]) / 2
    assert len(centres) and (centres <= (40, 50)).all()
    rois = plan.rois.rois[plan.rois.rois[:, 0] == 1]
    assert len(rois) and (rois[:, 1:] <= (40, 50, 40, 50)).all()


def test_loss_weights():
    plain = tiny_model().loss(*batch())
    model = tiny_model(changes={"head.box_weight": 2.0, "rpn.objectness_weight": 0.5})
    weighted = model.loss(*batch())
    factors = {"rpn_objectness": 0.5, "rpn_box": 1, "head_class": 1, "head_box": 2}
    for name, factor in factors.items():
        assert weighted[name].item() == pytest.approx(factor * plain[name].item(), rel=1e-6)


def test_gradients_of_the_whole_loss():
    """In float64, with matching, sampling, proposals and mining held fixed by the plan.

    Batch norm over the few cells of so small an image makes the loss bend within 1e-6, and one of
    its 100,000 ReLUs would switch; float64 leaves room for a step of 1e-8.
    """
    model = tiny_model(
        changes={**NORMS, "thin_map.source": "fused", "rpn.matcher.anchors_per_box": 4}
    ).double()
    images, targets = batch()
    sizes = [image.shape[:2] for image in images]
    pixels = model.to_tensor(images)
    plan = model.plan(model(pixels), targets, sizes, generator())
    assert plan.rois.labels.any() and plan.anchors.is_object.any()
    # Of the backbone every fourth: convolutions and batch norms, from the stem to stage 4.
    backbone = list(model.backbone.parameters())
    others = [p for name, p in model.named_parameters() if not name.startswith("backbone.")]
    nn.gradcheck(
        lambda *_: model.losses(model(pixels), plan).values(),
        backbone[::4] + others,
        eps=1e-8,
        atol=1e-6,
        rtol=1e-5,
        directions=1,
    )


# Predictions


def test_predict_nothing():
    model = tiny_model()
    model.head.settings = model.head.settings.changed("selector.score_threshold", 1.0)
    (found,) = model.predict([picture(20, 30)])
    check_detections(found, picture(20, 30))
    assert len(found["scores"]) == 0


def test_boxes_come_back_in_the_image_s_own_pixels():
    model = tiny_model()
    seen = []

    def detect(logits, deltas, proposals, image_size, objectness):
        seen.append(image_size)
        assert not nn.is_grad_enabled()
        assert objectness.shape == proposals.shape[:1] and (objectness > 0).all()
        height, width = image_size
        box = np.float32([[0, 0, width, height], [width / 2, 0, width, height / 4]])
        return {"boxes": box, "scores": np.float32([1, 0.5]), "labels": np.array([1, 2])}

    model.head.detect = detect
    wide, small = model.predict([picture(100, 400), picture(10, 12)])
    assert seen == [(32, 128), (64, 77)]
    np.testing.assert_allclose(wide["boxes"], [[0, 0, 400, 100], [200, 0, 400, 25]], rtol=1e-6)
    np.testing.assert_allclose(small["boxes"], [[0, 0, 12, 10], [6, 0, 12, 2.5]], rtol=1e-6)


def test_predict_does_what_training_taught():
    """Overfitted to one image, the detector finds its objects, in the image's own pixels."""
    image = np.full((64, 96, 3), 90, np.uint8)
    image[10:40, 8:40] = (250, 30, 30)
    image[24:60, 52:88] = (20, 60, 240)
    target = {"boxes": np.float32([[8, 10, 40, 40], [52, 24, 88, 60]]), "labels": np.array([1, 3])}
    model = tiny_model(changes={**NORMS, "thin_map.source": "fused", "head.hidden_channels": 64})
    optimizer = nn.optim.MomentumSGD(model.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        sum(model.loss([image], [target]).values()).backward()
        optimizer.step()
    (found,) = model.predict([image.repeat(2, 0).repeat(2, 1)])  # twice the size
    assert found["labels"][:2].tolist() in ([1, 3], [3, 1])
    order = np.argsort(found["labels"][:2])
    assert (np.diag(box_iou(found["boxes"][order] / 2, target["boxes"])) > 0.5).all()


# Freezing


def test_freezing_the_thesis_s_way():
    model = tiny_model()
    model.freeze()
    stem = model.backbone.conv1
    assert not any(parameter.requires_grad for parameter in stem.parameters())
    before = {name: array.copy() for name, array in model.backbone.state_dict().items()}
    sum(model.loss(*batch()).values()).backward()
    for name, module in model.backbone.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.frozen and module.weight.grad is None, name
    for name, array in model.backbone.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert model.backbone.stage2[0].branch2[0].weight.grad is not None


def test_freezing_up_to_stage_2_only():
    model = tiny_model()
    model.freeze(2, batch_norm=False)
    frozen = [module for module in model.backbone.modules() if getattr(module, "frozen", False)]
    inside = [
        module
        for part in (model.backbone.conv1, model.backbone.stage2)
        for module in part.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    assert len(inside) == 1 + 2 + 4 * 3
    assert {id(module) for module in frozen} == {id(module) for module in inside}
    for name, parameter in model.backbone.named_parameters():
        assert parameter.requires_grad == name.startswith(("stage3", "stage4")), name
