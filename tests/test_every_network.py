"""Every network of the table meets every check: costs, names, maps, parts, scores, compilation.

A new row without numbers here fails.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from network_cases import (
    DOUBLE,
    EXPECTED,
    FAMILIES,
    HEAVY,
    LARGER,
    OPTIONS,
    UNPADDED,
    VARIANTS,
    assert_equal_but_for_rounding,
    at_night,
    blank,
    family_of,
    features,
    filled,
    fingerprint,
    named_shapes,
    of_random_weights,
    picture,
    picture_for,
    scores,
    within,
)
from torchvision_oracle import torchvision_part

import nn
from nn.models import NETWORKS, load_weights
from nn.weights import safetensors


@pytest.fixture(scope="module", params=at_night)
def network_name(request):
    return request.param


@pytest.fixture(scope="module")
def network(network_name):
    """Nobody may change it."""
    return of_random_weights(network_name)


# The table


def test_every_row_has_numbers_and_every_family_a_small_network():
    assert list(EXPECTED) == list(NETWORKS)
    families = {family.partition(",")[0] for family in FAMILIES}
    assert families == {family_of(name) for name in NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_is_a_function_of_the_package_also_where_its_file_has_its_name(name):
    assert getattr(nn.models, name) is NETWORKS[name]
    assert callable(getattr(nn.models, name))


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(LookupError, match="there is no network 'resnet51' .did you mean 'resnet5"):
        NETWORKS["resnet51"]
    with pytest.raises(AttributeError, match="no attribute 'resnet51'"):
        nn.models.resnet51  # noqa: B018


# Costs and names


@pytest.mark.parametrize("name", NETWORKS)
def test_costs_and_maps_and_names(name):
    """None of it needs weights."""
    model, numbers = blank(name), EXPECTED[name]
    assert model.side == numbers.side
    costs = nn.summary(model, (1, 3, model.side, model.side))
    assert (costs.parameters, costs.multiply_adds) == numbers[1:3]
    assert tuple(channels for channels, _ in model.maps.values()) == numbers.channels
    assert fingerprint(named_shapes(model)) == numbers.names
    for url in model.weights.values():
        assert re.fullmatch(r"https://\S+-[0-9a-f]{8,}\.(pth|safetensors)", url)


@pytest.mark.parametrize("name, options, side, parameters, multiply_adds", VARIANTS)
def test_costs_of_variants(name, options, side, parameters, multiply_adds):
    costs = nn.summary(blank(name, **options), (1, 3, side, side))
    assert (costs.parameters, costs.multiply_adds) == (parameters, multiply_adds)


NAMES = Path(os.environ.get("LIGHTHEAD_KEYS") or Path(__file__).parents[2] / "shared/notes/keys")
# Network -> its list; most have the network's own name.
LISTS = {
    **{
        name: name
        for name in (
            "alexnet", "densenet121", "efficientnet_b0", "googlenet", "inception_resnet_v2",
            "inception_v3", "inception_v4", "mobilenet_v2", "mobilenet_v3_large",
            "mobilenet_v3_small", "resnet18", "resnet50", "resnext50_32x4d", "squeezenet1_0",
            "squeezenet1_1", "vgg16", "vgg16_bn", "xception",
        )
    },
    "bn_inception": "bninception_pytorchcv", "condensenet74_c4": "condensenet74_c4_g4_pytorchcv",
    "darknet19": "darknet19_pytorchcv", "efficientnet_lite0": "efficientnet_lite0_timm",
    "mnasnet_a1": "mnasnet_a1_timm", "mobilenet_v1": "mobilenetv1_timm",
    "nasnet_a_large": "nasnetalarge", "se_resnet50": "legacy_seresnet50",
    "se_resnext50_32x4d": "legacy_seresnext50_32x4d", "senet154": "legacy_senet154",
    "shufflenet_v1_g3": "shufflenet_v1_g3_pytorchcv",
}  # fmt: skip
# Other names than ours for layers of the same shapes in the same order.
OTHER_LISTS = {
    "mobilenet_v1": "mobilenet_w1_pytorchcv", "nasnet_a_mobile": "nasnet_mobile_pytorchcv",
}  # fmt: skip
# Files whose networks have auxiliary classifiers.
AUXILIARY = {"googlenet", "inception_v3"}


def list_of(name: str) -> list[tuple[str, tuple[int, ...]]]:
    path = NAMES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no list of names {path}")
    return [(key, tuple(shape)) for key, shape, _ in json.loads(path.read_text())["tensors"]]


@pytest.mark.parametrize("name", LISTS)
def test_names_and_shapes_one_by_one(name):
    """The fingerprint says only that some differ; these lists say which."""
    model = blank(name, **({"auxiliary": True} if name in AUXILIARY else {}))
    own = [(key, array.shape) for key, array in model.state_dict().items()]
    assert own == list_of(LISTS[name])


@pytest.mark.parametrize("name", OTHER_LISTS)
def test_shapes_one_by_one(name):
    shapes = [array.shape for array in blank(name).state_dict().values()]
    assert shapes == [shape for _, shape in list_of(OTHER_LISTS[name])]


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


def test_maps_are_what_the_network_says(network_name, network):
    images = picture_for(network_name, 2)
    maps = features(network, images)
    assert list(maps) == list(network.maps)
    slack = 5 if family_of(network_name) in UNPADDED else 0
    for key, (channels, stride) in network.maps.items():
        assert maps[key].shape[:2] == (2, channels) and maps[key].dtype == images.dtype
        for size, edge in zip(maps[key].shape[2:], images.shape[2:], strict=True):
            assert abs(size - -(-edge // stride)) <= slack
        assert key == "last" or stride == 2 ** int(key.removeprefix("c"))
    strides = [map_.stride for map_ in network.maps.values()]
    assert strides == sorted(strides)
    found = network.classify({key: nn.Tensor(map_) for key, map_ in maps.items()})
    assert found.shape == (2, 1000)
    np.testing.assert_array_equal(found.data, scores(network, images))


def test_scores_are_those_of_others_with_the_same_weights(network_name, network):
    if not EXPECTED[network_name].scores:
        pytest.skip("no package has such a network")
    found = scores(network, picture_for(network_name))[0, :3]
    assert_equal_but_for_rounding(found, EXPECTED[network_name].scores)


def test_the_model_of_others_takes_the_weights_and_agrees(network_name, network):
    package, _, function = EXPECTED[network_name].oracle.partition(":")
    if not package:
        pytest.skip("no package has such a network")
    torch = pytest.importorskip("torch")
    theirs = made_by(package, function, network_name).eval()
    if package == "torchvision":
        assert list(theirs.state_dict()) == list(network.state_dict())
    put_into(theirs, network.state_dict())
    images = picture_for(network_name)
    with torch.no_grad():
        found = theirs(torch.from_numpy(images)).numpy()
    assert_equal_but_for_rounding(scores(network, images), found)


def made_by(package: str, function: str, name: str):
    """The network of another package, with weights of its own making."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # its threads would wait for work beside ours
    if package != "pytorchcv":
        torchvision_part("models")
    try:
        if package == "torchvision":
            from torchvision.models import get_model as make
        elif package == "timm":
            from timm import create_model as make
        else:
            from pytorchcv.model_provider import get_model as make
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no {package} that works: {error}")
    model = make(function, **OPTIONS.get(name, {}))
    for module in model.modules():
        if hasattr(module, "final_pool"):  # pytorchcv's, of 7 x 7: for pictures of one size
            module.final_pool = torch.nn.AdaptiveAvgPool2d(1)
    return model


def put_into(theirs, state: dict[str, np.ndarray]) -> None:
    """Load our weights into a model of PyTorch's.

    Its layers have the same order, under other names perhaps; and a fully connected layer may be a
    1x1 convolution there.
    """
    import torch

    def plain(shape) -> tuple[int, ...]:
        return tuple(shape[:2] if tuple(shape[2:]) == (1, 1) else shape)

    if any(array.dtype == np.float64 for array in state.values()):
        theirs.double()
    own = theirs.state_dict()
    assert [plain(tensor.shape) for tensor in own.values()] == [
        plain(array.shape) for array in state.values()
    ]
    arrays = zip(own.items(), state.values(), strict=True)
    given = {key: torch.from_numpy(array).reshape(tensor.shape) for (key, tensor), array in arrays}
    theirs.load_state_dict(given, strict=True)


def test_compiled_is_plain(network_name, network):
    images = picture_for(network_name, 2)
    compiled = nn.inference.compile(network, images.shape)
    # Response norm is in two networks of its time and has no lowering.
    assert len(compiled.plan.stages) == (7 if has_response_norm(network) else 1)
    assert_equal_but_for_rounding(compiled(images), scores(network, images))


def has_response_norm(model) -> bool:
    return any(isinstance(module, nn.LocalResponseNorm) for module in model.modules())


# Without a classifier, and frozen


@pytest.mark.parametrize("num_classes", [0, None])
def test_a_network_without_classifier(network_name, network, num_classes):
    model = blank(network_name, num_classes=num_classes).eval()
    if network_name in DOUBLE:
        model.double()
    whole, own = network.state_dict(), model.state_dict()
    left_out = set(whole) - set(own)
    assert set(own) <= set(whole) and within(whole, network.classifier_names) <= left_out
    if num_classes == 0:
        assert model.maps == network.maps
    else:
        assert dict(model.maps) == {n: map_ for n, map_ in network.maps.items() if n != "last"}
    model.load_state_dict({key: whole[key] for key in own})
    images = picture_for(network_name)
    expected = features(network, images)
    for key, map_ in features(model, images).items():
        np.testing.assert_array_equal(map_, expected[key])
    with pytest.raises(ValueError, match="^[^\n]* has no classifier here: ask for its features$"):
        model(nn.Tensor(images))


@pytest.mark.parametrize("name", NETWORKS)
def test_parts_are_all_but_the_classifier_and_freeze(name):
    model, whole = blank(name, num_classes=0), blank(name, num_classes=3)
    trunk = [key for key, _ in model.named_parameters()]
    names = {id(parameter): key for key, parameter in whole.named_parameters()}
    parts = [[names[id(p)] for p in part.parameters()] for part in whole.parts()]
    assert all(parts) and sum(parts, []) == trunk
    for key in within(names.values(), whole.classifier_names):
        assert 3 in whole.state_dict()[key].shape

    def learning():
        return [key for key, parameter in whole.named_parameters() if parameter.requires_grad]

    def frozen_norms(part):
        return {norm.frozen for norm in part.modules() if isinstance(norm, nn.BatchNorm2d)}

    whole.freeze(2, batch_norm=False)
    assert learning() == [key for key in names.values() if key not in parts[0] + parts[1]]
    assert frozen_norms(whole.parts()[0]) | frozen_norms(whole.parts()[1]) <= {True}
    assert all(frozen_norms(part) <= {False} for part in whole.parts()[2:])
    whole.freeze(0)
    assert frozen_norms(whole) <= {True}
    whole.freeze(len(parts))
    assert set(learning()) == set(names.values()) - set(trunk)


def test_every_stage_makes_its_map_of_the_one_before(network_name, network):
    if family_of(network_name) == "nasnet":  # whose cells read two maps
        with pytest.raises(ValueError, match="NASNet cannot be cut into stages"):
            network.stages()
        return
    stages, before = network.stages(), picture_for(network_name, 2)
    maps = features(network, before)
    assert list(stages) == list(maps)
    for name, stage in stages.items():
        with nn.no_grad():
            np.testing.assert_array_equal(stage(nn.Tensor(before)).data, maps[name])
        before = maps[name]
    layers = [id(p) for stage in stages.values() for p in stage.parameters()]
    assert layers == [id(p) for part in network.parts() for p in part.parameters()]


# One of a family

each_family = [
    pytest.param(name, marks=pytest.mark.nightly if name in HEAVY else []) for name in FAMILIES
]


@pytest.mark.parametrize("family", each_family)
def test_gradients(family):
    model = filled(FAMILIES[family]()).double()
    side = LARGER.get(family, 33)
    inputs = [nn.Tensor(picture(2, 3, side, side + 3, dtype=np.float64), requires_grad=True)]
    parameters = list(model.parameters())
    for index, parameter in enumerate(parameters):  # a dozen or so of all
        parameter.requires_grad = index % (len(parameters) // 12) == 0
    inputs += parameters
    # So small a step that none of the many ReLUs changes sides on the way.
    nn.gradcheck(
        lambda images, *_: model(images), inputs, eps=1e-8, atol=1e-4, rtol=1e-4, directions=1
    )


@pytest.mark.parametrize("family", each_family)
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


# The page


def test_the_page_has_the_same_numbers():
    page = (Path(__file__).parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `(\w+)` \| (\d+) \| ([\d,]+) \| ([\d,]+) \|", page, re.MULTILINE)
    numbers = {name: tuple(int(n.replace(",", "")) for n in rest) for name, *rest in found}
    assert numbers == {name: row[:3] for name, row in EXPECTED.items()}
