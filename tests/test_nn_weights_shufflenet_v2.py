"""Loading weights into ShuffleNet v2: both dialects, the permutation between them, and misfits."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
from nn.models import IMAGENET, load_weights, shufflenet_v2
from nn.models.shufflenet_v2 import conv_bn_relu, depthwise_bn
from nn.models.shufflenet_v2_megvii import megvii_order
from nn.weights import WeightsError, safetensors


def trained(model, seed=0):
    """Random weights and statistics, so that no two channels are alike."""
    rng = np.random.default_rng(seed)
    for name, array in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            array[...] = 100
        elif name.endswith(("running_var", "weight")) and array.ndim == 1:
            array[...] = rng.uniform(0.5, 1.5, array.shape)
        elif array.ndim == 4:  # keeps the size of the signal through 17 blocks
            array[...] = rng.standard_normal(array.shape) * np.sqrt(2 / array[0].size)
        else:
            array[...] = rng.standard_normal(array.shape) * 0.1
    return model


def images(seed=0, size=(64, 40)):
    return np.random.default_rng(seed).standard_normal((1, 3, *size)).astype(np.float32)


def features(model, array):
    with nn.no_grad():
        return model.eval().features(nn.Tensor(array))


# torchvision's dialect


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("with_counters", [True, False])
def test_torchvisions_names_load_one_to_one(tmp_path, suffix, with_counters):
    source, target = trained(shufflenet_v2(0.5)), shufflenet_v2(0.5)
    state = {
        name: array
        for name, array in source.state_dict().items()
        if with_counters or not name.endswith("num_batches_tracked")
    }
    assert len(state) == (338 if with_counters else 282)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(path, **state)
    else:
        safetensors.write(path, state)
    report = load_weights(target, path)
    assert str(report) == f"loaded 282 of 282 tensors from {path} (torchvision)"
    assert report.preprocessing == target.preprocessing == IMAGENET
    for name, array in target.state_dict().items():
        if name in state:
            np.testing.assert_array_equal(array, state[name], err_msg=name)


def test_a_file_of_torch_save_from_several_gpus_loads(tmp_path):
    torch = pytest.importorskip("torch")
    source, target = trained(shufflenet_v2(0.5)), shufflenet_v2(0.5)
    state = {
        f"module.{name}": torch.from_numpy(array) for name, array in source.state_dict().items()
    }
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "weights.pth.tar")
    assert len(load_weights(target, tmp_path / "weights.pth.tar").loaded) == 282
    np.testing.assert_array_equal(target.fc.weight.data, source.fc.weight.data)


@pytest.mark.parametrize(
    "prefix", ["backbone.", "model.", "module.", "module.model.backbone.", "net._orig_mod."]
)
@pytest.mark.parametrize("wrapper", ["model_state_dict", "net", "ema", "model", None])
def test_other_programs_checkpoints(tmp_path, prefix, wrapper):
    torch = pytest.importorskip("torch")
    source, target = trained(shufflenet_v2(0.5)), shufflenet_v2(0.5)
    state = {prefix + n: torch.from_numpy(a) for n, a in source.state_dict().items()}
    state["rpn.conv1.0.weight"] = torch.ones(3)
    whole = {"epoch": 3, "optimizer": {"lr": 0.1}, wrapper: state} if wrapper else state
    torch.save(whole, tmp_path / "w.ckpt")
    report = load_weights(target, tmp_path / "w.ckpt")
    assert len(report.loaded) == 282 and report.unexpected == ["rpn.conv1.0.weight"]
    np.testing.assert_array_equal(target.fc.weight.data, source.fc.weight.data)


def test_a_checkpoint_without_weights_says_what_it_has(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="no tensors in it, .* it has 'epoch', 'optimizer'"):
        load_weights(shufflenet_v2(0.5), tmp_path / "w.pth")


def test_another_networks_layers_are_no_prefix(tmp_path):
    names = ["conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight"]
    np.savez(tmp_path / "w.npz", **{name: np.zeros(3) for name in names})
    with pytest.raises(WeightsError, match="its names begin with conv1.weight, layer1.0.conv1.wei"):
        load_weights(shufflenet_v2(0.5), tmp_path / "w.npz")


def test_a_classifier_for_other_classes_is_left_out_and_reported(tmp_path):
    source, target = trained(shufflenet_v2(0.5)), shufflenet_v2(0.5, num_classes=3)
    before = target.fc.weight.data.copy()
    safetensors.write(tmp_path / "w.safetensors", source.state_dict())
    report = load_weights(target, tmp_path / "w.safetensors")
    assert len(report.loaded) == 280 and not report.missing and not report.unexpected
    assert report.mismatched == [
        ("fc.weight", (1000, 1024), (3, 1024)),
        ("fc.bias", (1000,), (3,)),
    ]
    assert "loaded 280 of 282" in str(report)
    assert "fc.bias left out: (1000,) in the file, (3,) in the model" in str(report)
    np.testing.assert_array_equal(target.fc.weight.data, before)


def test_a_backbone_takes_what_it_has_a_place_for(tmp_path):
    source, target = trained(shufflenet_v2(0.5)), shufflenet_v2(0.5, None, extra_depthwise=True)
    safetensors.write(tmp_path / "w.safetensors", source.state_dict())
    report = load_weights(target, tmp_path / "w.safetensors")
    assert len(report.loaded) == 275
    assert len(report.missing) == 16 * 5 and all(".extra." in name for name in report.missing)
    assert report.unexpected == [
        "conv5.0.weight", "conv5.1.weight", "conv5.1.bias", "conv5.1.running_mean",
        "conv5.1.running_var", "fc.weight", "fc.bias",
    ]  # fmt: skip
    assert "loaded 275 of 355 tensors" in str(report)
    assert "not in the file: stage2.0.extra.0.weight, " in str(report) and "77 more" in str(report)
    assert "not in the model: conv5.0.weight, conv5.1.weight, conv5.1.bias and 4 more" in str(
        report
    )


def test_any_module_with_the_same_names_is_a_target(tmp_path):
    class Stem(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = shufflenet_v2(0.5, None).conv1

    source, stem = trained(shufflenet_v2(0.5)), Stem()
    safetensors.write(tmp_path / "w.safetensors", source.state_dict())
    assert len(load_weights(stem, tmp_path / "w.safetensors").loaded) == 5
    np.testing.assert_array_equal(stem.conv1[0].weight.data, source.conv1[0].weight.data)


@pytest.mark.parametrize("names", [["encoder.weight"], ["conv1.1.num_batches_tracked"]])
def test_loading_nothing_is_an_error(tmp_path, names):
    np.savez(tmp_path / "w.npz", **{name: np.array(3) for name in names})
    with pytest.raises(WeightsError, match=rf"w\.npz: none of its 1 tensors .* {names[0]}"):
        load_weights(shufflenet_v2(0.5), tmp_path / "w.npz")


def test_weights_of_another_width_are_refused_and_change_nothing(tmp_path):
    target = trained(shufflenet_v2(0.5), seed=1)
    before = {name: array.copy() for name, array in target.state_dict().items()}
    safetensors.write(tmp_path / "w.safetensors", shufflenet_v2(1.0).state_dict())
    with pytest.raises(
        WeightsError, match=r"another width: .* stage2\.0\.branch1\.2\.weight: \(58"
    ):
        load_weights(target, tmp_path / "w.safetensors")
    for name, array in target.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# Megvii's dialect


def test_the_order_for_eight_channels_is_the_docstrings():
    assert megvii_order(8).tolist() == [0, 4, 2, 6, 1, 5, 3, 7]


@given(st.integers(1, 300).map(lambda half: 2 * half))
def test_the_order_follows_channels_through_both_networks(channels):
    """Shuffle and concatenation, as lists of labels: who passes, and where the others come in."""
    order = megvii_order(channels)
    assert sorted(order) == list(range(channels))
    assert order[order].tolist() == list(range(channels))
    theirs = [f"channel {index}" for index in range(channels)]
    ours = [theirs[index] for index in order]
    for block in range(3):
        stay, go = theirs[0::2], theirs[1::2]
        left, right = ours[: channels // 2], ours[channels // 2 :]
        assert sorted(left) == sorted(stay) and sorted(right) == sorted(go)
        fresh = [f"block {block} channel {index}" for index in range(channels // 2)]
        theirs = stay + fresh
        # Ours: what passed goes to the even places, the branch's output to the odd ones; in which
        # order that output comes is free, it only has to be what stands there in theirs.
        ours_next = [theirs[index] for index in order]
        assert ours_next[0::2] == left
        assert sorted(ours_next[1::2]) == sorted(fresh)
        ours = ours_next


class MegviiBlock(nn.Module):
    """Parity split, no shuffle: the block of the authors' own code, from our layers."""

    def __init__(self, channels_in, channels, stride):
        super().__init__()
        half = channels // 2
        branch_in = channels_in if stride == 2 else half
        self.stride = stride
        self.branch_main = nn.Sequential(
            *conv_bn_relu(branch_in, half),
            *depthwise_bn(half, stride),
            *conv_bn_relu(half, half),
        )
        if stride == 2:
            self.branch_proj = nn.Sequential(
                *depthwise_bn(channels_in, 2), *conv_bn_relu(channels_in, half)
            )

    def forward(self, x):
        if self.stride == 2:
            stay, go = self.branch_proj(x), x
        else:
            stay, go = x[:, 0::2], x[:, 1::2]
        return nn.functional.cat((stay, self.branch_main(go)), dim=1)


class MegviiBackbone(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first_conv = conv_bn_relu(3, 24, kernel_size=3, stride=2)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = 24
        for stage, (out, count) in enumerate(zip(channels, (4, 8, 4), strict=True), 2):
            blocks = [
                MegviiBlock(out if index else before, out, 1 if index else 2)
                for index in range(count)
            ]
            setattr(self, f"stage{stage}", nn.Sequential(*blocks))
            before = out

    def features(self, x):
        stage2 = self.stage2(self.maxpool(self.first_conv(x)))
        stage3 = self.stage3(stage2)
        return {"c3": stage2, "c4": stage3, "c5": self.stage4(stage3)}


def assert_same_features(ours, theirs, tolerance):
    for name, expected in theirs.items():
        order, actual = megvii_order(expected.shape[1]), ours[name].data
        assert np.abs(actual - expected[:, order]).max() < tolerance
        assert np.abs(actual[:, order] - expected).max() < tolerance
        assert np.abs(actual - expected).max() > 0.1  # the order does matter


def test_megviis_names_below_a_prefix(tmp_path):
    target = shufflenet_v2(0.5, num_classes=None)
    state = MegviiBackbone(target.stage_channels[1:4]).state_dict()
    np.savez(tmp_path / "w.npz", **{f"model.backbone.{name}": a for name, a in state.items()})
    assert len(load_weights(target, tmp_path / "w.npz").loaded) == 275


@pytest.mark.parametrize("width", [0.5, 1.0])
def test_megviis_network_and_ours_compute_the_same_after_loading(tmp_path, width):
    target = shufflenet_v2(width, num_classes=None)
    source = trained(MegviiBackbone(target.stage_channels[1:4]))
    np.savez(tmp_path / "w.npz", **source.state_dict())
    report = load_weights(target, tmp_path / "w.npz")
    assert str(report) == f"loaded 275 of 275 tensors from {tmp_path / 'w.npz'} (megvii)"
    assert report.preprocessing == target.preprocessing == ((0, 0, 0), (1, 1, 1))
    assert target.state_dict()["stage3.7.branch2.6.num_batches_tracked"] == 100
    rgb = images()
    theirs = features(source, np.ascontiguousarray(rgb[:, ::-1]))
    theirs = {name: map_.data for name, map_ in theirs.items()}
    largest = max(map_.max() for map_ in theirs.values())
    assert_same_features(features(target, rgb), theirs, 1e-5 * largest)


def test_the_reference_features_are_ours():
    root = os.environ.get("LIGHTHEAD_WEIGHTS")
    root = Path(root) if root else Path(__file__).resolve().parents[2] / "shared" / "weights"
    weights = root / "shufflenet_v2_x0_5_imagenet_backbone.pth"
    published = root / "shufflenet_v2_x0_5_reference_features.npz"
    if not weights.exists() or not published.exists():
        pytest.skip(f"no {weights.name} and its features in {root}; set LIGHTHEAD_WEIGHTS")
    model = shufflenet_v2(0.5, num_classes=None)
    report = load_weights(model, weights)
    assert (len(report.loaded), report.missing, report.unexpected) == (275, [], [])
    with np.load(published) as reference:
        rgb = np.ascontiguousarray(reference["input_bgr01"][:, ::-1])
        expected = {f"c{stage + 1}": reference[f"stage{stage}"] for stage in (2, 3, 4)}
    assert_same_features(features(model, rgb), expected, 1e-4)


def megvii_state():
    return dict(MegviiBackbone((48, 96, 192)).state_dict())


@pytest.mark.parametrize(
    "name, array, message",
    [
        ("stage2.0.branch_proj.2.weight", np.zeros((20, 24, 1, 1)), r"make \(20,\) and \(24,\)"),
        ("stage3.0.branch_main.5.weight", None, r"make \(48,\) and \(\) channels"),
        ("stage2.1.branch_main.0.weight", np.zeros((24, 23, 1, 1)), "24 channels expected"),
        ("stage2.1.branch_main.0.weight", np.zeros(24), "24 channels expected"),
        ("stage4.3.branch_main.6.bias", np.zeros(95), "96 channels expected"),
        ("first_conv.0.weight", np.zeros((24, 1, 3, 3)), "3 channels expected"),
        ("first_conv.1.bias", np.zeros(25), "another network"),
    ],
)
def test_malformed_megvii_weights_are_refused(tmp_path, name, array, message):
    state = megvii_state()
    if array is None:
        del state[name]
    else:
        state[name] = array
    np.savez(tmp_path / "w.npz", **state)
    with pytest.raises(WeightsError, match=rf"w\.npz: .*{message}"):
        load_weights(shufflenet_v2(0.5, None), tmp_path / "w.npz")


def test_megvii_weights_that_lack_a_block_are_reported(tmp_path):
    state = {name: array for name, array in megvii_state().items() if "stage3.5" not in name}
    np.savez(tmp_path / "w.npz", **state, **{"head.weight": np.zeros(3)})
    report = load_weights(shufflenet_v2(0.5, None), tmp_path / "w.npz")
    assert len(report.loaded) == 260
    assert len(report.missing) == 15 and all("stage3.5" in name for name in report.missing)
    assert report.unexpected == ["head.weight"]
