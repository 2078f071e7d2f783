"""Inception v4: v3's blocks, made regular, behind a stem that is itself made of branches.

Every convolution is followed by batch norm and ReLU. The branches are concatenated in the order
written; v means without padding, /2 is a stride of 2 (and without padding), "mean" is 3x3 and does
not count the zeros at the border::

    stem         3x3 32 /2, 3x3 32 v, 3x3 64, (max /2 | 3x3 96 /2),
                 (1x1 64, 3x3 96 v | 1x1 64, 1x7 64, 7x1 64, 3x3 96 v), (3x3 192 /2 | max /2)
    A            1x1 96 | 1x1 64, 3x3 96 | 1x1 64, 3x3 96, 3x3 96 | mean, 1x1 96
    reduction A  3x3 384 /2 | 1x1 192, 3x3 224, 3x3 256 /2 | max /2
    B            1x1 384 | 1x1 192, 1x7 224, 7x1 256
                 | 1x1 192, 7x1 192, 1x7 224, 7x1 224, 1x7 256 | mean, 1x1 128
    reduction B  1x1 192, 3x3 192 /2 | 1x1 256, 1x7 256, 7x1 320, 3x3 320 /2 | max /2
    C            1x1 256 | 1x1 384, (1x3 256 | 3x1 256)
                 | 1x1 384, 3x1 448, 1x3 512, (1x3 256 | 3x1 256) | mean, 1x1 256

    map   size at 299   features
    c2    71            0 .. 4     stem, up to 192 channels
    c3    35            5 .. 9     the rest of it, A four times
    c4    17            10 .. 17   reduction A, B seven times
    c5    8             18 .. 21   reduction B, C three times
    scores              mean, last_linear

Paper: Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", AAAI 2017, figures 3 to 9. The layers' names are those of the package
timm. The lecture's table says 48 million parameters and 13 billion multiply-adds; the published
network has 42,679,816 and 12,253,974,624.
"""

from __future__ import annotations

from functools import partial

from nn import functional as F
from nn.layers import AvgPool2d, Linear, MaxPool2d
from nn.models.blocks import Branches, ConvBN, initialise
from nn.models.network import HALVES, Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

conv = partial(ConvBN, eps=1e-3)
valid = partial(ConvBN, kernel_size=3, padding=0, eps=1e-3)
halving = partial(valid, stride=2)

# The window and channels of each convolution of a chain.
Chain = tuple[tuple[int | tuple[int, int], int], ...]
ROW, COLUMN = (1, 7), (7, 1)


class InceptionV4(Network):
    """
    Args:
        num_classes: 0 or None leaves ``last_linear`` away.

    Attributes:
        maps: "c2" .. "c5", see above.
    """

    classifier_names = ("last_linear",)
    preprocessing, side = HALVES, 299
    names = "timm"

    def __init__(self, num_classes: int | None = 1000):
        super().__init__()
        self.num_classes = num_classes
        layers = [
            halving(3, 32), valid(32, 32), conv(32, 64, 3), Halving(64, 96, is_pool_first=True),
            stem_branches(), Halving(192, 192, is_pool_first=False),
            *(inception_a() for _ in range(4)), reduction_a(384, 384, (192, 224, 256)),
            *(inception_b() for _ in range(7)), reduction_b(),
            *(InceptionC() for _ in range(3)),
        ]  # fmt: skip
        self.maps = {"c2": Map(192, 4), "c3": Map(384, 8), "c4": Map(1024, 16), "c5": Map(1536, 32)}
        self.features = Trunk(layers, {"c2": 4, "c3": 9, "c4": 17, "c5": 21})
        self.last_linear = Linear(1536, num_classes) if num_classes else None
        initialise(self)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.last_linear(maps["c5"].mean((2, 3)))

    def parts(self) -> list[Module]:
        return list(self.features)


def chain(in_channels: int, links: Chain) -> list[Module]:
    """Convolutions one after the other that keep the size."""
    layers = []
    for window, width in links:
        layers.append(conv(in_channels, width, window))
        in_channels = width
    return layers


def branches(*parts: Module) -> Branches:
    return Branches({f"branch{number}": part for number, part in enumerate(parts)})


def mean_then(in_channels: int, width: int) -> Sequential:
    pool = AvgPool2d(3, 1, padding=1, count_include_pad=False)
    return Sequential(pool, conv(in_channels, width, 1))


class Halving(Module):
    """A 3x3 convolution /2 beside max pooling /2."""

    def __init__(self, in_channels: int, out_channels: int, is_pool_first: bool):
        super().__init__()
        self.maxpool, self.conv = MaxPool2d(3, 2), halving(in_channels, out_channels)
        self.is_pool_first = is_pool_first

    def forward(self, input: Tensor) -> Tensor:
        maps = self.conv(input), self.maxpool(input)
        return F.cat(maps[::-1] if self.is_pool_first else maps, dim=1)


def stem_branches() -> Branches:
    """160 -> 192 channels"""
    return branches(
        Sequential(*chain(160, ((1, 64),)), valid(64, 96)),
        Sequential(*chain(160, ((1, 64), (ROW, 64), (COLUMN, 64))), valid(64, 96)),
    )


def inception_a() -> Branches:
    return branches(
        conv(384, 96, 1),
        Sequential(*chain(384, ((1, 64), (3, 96)))),
        Sequential(*chain(384, ((1, 64), (3, 96), (3, 96)))),
        mean_then(384, 96),
    )


def reduction_a(in_channels: int, single: int, double: tuple[int, int, int]) -> Branches:
    """in_channels -> single + the last of ``double`` + in_channels"""
    first, second, third = double
    return branches(
        halving(in_channels, single),
        Sequential(*chain(in_channels, ((1, first), (3, second))), halving(second, third)),
        MaxPool2d(3, 2),
    )


def inception_b() -> Branches:
    return branches(
        conv(1024, 384, 1),
        Sequential(*chain(1024, ((1, 192), (ROW, 224), (COLUMN, 256)))),
        Sequential(*chain(1024, ((1, 192), (COLUMN, 192), (ROW, 224), (COLUMN, 224), (ROW, 256)))),
        mean_then(1024, 128),
    )


def reduction_b() -> Branches:
    """1024 -> 1536 channels"""
    return branches(
        Sequential(*chain(1024, ((1, 192),)), halving(192, 192)),
        Sequential(*chain(1024, ((1, 256), (ROW, 256), (COLUMN, 320))), halving(320, 320)),
        MaxPool2d(3, 2),
    )


class InceptionC(Module):
    """1536 -> 1536 channels"""

    def __init__(self):
        super().__init__()
        self.branch0 = conv(1536, 256, 1)
        self.branch1_0 = conv(1536, 384, 1)
        self.branch1_1a, self.branch1_1b = conv(384, 256, (1, 3)), conv(384, 256, (3, 1))
        self.branch2_0 = conv(1536, 384, 1)
        self.branch2_1 = conv(384, 448, (3, 1))
        self.branch2_2 = conv(448, 512, (1, 3))
        self.branch2_3a, self.branch2_3b = conv(512, 256, (1, 3)), conv(512, 256, (3, 1))
        self.branch3 = mean_then(1536, 256)

    def forward(self, input: Tensor) -> Tensor:
        single = self.branch1_0(input)
        double = self.branch2_2(self.branch2_1(self.branch2_0(input)))
        parts = (
            self.branch0(input),
            self.branch1_1a(single),
            self.branch1_1b(single),
            self.branch2_3a(double),
            self.branch2_3b(double),
            self.branch3(input),
        )
        return F.cat(parts, dim=1)


inception_v4 = InceptionV4
