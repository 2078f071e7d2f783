"""Every network of the table meets every check: costs, names, maps, parts, scores, compilation.

A new row without numbers here fails.
"""

from __future__ import annotations

import csv
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
from nn.models.alexnet import alexnet
from nn.models.bn_inception import BNInception
from nn.models.condensenet import CondenseNet
from nn.models.cr_nas import reallocated
from nn.models.darknet19 import Darknet19
from nn.models.densenet import DenseNet
from nn.models.efficientnet import EfficientNet, Scale
from nn.models.efficientnet_lite import EfficientNetLite
from nn.models.googlenet import GoogLeNet
from nn.models.inception_resnet import InceptionResNet
from nn.models.inception_v3 import InceptionV3
from nn.models.inception_v4 import InceptionV4
from nn.models.mnasnet import MnasNet
from nn.models.mobilenet_v1 import MobileNetV1
from nn.models.mobilenet_v2 import mobilenet_v2
from nn.models.mobilenet_v3 import MobileNetV3
from nn.models.nasnet import NASNet
from nn.models.resnet import BasicBlock, Bottleneck, ResNet
from nn.models.senet import SENET, SENet
from nn.models.shufflenet_v1 import ShuffleNetV1
from nn.models.shufflenet_v2 import shufflenet_v2
from nn.models.squeezenet import SqueezeNet
from nn.models.vgg import VGG
from nn.models.xception import Xception
from nn.models.xception_like import XceptionLike
from nn.weights import safetensors


class Expected(NamedTuple):
    """What others say of a network with 1000 classes: a row of ``every_network.csv``.

    Attributes:
        side: of the pictures that the next two are for.
        channels: of its maps, finest first.
        names: ``fingerprint`` of the names and shapes of its state_dict.
        oracle: "package:function" that makes the same network; its package made the numbers here.
            Without one, parameters and multiply-adds were counted by a program of its own, and the
            names are those we had.
        scores: the first three that it gives for ``picture_for`` with the weights of ``filled``.
    """

    side: int
    parameters: int
    multiply_adds: int
    channels: tuple[int, ...]
    names: str
    oracle: str
    scores: list[float]


def expected(row: dict[str, str]) -> Expected:
    numbers = (int(row[key]) for key in ("side", "parameters", "multiply_adds"))
    channels = tuple(map(int, row["channels"].split()))
    scores = [float(score) for score in row["scores"].split()]
    return Expected(*numbers, channels, row["names"], row["oracle"], scores)


with open(Path(__file__).parent / "every_network.csv", encoding="utf-8") as file:
    EXPECTED = {row["network"]: expected(row) for row in csv.DictReader(file)}

# What the packages' functions take besides, so that no weights are made or asked for in vain.
OPTIONS = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
    "mobilenet_v2_x1_4": {"width_mult": 1.4},
    "mobilenet_v3_large_x0_75": {"bn_eps": 1e-3},
    "mobilenet_v3_small_x0_75": {"bn_eps": 1e-3},
}

XCEPTION39 = {"channels": (8, 64, 128, 256), "blocks": (4, 8, 4)}

# Of other arguments than a row's: torchvision's models, or what the paper's authors say.
VARIANTS = [
    ("mobilenet_v2", {"width_mult": 0.35}, 224, 1_677_128, 59_285_808),
    ("mobilenet_v2", {"width_mult": 0.5}, 224, 1_968_680, 97_131_840),
    ("mobilenet_v2", {"width_mult": 0.75}, 224, 2_636_424, 209_069_792),
    ("mobilenet_v2", {"width_mult": 1.3}, 224, 5_386_792, 509_374_560),
    ("googlenet", {"auxiliary": True}, 224, 13_004_888, 1_498_376_192),
    ("googlenet_paper", {"auxiliary": True}, 224, 13_378_280, 1_582_671_872),
    ("inception_v3", {"auxiliary": True}, 299, 27_161_264, 5_713_216_096),
    ("mobilenet_v3_small", {"last": 1280}, 224, 2_946_568, 56_913_856),
    ("squeezenet1_0", {}, 227, 1_248_424, 832_667_936),
    ("xception_like", XCEPTION39, 224, 556_448, 39_731_968),
    ("xception_like", {"plain_shortcut": True}, 224, 1_631_352, 144_799_360),
    ("senet154", {}, 320, 115_088_984, 42_212_171_776),
    ("resnext101_64x4d", {}, 320, 83_455_272, 31_549_440_000),
    ("mobilenet_v1", {}, 192, 4_231_976, 418_121_728),
    ("mobilenet_v1", {}, 160, 4_231_976, 290_675_200),
    ("mobilenet_v1", {}, 128, 4_231_976, 186_400_768),
    ("mobilenet_v1_x0_75", {}, 192, 2_585_560, 239_273_472),
    ("mobilenet_v1_x0_75", {}, 160, 2_585_560, 166_396_800),
    ("mobilenet_v1_x0_75", {}, 128, 2_585_560, 106_770_432),
    ("mobilenet_v1_x0_5", {}, 192, 1_331_592, 109_970_432),
    ("mobilenet_v1_x0_5", {}, 160, 1_331_592, 76_524_800),
    ("mobilenet_v1_x0_5", {}, 128, 1_331_592, 49_160_192),
    ("mobilenet_v1_x0_25", {}, 192, 470_072, 30_212_608),
    ("mobilenet_v1_x0_25", {}, 160, 470_072, 21_059_200),
    ("mobilenet_v1_x0_25", {}, 128, 470_072, 13_570_048),
    ("shufflenet_v1_g1", {"width": 0.25, "stem": 12, "bias": False}, 224, 208_908, 13_162_320),
    ("shufflenet_v1_g1", {"width": 0.5, "stem": 12, "bias": False}, 224, 533_484, 38_517_408),
    ("shufflenet_v1_g1", {"width": 1.5, "stem": 24, "bias": False}, 224, 2_992_032, 308_096_352),
    ("shufflenet_v1_g1", {"width": 2.0, "stem": 48, "bias": False}, 224, 4_917_744, 550_334_592),
    ("shufflenet_v1_g2", {"width": 2.0, "stem": 48, "bias": False}, 224, 5_256_896, 539_138_624),
    ("shufflenet_v1_g4", {"width": 2.0, "stem": 48, "bias": False}, 224, 5_592_528, 510_289_536),
    ("shufflenet_v1_g8", {"width": 0.5, "stem": 16, "bias": False}, 224, 1_010_448, 40_469_760),
    ("shufflenet_v1_g8", {"width": 0.25, "stem": 8, "bias": False}, 224, 453_504, 12_426_240),
    ("shufflenet_v1_g8", {"width": 1.5, "stem": 24, "bias": False}, 224, 4_268_952, 290_188_800),
    ("shufflenet_v1_g8", {"width": 2.0, "stem": 48, "bias": False}, 224, 6_521_232, 521_942_016),
    ("shufflenet_v1_g3", {"width": 0.5, "stem": 12, "bias": False}, 224, 717_324, 37_589_856),
    ("shufflenet_v1_g3", {"width": 1.5, "stem": 24, "bias": False}, 224, 3_441_168, 292_443_552),
]

SMALL_STAGES = (
    (3, 1, 1, 8, 1, False, None),
    (5, 2, 2, 8, 2, True, "c2"),
    (3, 2, 3, 8, 1, False, "c3"),
    (3, 2, 2, 16, 1, True, "c4"),
    (3, 2, 2, 16, 1, False, "c5"),
)

# One network of every family that is small enough for every test, with all kinds of its blocks.
FAMILIES = {
    "alexnet": lambda: alexnet(5, dropout=0.0, hidden=16),
    "bn_inception": lambda: BNInception(5, squeeze=True).eval(),
    "condensenet": lambda: CondenseNet(2, 5, layers=(1, 1, 2, 1, 1), growth=(4,) * 5),
    "condensenet, in training": lambda: CondenseNet(
        2, 5, learned=True, layers=(1, 1, 2, 1, 1), growth=(4,) * 5
    ),
    "cr_nas": lambda: reallocated(BasicBlock, ((1,), (2,), (3,), (1, 2)), 5).eval(),
    "darknet19": lambda: Darknet19(5, ((4,), (8,), (8, 4, 8), (8, 4, 8), (16, 8, 16), (16, 8, 16))),
    "densenet": lambda: DenseNet((2, 1, 2), 5, growth_rate=4),
    "efficientnet": lambda: EfficientNet(Scale(0.25, 1.0, 64, 0.0), 5, stochastic_depth=0.0),
    "efficientnet_lite": lambda: EfficientNetLite(5, dropout=0.0),
    "googlenet": lambda: GoogLeNet(5, is_paper=True, dropout=0.0),
    "inception_v3": lambda: InceptionV3(5, dropout=0.0).eval(),
    "inception_v4": lambda: InceptionV4(5).eval(),
    "inception_resnet": lambda: InceptionResNet(1, 5, dropout=0.0).eval(),
    "mnasnet": lambda: MnasNet(5, SMALL_STAGES, stem=8, last=16, dropout=0.0),
    "mobilenet_v1": lambda: MobileNetV1(5, width_mult=0.25, squeeze=True),
    "mobilenet_v2": lambda: mobilenet_v2(5, width_mult=0.35, dropout=0.0),
    "mobilenet_v3": lambda: MobileNetV3("small", 5, width_mult=0.35, last=32, dropout=0.0),
    "nasnet": lambda: NASNet(8, 2, 8, 5, skips_one=True, dropout=0.0),
    "resnet": lambda: ResNet(BasicBlock, (2, 1, 1, 1), 5),
    "resnet, bottlenecks": lambda: ResNet(Bottleneck, (2, 1, 1, 1), 5, width=8, groups=4),
    "senet": lambda: SENet(SENET, (1, 1, 1, 2), 5, C=32).eval(),
    "shufflenet_v1": lambda: ShuffleNetV1(3, 5, width=0.25, squeeze=True),
    "shufflenet_v2": lambda: shufflenet_v2(0.5, 5, extra_depthwise=True),
    "shufflenet_v2, SE": lambda: shufflenet_v2(0.5, 5, "paper", squeeze=True).eval(),
    "squeezenet": lambda: SqueezeNet("1.1", 5, bypass="complex", dropout=0.0),
    "vgg": lambda: VGG(11, 5, True, dropout=0.0, channels=(4, 4, 8, 8, 8), hidden=16),
    "xception": lambda: Xception(5),
    "xception_like": lambda: XceptionLike(5, (8, 16, 32, 32), (2, 1, 2)),
}

# Those that are small by name only.
HEAVY = {"inception_v3", "inception_v4", "inception_resnet", "xception"}

# Of the pictures that are large enough for their gradients to be checked, in pixels.
LARGER = {
    "alexnet": 75, "inception_v3": 75, "inception_v4": 75, "inception_resnet": 75, "nasnet": 65,
    "xception": 75,
}  # fmt: skip

# Of pictures, in pixels, where those of others do not take 75 x 97.
SIZES = {"bn_inception": (64, 96), "nasnet_a_large": (75, 75), "nasnet_a_mobile": (224, 224)}

# With random weights they make so much of a rounding that they are tested in float64.
DOUBLE = {
    "efficientnet_b4", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7", "nasnet_a_large",
    "se_resnet50", "se_resnet101", "se_resnet152", "se_resnext50_32x4d", "se_resnext101_32x4d",
    "senet154", "se_shufflenet_v1_g3", "se_shufflenet_v1_g3_x2_0",
    "se_shufflenet_v2_x2_0",
}  # fmt: skip

# Windows that do not reach over the border leave away a few cells of a map; some add one.
UNPADDED = {
    "alexnet", "condensenet", "darknet19", "densenet", "googlenet", "inception_resnet",
    "inception_v3", "inception_v4", "nasnet", "senet", "squeezenet", "vgg", "xception",
}  # fmt: skip

# Every test of these is quick; those of the others that compute are for the night.
QUICK = {
    "alexnet", "bn_inception", "condensenet74_c4", "cr_mobilenet_v2", "cr_resnet18", "darknet19",
    "densenet121", "efficientnet_b0", "efficientnet_lite0", "googlenet", "inception_v3",
    "mnasnet_a1", "mobilenet_v1", "mobilenet_v2", "mobilenet_v2_x1_4", "mobilenet_v3_large",
    "mobilenet_v3_small", "nasnet_a_mobile", "resnet18", "resnet50", "resnet50_paper",
    "resnext50_32x4d", "se_mobilenet_v1", "se_resnet50", "se_shufflenet_v1_g3",
    "shufflenet_v1_g3", "shufflenet_v2_star_x1_0", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0",
    "squeezenet1_0_complex", "squeezenet1_1", "xception_like",
}  # fmt: skip


def filled(model, seed=0):
    """Random weights and statistics, so that no two channels are alike and none is lost."""
    rng = np.random.default_rng(seed)
    for name, array in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            array[...] = 100
        elif name.endswith("index"):  # of channels, each once
            array[...] = rng.permutation(len(array))
        elif array.ndim > 1:
            array[...] = rng.standard_normal(array.shape, np.float32)
            array *= np.float32(np.sqrt(2 / array[0].size))
        elif name.endswith(("running_var", "weight")):
            array[...] = rng.uniform(0.5, 1.5, array.shape)
        else:
            array[...] = rng.standard_normal(array.shape) * 0.1
    return model


def picture(*shape, dtype=np.float32):
    return np.random.default_rng(1).standard_normal(shape).astype(dtype)


def picture_for(name: str, count: int = 1):
    dtype = np.float64 if name in DOUBLE else np.float32
    return picture(count, 3, *SIZES.get(name, (75, 97)), dtype=dtype)


def features(model, images):
    with nn.no_grad():
        return {name: map_.data for name, map_ in model.features(nn.Tensor(images)).items()}


def scores(model, images):
    with nn.no_grad():
        return model(nn.Tensor(images)).data


def named_shapes(model) -> list[str]:
    return [f"{key} {array.shape}" for key, array in model.state_dict().items()]


def fingerprint(lines) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def within(names, layers) -> set[str]:
    """Those of the names that belong to the layers."""
    return {name for name in names if name.rpartition(".")[0] in layers}


def assert_equal_but_for_rounding(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def family_of(name: str) -> str:
    return NETWORKS._rows[name][0].partition(":")[0].removeprefix("nn.models.")


def of_random_weights(name: str):
    model = filled(blank(name)).eval()
    return model.double() if name in DOUBLE else model


def blank(name: str, **options):
    """The network with whatever is in memory for weights."""
    with nn.init.skipped():
        return NETWORKS[name](**options)


at_night = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.nightly) for name in NETWORKS
]


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
