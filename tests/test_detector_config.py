"""The detector built from names and numbers: sizes, configuration, every option in its place."""

import json
import re

import numpy as np
import pytest

import nn
from detector.detectors.flat_options import PATHS
from detector.detectors.light_head_rcnn import LightHeadRCNN, LightHeadRCNNSettings
from detector.settings import Settings
from detector.training.presets import PRESETS


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def small(seed=0, **settings):
    nn.manual_seed(seed)
    return LightHeadRCNN(3, "shufflenet_v2_x0_5", "S", **settings)


# Size


@pytest.mark.parametrize(
    ("backbone", "options", "rpn", "thin_map"),
    [
        ("shufflenet_v2_x1_0", {}, 557_914, 1_832_788),
        ("shufflenet_v2_x1_5", {}, 834_394, 2_293_588),
        ("shufflenet_v2_x1_0", {"thin_map": {"source": "last"}}, 557_914, 2_907_988),
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
    assert wide.config()["thin_map"]["mid_channels"] == 256
    narrow = LightHeadRCNN(2, "shufflenet_v2_x0_5", "L", thin_map={"mid_channels": 32})
    assert narrow.thin_map.conv.tall_wide[0].out_channels == 32


def test_layers_keep_the_names_of_the_classification_network():
    names = set(LightHeadRCNN(2, "shufflenet_v2_x0_5", thin_map={"source": "last"}).state_dict())
    theirs = set(nn.models.shufflenet_v2(0.5).state_dict())
    ours = {name.removeprefix("backbone.") for name in names if name.startswith("backbone.")}
    assert ours == {name for name in theirs if not name.startswith("fc.")}


# Configuration


def test_config_builds_the_same_detector_again():
    shapes = np.array([[10.0, 20.0], [30.0, 15.0]])
    model = LightHeadRCNN(
        3,
        "shufflenet_v2_x0_5",
        "L",
        rpn={"anchors": {"shapes": shapes}},
        head={"hard_examples": None},
    )
    config = json.loads(json.dumps(model.config()))
    again = LightHeadRCNN(**config)
    assert again.config() == model.config()
    again.load_state_dict(model.state_dict())
    assert {name: a.shape for name, a in again.state_dict().items()} == {
        name: a.shape for name, a in model.state_dict().items()
    }
    np.testing.assert_array_equal(again.rpn.anchor_generator.shapes, shapes)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, "shufflenet_v2_x0_5", "M"), {}, "'S' or 'L'"),
        ((3,), {"thin_map": {"source": "c6"}}, "thin_map.source must be one of .*'c6'"),
        ((3,), {"thin_map": {"kernel_size": 4}}, "kernel_size must be odd"),
        ((3,), {"rpn": {"init": "He"}}, "rpn.init must be one of gaussian, he"),
        ((3,), {"rpn": {"matcher": {"positive_iou": "0.6"}}}, "positive_iou must be a number"),
        ((3,), {"rpn": {"matcher": {"positive_iou": 6}}}, "rpn.matcher.positive_iou must be from"),
        ((3,), {"head": {"sampling_ratio": 10**9}}, "head.sampling_ratio must be from 0 to 64"),
        ((3,), {"rpn": {"sampler": {"count": 10**9}}}, "rpn.sampler.count must be at most 1048576"),
        ((3,), {"head": {"hard_examples": 1.5}}, "head.hard_examples must be a whole number"),
        ((3,), {"head": {"stds": [1, 2]}}, "head.stds must be 4 values"),
        ((3,), {"image": {"mean": None}}, "image.mean must be a list"),
        ((3,), {"head": 3}, "head must hold settings"),
    ],
)
def test_mistakes_are_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        LightHeadRCNN(*arguments, **options)


def leaves(settings, prefix=""):
    """Every single value by its path."""
    for name, value in vars(settings).items():
        if isinstance(value, Settings):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_json(name):
    recipe = PRESETS[name]
    assert type(recipe).of(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_every_setting_can_be_changed_by_its_path():
    settings = LightHeadRCNNSettings()
    for path, value in leaves(settings):
        assert settings.changed(path, value) == settings
    changed = settings.changed("rpn.matcher.positive_iou", 0.6)
    assert changed.rpn.matcher.positive_iou == 0.6 and settings.rpn.matcher.positive_iou == 0.7
    assert dict(leaves(changed)) == {**dict(leaves(settings)), "rpn.matcher.positive_iou": 0.6}


def test_a_part_is_updated_from_its_own_default():
    """Not from its class's: proposals in training are other ones than in use."""
    model = small(rpn={"train_selector": {"post_nms": 7}})
    assert model.rpn.settings.train_selector.post_nms == 7
    assert model.rpn.settings.train_selector.pre_nms == 12000


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("rpm.norm", "there is no rpm .did you mean 'rpn'"),
        ("rpn.macher.positive_iou", "rpn: there is no macher .did you mean 'matcher'.*channels"),
        ("rpn.matcher.positive", "rpn.matcher: there is no positive"),
        ("rpn.matcher", "rpn.matcher is no single value: choose one of its positive_iou"),
        ("rpn.channels.x", "rpn.channels is a value"),
        ("", "there is no "),
    ],
)
def test_paths_that_lead_nowhere(path, message):
    with pytest.raises(ValueError, match=message):
        LightHeadRCNNSettings().changed(path, 1)


def test_every_setting_is_explained():
    def parts(settings):
        yield settings
        for value in vars(settings).values():
            if isinstance(value, Settings):
                yield from parts(value)

    for part in parts(PRESETS["tiny"]):
        explained = " ".join(kind.__doc__ for kind in type(part).__mro__)
        for name in vars(part):
            assert re.search(rf"\b{name}\b", explained), (type(part).__name__, name)


def test_options_of_version_0_1():
    old = small(rpn_outputs=1, thin_map_from="stage3", proposal_nms=0.6, head_channels=32)
    new = small(
        rpn={
            "outputs": 1,
            "train_selector": {"iou_threshold": 0.6},
            "test_selector": {"iou_threshold": 0.6},
        },
        thin_map={"source": "c4"},
        head={"hidden_channels": 32},
    )
    assert old.config() == new.config()
    known = dict(leaves(LightHeadRCNNSettings()))
    assert all(path in known for paths in PATHS.values() for path in paths)


def test_options_of_anchors_norms_and_initial_weights():
    model = small(
        rpn={
            "prior": 0.1,
            "norm": "batch",
            "anchors": {"sizes": (12, 24, 40), "ratios": (0.5, 1)},
        },
        thin_map={"norm": "batch"},
    )
    assert model.rpn.anchor_generator.num_anchors_per_cell == 6
    assert isinstance(model.rpn.conv[1], nn.BatchNorm2d)
    assert isinstance(model.thin_map.conv.norm, nn.BatchNorm2d)
    assert model.rpn.objectness.bias.data.min() == pytest.approx(np.log(0.1 / 0.9))
    gaussian = LightHeadRCNN(3, "shufflenet_v2_x0_5")
    for hidden in (gaussian.rpn.conv[0], gaussian.thin_map.conv.tall_wide[0], gaussian.head.hidden):
        assert hidden.weight.data.std() == pytest.approx(0.01, rel=0.05)
    init = {"init": "he"}
    he = LightHeadRCNN(3, "shufflenet_v2_x0_5", rpn=init, thin_map=init, head=init)
    for hidden in (he.rpn.conv[0], he.thin_map.conv.tall_wide[0], he.head.hidden):
        assert hidden.weight.data.std() > 0.015
