"""Every network of the table meets every check: costs, names, maps, parts, scores, compilation.

A new row without numbers here fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import nn
from nn.models import NETWORKS, load_weights
from nn.models.mobilenet_v2 import mobilenet_v2
from nn.models.resnet import BasicBlock, Bottleneck, ResNet
from nn.models.shufflenet_v2 import shufflenet_v2
from nn.weights import safetensors


class Expected(NamedTuple):
    """What others say of a network with 1000 classes.

    Attributes:
        parameters, multiply_adds: at 224 x 224.
        channels: of its maps, finest first.
        names: ``fingerprint`` of the names and shapes of its state_dict.
        scores: the first three that torchvision's model gives for ``picture()`` with the weights of
            ``filled``; None where torchvision has no such model.
    """

    parameters: int
    multiply_adds: int
    channels: tuple[int, ...]
    names: str
    scores: tuple[float, float, float] | None = None


# Computed with torchvision 0.28. It has no v2*: there the numbers of tests/test_nn_shufflenet_v2.py
# stand, which also has the network once more in PyTorch, and the names are those we had.
# fmt: off
EXPECTED = {
    "mobilenet_v2": Expected(
        3_504_872, 300_774_272, (24, 32, 96, 320, 1280), "37bbbce8932f",
        (-0.79134, 3.35829, -0.86653),
    ),
    "mobilenet_v2_x1_4": Expected(
        6_108_776, 582_195_824, (32, 48, 136, 448, 1792), "f56d711aee51",
        (1.37534, -6.13057, 1.4289),
    ),
    "resnet18": Expected(
        11_689_512, 1_814_073_344, (64, 128, 256, 512), "84fb10d9c690",
        (-26.764, 75.5652, -78.5805),
    ),
    "resnet34": Expected(
        21_797_672, 3_663_761_408, (64, 128, 256, 512), "28f9096d5130",
        (1123.2, -1162.62, 3002.98),
    ),
    "resnet50": Expected(
        25_557_032, 4_089_184_256, (256, 512, 1024, 2048), "d7e4f8bb0a53",
        (-6144.04, 622.363, 721.059),
    ),
    "shufflenet_v2_x0_5": Expected(
        1_366_792, 40_476_448, (24, 48, 96, 192, 1024), "f0a5936e646f",
        (-20.4478, -394.604, -75.6055),
    ),
    "shufflenet_v2_x1_0": Expected(
        2_278_604, 144_907_992, (24, 116, 232, 464, 1024), "81b349bc1cbb",
        (-104.448, -625.126, 286.06),
    ),
    "shufflenet_v2_x1_5": Expected(
        3_503_624, 295_759_392, (24, 176, 352, 704, 1024), "506b4de341bf",
        (253.42, 323.043, -609.859),
    ),
    "shufflenet_v2_x2_0": Expected(
        7_393_996, 583_253_464, (24, 244, 488, 976, 2048), "0c033bd0cd72",
        (-1121.1, -1433.01, 1650.92),
    ),
    "shufflenet_v2_star_x0_5": Expected(
        1_376_296, 42_889_600, (24, 48, 96, 192, 1024), "73d1f0e0068b",
    ),
    "shufflenet_v2_star_x1_0": Expected(
        2_301_198, 149_780_160, (24, 116, 232, 464, 1024), "8f90f5d79277",
    ),
    "shufflenet_v2_star_x1_5": Expected(
        3_537_768, 302_801_280, (24, 176, 352, 704, 1024), "8fc3070e9fd1",
    ),
    "shufflenet_v2_star_x2_0": Expected(
        7_441_230, 592_754_368, (24, 244, 488, 976, 2048), "55d29f300e2f",
    ),
}
# fmt: on

# Of torchvision's models with other arguments.
VARIANTS = [
    ("mobilenet_v2", {"width_mult": 0.35}, 1_677_128, 59_285_808),
    ("mobilenet_v2", {"width_mult": 0.5}, 1_968_680, 97_131_840),
    ("mobilenet_v2", {"width_mult": 0.75}, 2_636_424, 209_069_792),
    ("mobilenet_v2", {"width_mult": 1.3}, 5_386_792, 509_374_560),
]

# One small network of every family, with all kinds of its blocks, whose gradients are checked.
FAMILIES = {
    "mobilenet_v2": lambda: mobilenet_v2(5, width_mult=0.35, dropout=0.0),
    "resnet": lambda: ResNet(BasicBlock, (2, 1, 1, 1), 5),
    "resnet, bottlenecks": lambda: ResNet(Bottleneck, (2, 1, 1, 1), 5),
    "shufflenet_v2": lambda: shufflenet_v2(0.5, 5, extra_depthwise=True),
}


def filled(model, seed=0):
    """Random weights and statistics, so that no two channels are alike and none is lost."""
    rng = np.random.default_rng(seed)
    for name, array in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            array[...] = 100
        elif array.ndim > 1:
            array[...] = rng.standard_normal(array.shape) * np.sqrt(2 / array[0].size)
        elif name.endswith(("running_var", "weight")):
            array[...] = rng.uniform(0.5, 1.5, array.shape)
        else:
            array[...] = rng.standard_normal(array.shape) * 0.1
    return model


def picture(*shape, dtype=np.float32):
    shape = shape or (1, 3, 75, 97)
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def features(model, images):
    with nn.no_grad():
        return {name: map_.data for name, map_ in model.features(nn.Tensor(images)).items()}


def scores(model, images):
    with nn.no_grad():
        return model(nn.Tensor(images)).data


def fingerprint(lines) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def within(names, layers) -> set[str]:
    """Those of the names that belong to the layers."""
    return {name for name in names if name.rpartition(".")[0] in layers}


def assert_equal_but_for_rounding(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module", params=list(NETWORKS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    """Nobody may change it."""
    return filled(NETWORKS[name]()).eval()


# The table


def test_every_row_has_numbers_and_every_family_its_gradients_checked():
    assert set(EXPECTED) == set(NETWORKS)
    modules = {NETWORKS._rows[name][0].partition(":")[0] for name in NETWORKS}
    families = {family.partition(",")[0] for family in FAMILIES}
    assert {f"nn.models.{family}" for family in families} == modules


def test_a_row_is_a_function_of_the_package_also_where_its_file_has_its_name(name):
    assert getattr(nn.models, name) is NETWORKS[name]
    assert callable(getattr(nn.models, name))


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(LookupError, match="there is no network 'resnet51' .did you mean 'resnet5"):
        NETWORKS["resnet51"]
    with pytest.raises(AttributeError, match="no attribute 'resnet51'"):
        nn.models.resnet51  # noqa: B018


# Costs and names


def test_parameters_and_multiply_adds(name, network):
    costs = nn.summary(network, (1, 3, 224, 224))
    assert (costs.parameters, costs.multiply_adds) == EXPECTED[name][:2]


@pytest.mark.parametrize("name, options, parameters, multiply_adds", VARIANTS)
def test_costs_of_variants(name, options, parameters, multiply_adds):
    costs = nn.summary(NETWORKS[name](**options), (1, 3, 224, 224))
    assert (costs.parameters, costs.multiply_adds) == (parameters, multiply_adds)


def test_names_and_shapes(name, network):
    own = [f"{key} {array.shape}" for key, array in network.state_dict().items()]
    lists = os.environ.get("LIGHTHEAD_KEYS") or Path(__file__).parents[2] / "shared/notes/keys"
    theirs = Path(lists) / f"{name}.json"
    if theirs.exists():  # says which differ; the fingerprint only that some do
        tensors = json.loads(theirs.read_text())["tensors"]
        assert own == [f"{key} {tuple(shape)}" for key, shape, _ in tensors]
    assert fingerprint(own) == EXPECTED[name].names


def test_published_weights_have_a_hash_in_their_name(network):
    for url in network.weights.values():
        assert re.fullmatch(r"https://\S+-[0-9a-f]{8,}\.(pth|safetensors)", url)


def test_weights_begin_as_torchvisions():
    """He's normal distribution by fan-out, which PyTorch counts without regard to groups."""
    nn.manual_seed(0)
    for model in (NETWORKS["resnet18"](), NETWORKS["mobilenet_v2"]()):
        for key, weight in model.state_dict().items():
            if weight.ndim == 4:
                std = np.sqrt(2 / (weight.shape[0] * weight[0, 0].size))
                assert abs(weight.std() / std - 1) < 4 / np.sqrt(2 * weight.size), key
    weight, bias = (model.state_dict()[f"classifier.1.{kind}"] for kind in ("weight", "bias"))
    assert abs(weight.std() / 0.01 - 1) < 0.01 and not bias.any()


# Maps and scores


def test_maps_are_what_the_network_says(name, network):
    assert tuple(channels for channels, _ in network.maps.values()) == EXPECTED[name].channels
    images = picture(2, 3, 75, 97)
    maps = features(network, images)
    assert list(maps) == list(network.maps)
    for key, (channels, stride) in network.maps.items():
        size = (-(-edge // stride) for edge in images.shape[2:])
        assert maps[key].shape == (2, channels, *size) and maps[key].dtype == np.float32
        assert key == "last" or stride == 2 ** int(key.removeprefix("c"))
    strides = [map_.stride for map_ in network.maps.values()]
    assert strides == sorted(strides)
    found = network.classify({key: nn.Tensor(map_) for key, map_ in maps.items()})
    assert found.shape == (2, 1000)
    np.testing.assert_array_equal(found.data, scores(network, images))


def test_scores_are_torchvisions_of_the_same_weights(name, network):
    if EXPECTED[name].scores is None:
        pytest.skip("torchvision has no such model")
    assert_equal_but_for_rounding(scores(network, picture())[0, :3], EXPECTED[name].scores)


def test_torchvisions_model_takes_the_weights_and_agrees(name, network):
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no torchvision that works: {error}")
    if not hasattr(models, name):
        pytest.skip("torchvision has no such model")
    import torch

    torch.set_num_threads(1)  # its threads would wait for work beside ours
    theirs = getattr(models, name)().eval()
    state = {key: torch.tensor(array) for key, array in network.state_dict().items()}
    theirs.load_state_dict(state, strict=True)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(picture())).numpy()
    assert_equal_but_for_rounding(scores(network, picture()), expected)


def test_compiled_is_plain(network):
    images = picture(2, 3, 64, 96)
    compiled = nn.inference.compile(network, images.shape)
    assert_equal_but_for_rounding(compiled(images), scores(network, images))


# Without a classifier, and frozen


@pytest.mark.parametrize("num_classes", [0, None])
def test_a_network_without_classifier(name, network, num_classes):
    model = NETWORKS[name](num_classes=num_classes).eval()
    whole, own = network.state_dict(), model.state_dict()
    left_out = set(whole) - set(own)
    assert set(own) <= set(whole) and within(whole, network.classifier_names) <= left_out
    if num_classes == 0:
        assert left_out == within(whole, network.classifier_names)
        assert model.maps == network.maps
    else:
        assert dict(model.maps) == {n: map_ for n, map_ in network.maps.items() if n != "last"}
    model.load_state_dict({key: whole[key] for key in own})
    expected = features(network, picture())
    for key, map_ in features(model, picture()).items():
        np.testing.assert_array_equal(map_, expected[key])
    with pytest.raises(ValueError, match="^[^\n]* has no classifier here: ask for its features$"):
        model(nn.Tensor(picture()))


def test_parts_are_all_but_the_classifier_and_freeze(name):
    model = NETWORKS[name](num_classes=3)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    classifier = within(names.values(), model.classifier_names)
    parts = [[names[id(p)] for p in part.parameters()] for part in model.parts()]
    assert all(parts)
    flat = [key for part in parts for key in part]
    assert flat == [key for key in names.values() if key not in classifier]
    for key in classifier:
        assert 3 in model.state_dict()[key].shape

    def learning():
        return [key for key, parameter in model.named_parameters() if parameter.requires_grad]

    def frozen_norms(part):
        return {norm.frozen for norm in part.modules() if isinstance(norm, nn.BatchNorm2d)}

    model.freeze(2, batch_norm=False)
    assert learning() == [key for key in names.values() if key not in parts[0] + parts[1]]
    assert frozen_norms(model.parts()[0]) | frozen_norms(model.parts()[1]) <= {True}
    assert all(frozen_norms(part) <= {False} for part in model.parts()[2:])
    model.freeze(0)
    assert frozen_norms(model) <= {True}
    model.freeze(len(parts))
    assert set(learning()) == classifier


# One of a family


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients(family):
    model = filled(FAMILIES[family]()).double()
    inputs = [nn.Tensor(picture(2, 3, 33, 36, dtype=np.float64), requires_grad=True)]
    inputs += model.parameters()
    # So small a step that none of the many ReLUs changes sides on the way.
    nn.gradcheck(
        lambda images, *_: model(images), inputs, eps=1e-8, atol=1e-4, rtol=1e-4, directions=1
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_a_part_of_another_program_load(family, tmp_path):
    source, target = filled(FAMILIES[family]()), FAMILIES[family]()
    classifier = within(source.state_dict(), source.classifier_names)
    state = {f"model.backbone.{key}": array for key, array in source.state_dict().items()}
    for key in classifier:
        array = state[f"model.backbone.{key}"]
        state[f"model.backbone.{key}"] = np.concatenate([array, array])
    safetensors.write(tmp_path / "w.safetensors", state | {"head.fc.weight": np.zeros(2)})
    report = load_weights(target, tmp_path / "w.safetensors")
    assert report.unexpected == ["head.fc.weight"] and not report.missing
    assert {key for key, *_ in report.mismatched} == classifier
    for key, array in target.state_dict().items():
        assert key in classifier or np.array_equal(array, source.state_dict()[key])
