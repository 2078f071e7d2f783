"""What tests need of the networks in the table: what others say of each, one with weights that hide
nothing, and a small one of every family."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import nn
from nn.models import NETWORKS
from nn.models.alexnet import alexnet
from nn.models.bn_inception import BNInception
from nn.models.condensenet import CondenseNet
from nn.models.cr_nas import reallocated
from nn.models.darknet19 import Darknet19
from nn.models.densenet import DenseNet
from nn.models.efficientnet import EfficientNet, Scale
from nn.models.efficientnet_lite import EfficientNetLite
from nn.models.extraction import Extraction
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
from nn.models.vgg_reduced import VGGReduced
from nn.models.xception import Xception
from nn.models.xception_like import XceptionLike


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
    "mobilenet_v2_x0_56": {"width_mult": 0.56},
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
    "extraction": lambda: Extraction(
        5, (((7, 4),), ((3, 8),), ((1, 4), (3, 8)), ((3, 8),), ((3, 16),))
    ),
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
    "vgg_reduced": lambda: VGGReduced(5, channels=(4, 4, 8, 8, 8), hidden=16),
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
