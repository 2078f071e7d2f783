"""Inception-ResNet v1 and v2: Inception's branches compute a difference, as in ResNet.

What the branches of a block have found is brought back to the block's channels by a 1x1 convolution
with a bias and without batch norm, and added: relu(x + scale f(x)). Without the small scale
networks this wide did not learn. Every other convolution is followed by batch norm and ReLU; v
means without padding, /2 is a stride of 2 (and without padding), "mean" does not count the zeros at
the border::

    map   size at 299
    c2    71     3x3 32 /2, 3x3 32 v, 3x3 64, max /2, 1x1 80, 3x3 192 v

          v1                                      v2
    c3    35     3x3 256 /2                       max /2; 1x1 96 | 1x1 48, 5x5 64
                                                  | 1x1 64, 3x3 96, 3x3 96 | mean, 1x1 64
                 5 of scale 0.17:                 10 of scale 0.17:
                 1x1 32 | 1x1 32, 3x3 32          1x1 32 | 1x1 32, 3x3 32
                 | 1x1 32, 3x3 32, 3x3 32         | 1x1 32, 3x3 48, 3x3 64
    c4    17     3x3 384 /2                       3x3 384 /2
                 | 1x1 192, 3x3 192, 3x3 256 /2   | 1x1 256, 3x3 256, 3x3 384 /2
                 | max /2                         | max /2
                 10 of scale 0.1:                 20 of scale 0.1:
                 1x1 128                          1x1 192
                 | 1x1 128, 1x7 128, 7x1 128      | 1x1 128, 1x7 160, 7x1 192
    c5    8      1x1 256, 3x3 384 /2              1x1 256, 3x3 384 /2
                 | 1x1 256, 3x3 256 /2            | 1x1 256, 3x3 288 /2
                 | 1x1 256, 3x3 256, 3x3 256 /2   | 1x1 256, 3x3 288, 3x3 320 /2
                 | max /2                         | max /2
                 5 of scale 0.2:                  9 of scale 0.2, one of scale 1 without ReLU:
                 1x1 192                          1x1 192
                 | 1x1 192, 1x3 192, 3x1 192      | 1x1 192, 1x3 224, 3x1 256
    last  8                                       1x1 1536
    scores       mean, dropout, classif

Paper: Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning", AAAI 2017, figures 10 to 15. v2 is TensorFlow's published network, with
twice the paper's blocks and another stem: 55,843,464 parameters and 13,155,794,016 multiply-adds,
as NASNet's table says; the paper's figures make 32,433,928 and 9,257,953,632, and neither makes the
11.75 billion of SENet's table. The layers' names are those of the package timm.
"""

from __future__ import annotations

from functools import partial

from nn import functional as F
from nn.layers import Conv2d, Dropout, Linear, MaxPool2d
from nn.models.blocks import initialise
from nn.models.inception_v4 import (
    COLUMN,
    ROW,
    Chain,
    branches,
    chain,
    conv,
    halving,
    mean_then,
    reduction_a,
    valid,
)  # fmt: skip
from nn.models.network import HALVES, Map, Network
from nn.models.trunk import maps_of, stages_of
from nn.module import Module, Sequential
from nn.tensor import Tensor

# Of the three kinds of residual blocks: how many, the scale, the branches' convolutions.
BLOCKS = {
    1: (
        (5, 0.17, (((1, 32),), ((1, 32), (3, 32)), ((1, 32), (3, 32), (3, 32)))),
        (10, 0.1, (((1, 128),), ((1, 128), (ROW, 128), (COLUMN, 128)))),
        (5, 0.2, (((1, 192),), ((1, 192), ((1, 3), 192), ((3, 1), 192)))),
    ),
    2: (
        (10, 0.17, (((1, 32),), ((1, 32), (3, 32)), ((1, 32), (3, 48), (3, 64)))),
        (20, 0.1, (((1, 192),), ((1, 128), (ROW, 160), (COLUMN, 192)))),
        (9, 0.2, (((1, 192),), ((1, 192), ((1, 3), 224), ((3, 1), 256)))),
    ),
}
# Channels of c3, c4 and c5.
CHANNELS = {1: (256, 896, 1792), 2: (320, 1088, 2080)}


class InceptionResNet(Network):
    """
    Args:
        version: 1 or 2.
        num_classes: 0 leaves ``classif`` away, None the last convolution of v2 too: a backbone.
        dropout: probability, before the classes.

    Attributes:
        maps: "c2" .. "c5", and in v2 "last" after the last convolution.
    """

    classifier_names = ("classif",)
    preprocessing, side = HALVES, 299
    names = "timm"

    def __init__(self, version: int, num_classes: int | None = 1000, dropout: float = 0.2):
        super().__init__()
        self.num_classes = num_classes
        a, b, c = CHANNELS[version]
        self.maps = {"c2": Map(192, 4), "c3": Map(a, 8), "c4": Map(b, 16), "c5": Map(c, 32)}
        self.taps = {"c2": "conv2d_4a", "c3": "repeat", "c4": "repeat_1", "c5": "repeat_2"}
        of_a, of_b, of_c = BLOCKS[version]
        self.conv2d_1a, self.conv2d_2a = halving(3, 32), valid(32, 32)
        self.conv2d_2b = conv(32, 64, 3)
        self.maxpool_3a = MaxPool2d(3, 2)
        self.conv2d_3b, self.conv2d_4a = conv(64, 80, 1), valid(80, 192)
        if version == 1:
            self.conv2d_4b = halving(192, 256)
        else:
            self.maxpool_5a, self.mixed_5b = MaxPool2d(3, 2), mixed_5b()
        self.repeat = residuals(a, *of_a)
        self.mixed_6a = reduction_a(a, 384, (192, 192, 256) if version == 1 else (256, 256, 384))
        self.repeat_1 = residuals(b, *of_b)
        self.mixed_7a = mixed_7a(b, *((256, 256) if version == 1 else (288, 320)))
        self.repeat_2 = residuals(c, *of_c)
        if version == 2:
            self.block8 = Residual(c, 1.0, of_c[2], relu=False)
            self.taps["c5"] = "block8"
            if num_classes is not None:
                self.conv2d_7b = conv(c, 1536, 1)
                self.maps["last"], self.taps["last"] = Map(1536, 32), "conv2d_7b"
        self.dropout = Dropout(dropout)
        channels = list(self.maps.values())[-1].channels
        self.classif = Linear(channels, num_classes) if num_classes else None
        initialise(self)

    def stages(self) -> dict[str, Module]:
        return stages_of(dict(self.named_children()), self.taps)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return maps_of(self.stages(), images)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classif(self.dropout(maps[list(self.maps)[-1]].mean((2, 3))))

    def parts(self) -> list[Module]:
        layers = [layer for layer in self.children() if layer is not self.classif]
        return [layer for layer in layers if any(layer.parameters())]


class Residual(Module):
    """relu(x + ``scale`` 1x1 conv of the branches), of ``channels``."""

    def __init__(self, channels: int, scale: float, links: tuple[Chain, ...], relu: bool = True):
        super().__init__()
        for number, link in enumerate(links):
            layers = chain(channels, link)
            branch = layers[0] if len(layers) == 1 else Sequential(*layers)
            setattr(self, f"branch{number}", branch)
        self.branches = len(links)
        self.conv2d = Conv2d(sum(link[-1][1] for link in links), channels, 1)
        self.scale, self.relu = scale, relu

    def forward(self, input: Tensor) -> Tensor:
        found = [getattr(self, f"branch{number}")(input) for number in range(self.branches)]
        output = input + self.conv2d(F.cat(found, dim=1)) * self.scale
        return F.relu(output) if self.relu else output


def residuals(channels: int, count: int, scale: float, links: tuple[Chain, ...]) -> Sequential:
    return Sequential(*(Residual(channels, scale, links) for _ in range(count)))


def mixed_5b() -> Module:
    """192 -> 320 channels"""
    return branches(
        conv(192, 96, 1),
        Sequential(*chain(192, ((1, 48), (5, 64)))),
        Sequential(*chain(192, ((1, 64), (3, 96), (3, 96)))),
        mean_then(192, 64),
    )


def mixed_7a(in_channels: int, second: int, third: int) -> Module:
    """in_channels -> 384 + second + third + in_channels"""
    double = chain(in_channels, ((1, 256), (3, second)))
    return branches(
        Sequential(conv(in_channels, 256, 1), halving(256, 384)),
        Sequential(conv(in_channels, 256, 1), halving(256, second)),
        Sequential(*double, halving(second, third)),
        MaxPool2d(3, 2),
    )


inception_resnet_v1 = partial(InceptionResNet, 1)
inception_resnet_v2 = partial(InceptionResNet, 2)
