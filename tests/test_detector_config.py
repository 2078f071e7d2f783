"""The detector built from names and numbers: sizes, configuration, every option in its place."""

import json
import re

import numpy as np
import pytest

import nn
from detector.detectors.config import DetectorConfig
from detector.detectors.light_head_rcnn import LightHeadRCNN


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def small(seed=0, **options):
    nn.manual_seed(seed)
    return LightHeadRCNN(3, "shufflenet_v2_x0_5", "S", **options)


# Size


@pytest.mark.parametrize(
    ("backbone", "options", "rpn", "thin_map"),
    [
        ("shufflenet_v2_x1_0", {}, 557_914, 1_832_788),
        ("shufflenet_v2_x1_5", {}, 834_394, 2_293_588),
        ("shufflenet_v2_x1_0", {"thin_map_from": "conv5"}, 557_914, 2_907_988),
    ],
)
def test_size_of_setting_s(backbone, options, rpn, thin_map):
    model = LightHeadRCNN(80, backbone, "S", **options)
    assert count(model.rpn) == rpn
    assert count(model.thin_map) == thin_map
    assert count(model.head) == 1_005_568 + 165_969 + 8_196


def test_setting_l_has_wider_branches():
    wide = LightHeadRCNN(2, "shufflenet_v2_x0_5", "L")
    assert wide.thin_map.conv.tall_wide[0].out_channels == 256
    assert wide.config()["separable_channels"] == 256
    narrow = LightHeadRCNN(2, "shufflenet_v2_x0_5", "L", separable_channels=32)
    assert narrow.thin_map.conv.tall_wide[0].out_channels == 32


def test_layers_keep_the_names_of_the_classification_network():
    names = set(LightHeadRCNN(2, "shufflenet_v2_x0_5", thin_map_from="conv5").state_dict())
    theirs = set(nn.models.shufflenet_v2(0.5).state_dict())
    ours = {name.removeprefix("backbone.") for name in names if name.startswith("backbone.")}
    assert ours == {name for name in theirs if not name.startswith("fc.")}


# Configuration


def test_config_builds_the_same_detector_again():
    shapes = np.array([[10.0, 20.0], [30.0, 15.0]])
    model = LightHeadRCNN(3, "shufflenet_v2_x0_5", "L", anchor_shapes=shapes, hard_examples=None)
    config = json.loads(json.dumps(model.config()))
    again = LightHeadRCNN(**config)
    assert again.config() == model.config()
    again.load_state_dict(model.state_dict())
    assert {name: a.shape for name, a in again.state_dict().items()} == {
        name: a.shape for name, a in model.state_dict().items()
    }
    np.testing.assert_array_equal(again.rpn.anchor_generator.shapes, shapes)


def test_the_same_seed_gives_the_same_weights():
    one, two, other = small(7), small(7), small(8)
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(array, two.state_dict()[name])
    weight = "backbone.conv1.0.weight"
    assert not np.array_equal(one.state_dict()[weight], other.state_dict()[weight])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, "shufflenet_v2_x05"), {}, "shufflenet_v2_x0_5"),
        ((3, "shufflenet_v2_x0_5", "M"), {}, "'S' or 'L'"),
        ((3, "shufflenet_v2_x0_5"), {"short_sid": 3}, "short_side"),
        ((3, "shufflenet_v2_x0_5"), {"thin_map_from": "stage5"}, "stage4"),
        ((3, "shufflenet_v2_x0_5"), {"init": "He"}, "he"),
        ((0, "shufflenet_v2_x0_5"), {}, "at least one class"),
    ],
)
def test_mistakes_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        LightHeadRCNN(*arguments, **options)


# Option, a value that is not the default, and where in the model it must be found again.
REACHES = [
    ("short_side", 99, lambda m: m.short_side),
    ("max_side", 999, lambda m: m.max_side),
    ("image_mean", (0.1, 0.2, 0.3), lambda m: m.image_mean),
    ("image_std", (0.1, 0.2, 0.3), lambda m: m.image_std),
    ("thin_map_from", "stage3", lambda m: m.thin_map.source),
    ("separable_kernel", 5, lambda m: m.thin_map.conv.tall_wide[0].kernel_size[0]),
    ("separable_channels", 7, lambda m: m.thin_map.conv.wide_tall[0].out_channels),
    ("rpn_channels", 9, lambda m: m.rpn.conv[0].out_channels),
    ("rpn_outputs", 1, lambda m: m.rpn.objectness.out_channels // 15),
    ("rpn_positive_iou", 0.6, lambda m: m.rpn.matcher.positive_iou),
    ("rpn_negative_iou", 0.2, lambda m: m.rpn.matcher.negative_iou),
    ("rpn_anchors_per_box", 9, lambda m: m.rpn.matcher.anchors_per_box),
    ("rpn_extra_iou", 0.4, lambda m: m.rpn.matcher.extra_iou),
    ("rpn_inside_only", False, lambda m: m.rpn.matcher.inside_only),
    ("rpn_samples", 99, lambda m: m.rpn.sampler.count),
    ("rpn_positive_fraction", 0.3, lambda m: m.rpn.sampler.positive_fraction),
    ("rpn_balance", "object", lambda m: m.rpn.balance),
    ("rpn_beta", 0.7, lambda m: m.rpn.beta),
    ("pre_nms_train", 99, lambda m: m.rpn.train_selector.pre_nms),
    ("post_nms_train", 99, lambda m: m.rpn.train_selector.post_nms),
    ("pre_nms_test", 99, lambda m: m.rpn.test_selector.pre_nms),
    ("post_nms_test", 99, lambda m: m.rpn.test_selector.post_nms),
    ("proposal_nms", 0.6, lambda m: m.rpn.train_selector.iou_threshold),
    ("proposal_nms", 0.6, lambda m: m.rpn.test_selector.iou_threshold),
    ("proposal_min_size", 3.0, lambda m: m.rpn.train_selector.min_size),
    ("pooled_size", 3, lambda m: m.head.pooled_size),
    ("pooled_channels", 3, lambda m: m.head.hidden.in_features // 9),
    ("pooling_mode", "max", lambda m: m.head.pooling_mode),
    ("sampling_ratio", 3, lambda m: m.head.sampling_ratio),
    ("head_channels", 9, lambda m: m.head.hidden.out_features),
    ("class_specific_boxes", True, lambda m: m.head.boxes.out_features == 16),
    ("box_stds", (1.0, 1.0, 2.0, 2.0), lambda m: m.head.stds),
    ("box_stds", (1.0, 1.0, 2.0, 2.0), lambda m: m.select.stds),
    ("roi_foreground_iou", 0.6, lambda m: m.head.sampler.foreground_iou),
    ("roi_background_iou", 0.1, lambda m: m.head.sampler.background_iou),
    ("roi_samples", 99, lambda m: m.head.sampler.count),
    ("roi_foreground_fraction", 0.4, lambda m: m.head.sampler.foreground_fraction),
    ("hard_examples", None, lambda m: m.head.hard_examples),
    ("head_beta", 0.3, lambda m: m.head.beta),
    ("box_normalizer", "positive", lambda m: m.rpn.box_normalizer),
    ("box_normalizer", "positive", lambda m: m.head.box_normalizer),
    ("rpn_objectness_weight", 3.0, lambda m: m.loss_weights["rpn_objectness"]),
    ("rpn_box_weight", 3.0, lambda m: m.loss_weights["rpn_box"]),
    ("head_class_weight", 3.0, lambda m: m.loss_weights["head_class"]),
    ("head_box_weight", 3.0, lambda m: m.loss_weights["head_box"]),
    ("score_threshold", 0.1, lambda m: m.select.score_threshold),
    ("detection_nms", 0.4, lambda m: m.select.iou_threshold),
    ("max_detections", 9, lambda m: m.select.max_detections),
]


@pytest.fixture(scope="module")
def changed_model():
    return LightHeadRCNN(3, "shufflenet_v2_x0_5", **{name: value for name, value, _ in REACHES})


@pytest.mark.parametrize("number", range(len(REACHES)))
def test_every_option_reaches_its_part(changed_model, number):
    name, value, found = REACHES[number]
    assert DetectorConfig().as_dict()[name] != value
    assert found(changed_model) == value, name


def test_no_option_is_forgotten():
    elsewhere = {
        "anchor_sizes", "anchor_ratios", "anchor_shapes", "rpn_norm", "thin_map_norm", "rpn_prior",
        "init",
    }  # fmt: skip
    assert set(DetectorConfig().as_dict()) == {name for name, _, _ in REACHES} | elsewhere


def test_options_of_anchors_norms_and_initial_weights():
    model = small(
        rpn_prior=0.1,
        rpn_norm="batch",
        thin_map_norm="batch",
        anchor_sizes=(12, 24, 40),
        anchor_ratios=(0.5, 1),
    )
    assert model.rpn.anchor_generator.num_anchors_per_cell == 6
    assert isinstance(model.rpn.conv[1], nn.BatchNorm2d)
    assert isinstance(model.thin_map.conv.norm, nn.BatchNorm2d)
    assert model.rpn.objectness.bias.data.min() == pytest.approx(np.log(0.1 / 0.9))
    gaussian = LightHeadRCNN(3, "shufflenet_v2_x0_5")
    for hidden in (gaussian.rpn.conv[0], gaussian.thin_map.conv.tall_wide[0], gaussian.head.hidden):
        assert hidden.weight.data.std() == pytest.approx(0.01, rel=0.05)
    he = LightHeadRCNN(3, "shufflenet_v2_x0_5", init="he")
    for hidden in (he.rpn.conv[0], he.thin_map.conv.tall_wide[0], he.head.hidden):
        assert hidden.weight.data.std() > 0.015


def test_every_option_is_explained():
    for name in DetectorConfig().as_dict():
        assert re.search(rf"\b{name}\b", DetectorConfig.__doc__), name


def test_preprocessing_of_the_loaded_weights_is_kept():
    model = small()
    model.set_preprocessing((0, 0, 0), (1, 1, 1))
    (value,) = np.unique(model.to_tensor([np.full((32, 32, 3), 51, np.uint8)]).data)
    assert value == pytest.approx(0.2)
    assert LightHeadRCNN(**model.config()).image_std == (1, 1, 1)
