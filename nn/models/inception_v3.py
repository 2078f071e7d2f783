"""Inception v3: large windows as several small ones, and some as a row and a column.

Two 3x3 convolutions see what one of 5x5 sees, and one of 1x7 with one of 7x1 what 7x7 would, for
less. The branches are concatenated in the order written; /2 is a stride of 2 without padding; every
convolution is followed by batch norm and ReLU::

    A(p)  1x1 64 | 1x1 48, 5x5 64 | 1x1 64, 3x3 96, 3x3 96 | mean, 1x1 p
    B     3x3 384 /2 | 1x1 64, 3x3 96, 3x3 96 /2 | max /2
    C(c)  1x1 192 | 1x1 c, 1x7 c, 7x1 192 | 1x1 c, 7x1 c, 1x7 c, 7x1 c, 1x7 192 | mean, 1x1 192
    D     1x1 192, 3x3 320 /2 | 1x1 192, 1x7 192, 7x1 192, 3x3 192 /2 | max /2
    E     1x1 320 | 1x1 384, (1x3 384 | 3x1 384) | 1x1 448, 3x3 384, (1x3 384 | 3x1 384)
          | mean, 1x1 192

    map   size at 299
    -     149, 147    3x3 32 /2, 3x3 32 without padding, 3x3 64
    c2    73, 71      max /2, 1x1 80, 3x3 192 without padding
    c3    35          max /2, A(32), A(64), A(64)
    c4    17          B, C(128), C(160), C(160), C(192)
    c5    8           D, E, E
    scores            mean, dropout, fc

In training an auxiliary classifier looks at the output of the last C; its loss counts 0.4.

Paper: Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer
Vision", CVPR 2016. Its table 1, which the lectures call Inception v2, has another stem and says no
widths; this is what TensorFlow and torchvision made of it: 5,713,216,096 multiply-adds (NASNet's
table: 5.72 billion; the paper: 4.8) and 23,834,568 parameters without the auxiliary classifier
(Xception's table: 23,626,728, which nothing published reaches). Layers and order are torchvision's.
"""

from __future__ import annotations

from functools import partial

from nn import functional as F
from nn import init
from nn.layers import AvgPool2d, Conv2d, Dropout, Linear, MaxPool2d
from nn.models.blocks import ConvBN
from nn.models.network import HALVES, Map, Network
from nn.models.trunk import maps_of, stages_of
from nn.module import Module
from nn.tensor import Tensor

conv = partial(ConvBN, eps=1e-3)
halving = partial(ConvBN, kernel_size=3, stride=2, padding=0, eps=1e-3)

TAPS = {"c2": "Conv2d_4a_3x3", "c3": "Mixed_5d", "c4": "Mixed_6e", "c5": "Mixed_7c"}

# torchvision's, trained on ImageNet by TensorFlow, which wants pixels in -1..1.
WEIGHTS = {"imagenet": "https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth"}


class InceptionV3(Network):
    """
    Args:
        num_classes: 0 or None leaves ``fc`` and the auxiliary classifier away.
        auxiliary: whether there is the auxiliary classifier.
        dropout: probability, before fc.
    """

    classifier_names = ("fc", "AuxLogits.fc")
    auxiliary_weight = 0.4
    preprocessing, side = HALVES, 299
    weights = WEIGHTS

    def __init__(
        self, num_classes: int | None = 1000, auxiliary: bool = False, dropout: float = 0.5
    ):
        super().__init__()
        self.num_classes = num_classes
        self.Conv2d_1a_3x3 = conv(3, 32, 3, 2, 0)
        self.Conv2d_2a_3x3 = conv(32, 32, 3, 1, 0)
        self.Conv2d_2b_3x3 = conv(32, 64, 3)
        self.maxpool1 = MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = conv(64, 80, 1)
        self.Conv2d_4a_3x3 = conv(80, 192, 3, 1, 0)
        self.maxpool2 = MaxPool2d(3, 2)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(128)
        self.Mixed_6c = InceptionC(160)
        self.Mixed_6d = InceptionC(160)
        self.Mixed_6e = InceptionC(192)
        self.AuxLogits = Auxiliary(num_classes) if num_classes and auxiliary else None
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        self.maps = {"c2": Map(192, 4), "c3": Map(288, 8), "c4": Map(768, 16), "c5": Map(2048, 32)}
        self.dropout = Dropout(dropout)
        self.fc = Linear(2048, num_classes) if num_classes else None
        for module in self.modules():
            if isinstance(module, Conv2d | Linear):
                init.trunc_normal_(module.weight, 0.0, 0.1, -2.0, 2.0)

    def layers(self) -> dict[str, Module]:
        """Those of the trunk, in order."""
        others = ("dropout", "fc", "AuxLogits")
        return {name: layer for name, layer in self.named_children() if name not in others}

    def stages(self) -> dict[str, Module]:
        return stages_of(self.layers(), TAPS)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return maps_of(self.stages(), images)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.fc(self.dropout(maps["c5"].mean((2, 3))))

    def weighted_scores(self, images: Tensor) -> list[tuple[float, Tensor]]:
        maps = self.features(images)
        scores = [(1.0, self.classify(maps))]
        if self.AuxLogits is not None:
            scores.append((self.auxiliary_weight, self.AuxLogits(maps["c4"])))
        return scores

    def parts(self) -> list[Module]:
        return [layer for layer in self.layers().values() if any(layer.parameters())]


class InceptionA(Module):
    """in_channels -> 224 + pool_features"""

    def __init__(self, in_channels: int, pool_features: int):
        super().__init__()
        self.branch1x1 = conv(in_channels, 64, 1)
        self.branch5x5_1 = conv(in_channels, 48, 1)
        self.branch5x5_2 = conv(48, 64, 5)
        self.branch3x3dbl_1 = conv(in_channels, 64, 1)
        self.branch3x3dbl_2 = conv(64, 96, 3)
        self.branch3x3dbl_3 = conv(96, 96, 3)
        self.pool = AvgPool2d(3, 1, padding=1)
        self.branch_pool = conv(in_channels, pool_features, 1)

    def forward(self, input: Tensor) -> Tensor:
        branch5x5 = self.branch5x5_2(self.branch5x5_1(input))
        branch3x3 = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(input)))
        pool = self.branch_pool(self.pool(input))
        return F.cat((self.branch1x1(input), branch5x5, branch3x3, pool), dim=1)


class InceptionB(Module):
    """in_channels -> 480 + in_channels, half the height and width"""

    def __init__(self, in_channels: int):
        super().__init__()
        self.branch3x3 = halving(in_channels, 384)
        self.branch3x3dbl_1 = conv(in_channels, 64, 1)
        self.branch3x3dbl_2 = conv(64, 96, 3)
        self.branch3x3dbl_3 = halving(96, 96)
        self.pool = MaxPool2d(3, 2)

    def forward(self, input: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(input)))
        return F.cat((self.branch3x3(input), double, self.pool(input)), dim=1)


class InceptionC(Module):
    """768 -> 768 channels, ``c`` inside"""

    def __init__(self, c: int):
        super().__init__()
        self.branch1x1 = conv(768, 192, 1)
        self.branch7x7_1 = conv(768, c, 1)
        self.branch7x7_2 = conv(c, c, (1, 7))
        self.branch7x7_3 = conv(c, 192, (7, 1))
        self.branch7x7dbl_1 = conv(768, c, 1)
        self.branch7x7dbl_2 = conv(c, c, (7, 1))
        self.branch7x7dbl_3 = conv(c, c, (1, 7))
        self.branch7x7dbl_4 = conv(c, c, (7, 1))
        self.branch7x7dbl_5 = conv(c, 192, (1, 7))
        self.pool = AvgPool2d(3, 1, padding=1)
        self.branch_pool = conv(768, 192, 1)

    def forward(self, input: Tensor) -> Tensor:
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(input)))
        double = self.branch7x7dbl_2(self.branch7x7dbl_1(input))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(self.branch7x7dbl_3(double)))
        pool = self.branch_pool(self.pool(input))
        return F.cat((self.branch1x1(input), branch7x7, double, pool), dim=1)


class InceptionD(Module):
    """in_channels -> 512 + in_channels, half the height and width"""

    def __init__(self, in_channels: int):
        super().__init__()
        self.branch3x3_1 = conv(in_channels, 192, 1)
        self.branch3x3_2 = halving(192, 320)
        self.branch7x7x3_1 = conv(in_channels, 192, 1)
        self.branch7x7x3_2 = conv(192, 192, (1, 7))
        self.branch7x7x3_3 = conv(192, 192, (7, 1))
        self.branch7x7x3_4 = halving(192, 192)
        self.pool = MaxPool2d(3, 2)

    def forward(self, input: Tensor) -> Tensor:
        branch3x3 = self.branch3x3_2(self.branch3x3_1(input))
        branch7x7 = self.branch7x7x3_2(self.branch7x7x3_1(input))
        branch7x7 = self.branch7x7x3_4(self.branch7x7x3_3(branch7x7))
        return F.cat((branch3x3, branch7x7, self.pool(input)), dim=1)


class InceptionE(Module):
    """in_channels -> 2048"""

    def __init__(self, in_channels: int):
        super().__init__()
        self.branch1x1 = conv(in_channels, 320, 1)
        self.branch3x3_1 = conv(in_channels, 384, 1)
        self.branch3x3_2a = conv(384, 384, (1, 3))
        self.branch3x3_2b = conv(384, 384, (3, 1))
        self.branch3x3dbl_1 = conv(in_channels, 448, 1)
        self.branch3x3dbl_2 = conv(448, 384, 3)
        self.branch3x3dbl_3a = conv(384, 384, (1, 3))
        self.branch3x3dbl_3b = conv(384, 384, (3, 1))
        self.pool = AvgPool2d(3, 1, padding=1)
        self.branch_pool = conv(in_channels, 192, 1)

    def forward(self, input: Tensor) -> Tensor:
        single = self.branch3x3_1(input)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(input))
        branches = (
            self.branch1x1(input),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(self.pool(input)),
        )
        return F.cat(branches, dim=1)


class Auxiliary(Module):
    """A classifier half-way: 5x5 means /3, 1x1 conv 128, 5x5 conv 768, mean, fc."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.pool = AvgPool2d(5, 3)
        self.conv0 = conv(768, 128, 1)
        self.conv1 = conv(128, 768, 5, 1, 0)
        self.fc = Linear(768, num_classes)

    def forward(self, input: Tensor) -> Tensor:
        return self.fc(self.conv1(self.conv0(self.pool(input))).mean((2, 3)))


inception_v3 = InceptionV3
