"""The feature pyramid: against torchvision's, what it costs, and what it says it returns."""

from __future__ import annotations

import numpy as np
import pytest
from torchvision_oracle import torchvision_part

import nn
from detector.necks.fpn import FPN, FPNSettings
from nn.models import NETWORKS, Map

MAPS = {f"c{level}": Map(8 * level, 2**level) for level in (2, 3, 4, 5)}


def features(seed=0):
    rng = np.random.default_rng(seed)
    sides = {2: (13, 10), 3: (7, 5), 4: (4, 3), 5: (2, 2)}  # of a picture of 50 x 40, rounded up
    return {
        f"c{level}": rng.standard_normal((2, 8 * level, *side)).astype(np.float32)
        for level, side in sides.items()
    }


def run(pyramid, arrays):
    return pyramid({name: nn.Tensor(array) for name, array in arrays.items()})


def test_of_resnet_50_it_has_the_weights_of_the_paper():
    with nn.init.skipped():
        pyramid = FPN(NETWORKS["resnet50"](num_classes=None).maps)
    assert sum(parameter.numel() for parameter in pyramid.parameters()) == 3_344_384


@pytest.mark.parametrize("extra", ["none", "pool", "convs"])
@pytest.mark.parametrize("finest", [4, 8, 16])
def test_it_returns_the_maps_that_it_names(finest, extra):
    pyramid = FPN(MAPS, FPNSettings(finest=finest, channels=6, extra=extra, norm="batch"))
    found = run(pyramid, features())
    assert list(found) == list(pyramid.maps)
    assert next(iter(pyramid.maps.values())).stride == finest
    for name, (channels, stride) in pyramid.maps.items():
        assert channels == 6 and stride == 2 ** int(name[1:])
        assert found[name].shape == (2, 6, -(-50 // stride), -(-40 // stride))


def test_every_map_knows_what_the_coarsest_one_knows():
    arrays = features()
    pyramid = FPN(MAPS, FPNSettings(channels=6))
    before = run(pyramid, arrays)
    arrays["c5"] = arrays["c5"] + 1
    after = run(pyramid, arrays)
    assert all((before[name].data != after[name].data).any() for name in before)
    arrays["c2"] = arrays["c2"] + 1  # and nobody else what the finest one knows
    last = run(pyramid, arrays)
    assert [name for name in after if (after[name].data != last[name].data).any()] == ["p2"]


def test_a_backbone_without_the_maps_is_named():
    with pytest.raises(ValueError, match="no map of stride 4, only of 16, 32"):
        FPN({name: MAPS[name] for name in ("c4", "c5")})


@pytest.mark.parametrize("extra", ["pool", "convs"])
def test_it_is_torchvisions(extra):
    vision = torchvision_part("ops.feature_pyramid_network")
    import torch

    blocks = {"pool": vision.LastLevelMaxPool(), "convs": vision.LastLevelP6P7(40, 6)}[extra]
    theirs = vision.FeaturePyramidNetwork([m.channels for m in MAPS.values()], 6, blocks)
    ours = FPN(MAPS, FPNSettings(channels=6, extra=extra))
    names = {f"{p}.{end}": f"{p}.0.{end}" for p in ("p6", "p7") for end in ("weight", "bias")}
    names = {f"extra_blocks.{theirs}": ours for theirs, ours in names.items()}
    ours.load_state_dict(
        {names.get(name, name): value.numpy() for name, value in theirs.state_dict().items()}
    )
    expected = theirs({name: torch.from_numpy(array) for name, array in features().items()})
    actual = run(ours, features())
    for theirs_map, our_map in zip(expected.values(), actual.values(), strict=True):
        np.testing.assert_allclose(our_map.data, theirs_map.detach(), rtol=1e-4, atol=1e-5)
