"""SENet: ResNet's blocks, whose channels are weighed by what is in the whole map.

Squeeze and excitation stands at the end of a block's branch, before the sum: the mean of every
channel (squeeze), two small layers, and a number in 0..1 for every channel (excitation)::

    x
     |  1x1 conv first, BN, ReLU
     |  3x3 conv second in g groups, BN, ReLU
     |  1x1 conv 4 C, BN
     |  times squeeze and excitation, to a 16th
    add x, ReLU                                     C = 64, 128, 256, 512

                    first   second   g    /2 in   blocks        stem
    SE-ResNet-50    C       C        1    first   3 4 6 3       7x7 conv 64 /2
    SE-ResNet-101   C       C        1    first   3 4 23 3
    SE-ResNet-152   C       C        1    first   3 8 36 3
    SE-ResNeXt-50   2 C     2 C      32   second  3 4 6 3
    SE-ResNeXt-101  2 C     2 C      32   second  3 4 23 3
    SENet-154       2 C     4 C      64   second  3 8 36 3      3x3 conv 64 /2, 3x3 64, 3x3 128

    map   stride
    c2    4       stem with BN and ReLU, 3x3 max pooling /2, layer1
    c3    8       layer2, its first block /2
    c4    16      layer3, its first block /2
    c5    32      layer4, its first block /2
    scores        mean, dropout (SENet-154), last_linear

Where the size or the channels change x passes a 1x1 convolution, in SENet-154 a 3x3 one where the
size does. Paper: Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018, figure 3 and table 2.
Its tables also count the sums: 3.87 where we have 3,860,488,192. The lectures give SENet-154 145.8
million parameters; the authors' Caffe file has 115,088,984. As there, the pooling has no padding,
and its last window may hang over. The layers' names are those of the package timm ("legacy_");
another SE-ResNet-50 of that package has the stride in the 3x3 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from nn import functional as F
from nn.layers import BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, ReLU
from nn.models.blocks import SqueezeExcitation, initialise
from nn.models.network import Map, Network
from nn.models.trunk import maps_of
from nn.module import Module, Sequential
from nn.tensor import Tensor

# timm's, trained on ImageNet; the first three are those of the pretrained-models package.
URL = "https://github.com/rwightman/pytorch-image-models/releases/download/"
WEIGHTS = {
    "se_resnet50": {"imagenet": URL + "v0.1-cadene/se_resnet50-ce0d4300.pth"},
    "se_resnet101": {"imagenet": URL + "v0.1-cadene/se_resnet101-7e38fcc6.pth"},
    "se_resnet152": {"imagenet": URL + "v0.1-cadene/se_resnet152-d17c99b7.pth"},
    "se_resnext50_32x4d": {"imagenet": URL + "v0.1-weights/legacy_se_resnext50_32x4d-f3651bad.pth"},
    "se_resnext101_32x4d": {
        "imagenet": URL + "v0.1-weights/legacy_se_resnext101_32x4d-37725eac.pth"
    },
    "senet154": {"imagenet": URL + "v0.1-weights/legacy_senet154-e9eb9fe6.pth"},
}


class Kind(NamedTuple):
    """A row of the table at the top of this file; ``first`` and ``second`` in C."""

    first: int
    second: int
    groups: int
    stride_in_first: bool
    shortcut: int  # the window of a shortcut with a stride
    dropout: float = 0.0


RESNET = Kind(1, 1, 1, stride_in_first=True, shortcut=1)
RESNEXT = Kind(2, 2, 32, stride_in_first=False, shortcut=1)
SENET = Kind(2, 4, 64, stride_in_first=False, shortcut=3, dropout=0.2)


class SENet(Network):
    """
    Args:
        kind: of its blocks; ``SENET`` has its own stem.
        layers: how many blocks layer1 .. layer4 have.
        num_classes: 0 or None leaves ``last_linear`` away.
        C: of layer1, doubled from layer to layer.

    Attributes:
        maps: "c2" .. "c5" after layer1 .. layer4.
    """

    classifier_names = ("last_linear",)
    names = "timm"

    def __init__(
        self, kind: Kind, layers: Sequence[int], num_classes: int | None = 1000, C: int = 64
    ):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        stem = [(7, 64, 2)] if kind is not SENET else [(3, 64, 2), (3, 64, 1), (3, 128, 1)]
        self.layer0, channels = Sequential(), 3
        for number, (window, out, stride) in enumerate(stem, 1):
            conv = Conv2d(channels, out, window, stride, window // 2, bias=False)
            setattr(self.layer0, f"conv{number}", conv)
            setattr(self.layer0, f"bn{number}", BatchNorm2d(out))
            setattr(self.layer0, f"relu{number}", ReLU())
            channels = out
        self.pool0 = MaxPool2d(3, 2, ceil_mode=True)
        for number, count in enumerate(layers, 1):
            blocks = []
            for index in range(count):
                stride = 2 if number > 1 and index == 0 else 1
                blocks.append(Bottleneck(channels, C, stride, kind))
                channels = 4 * C
            setattr(self, f"layer{number}", Sequential(*blocks))
            self.maps[f"c{number + 1}"] = Map(channels, 2 ** (number + 1))
            C *= 2
        self.dropout = Dropout(kind.dropout)
        self.last_linear = Linear(channels, num_classes) if num_classes else None
        initialise(self)

    def stages(self) -> dict[str, Module]:
        first = Sequential(self.layer0, self.pool0, self.layer1)
        return {"c2": first, "c3": self.layer2, "c4": self.layer3, "c5": self.layer4}

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return maps_of(self.stages(), images)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.last_linear(self.dropout(maps["c5"].mean((2, 3))))

    def parts(self) -> list[Module]:
        return [self.layer0, self.layer1, self.layer2, self.layer3, self.layer4]


class Bottleneck(Module):
    """One block: in_channels -> 4 C."""

    def __init__(self, in_channels: int, C: int, stride: int, kind: Kind):
        super().__init__()
        first, second, out = kind.first * C, kind.second * C, 4 * C
        strides = (stride, 1) if kind.stride_in_first else (1, stride)
        self.conv1 = Conv2d(in_channels, first, 1, strides[0], bias=False)
        self.bn1 = BatchNorm2d(first)
        self.conv2 = Conv2d(first, second, 3, strides[1], 1, groups=kind.groups, bias=False)
        self.bn2 = BatchNorm2d(second)
        self.conv3 = Conv2d(second, out, 1, bias=False)
        self.bn3 = BatchNorm2d(out)
        self.se_module = SqueezeExcitation(out, out // 16)
        self.downsample = None
        if stride != 1 or in_channels != out:
            window = kind.shortcut if stride != 1 else 1
            self.downsample = Sequential(
                Conv2d(in_channels, out, window, stride, window // 2, bias=False), BatchNorm2d(out)
            )

    def forward(self, input: Tensor) -> Tensor:
        branch = self.bn1(self.conv1(input), relu=True)
        branch = self.bn2(self.conv2(branch), relu=True)
        branch = self.se_module(self.bn3(self.conv3(branch)))
        return F.relu(branch + (input if self.downsample is None else self.downsample(input)))


def published(name: str, kind: Kind, layers: Sequence[int], num_classes: int | None = 1000):
    """A network with new weights that knows where its published ones are."""
    model = SENet(kind, layers, num_classes)
    model.weights = WEIGHTS[name]
    return model


se_resnet50 = partial(published, "se_resnet50", RESNET, (3, 4, 6, 3))
se_resnet101 = partial(published, "se_resnet101", RESNET, (3, 4, 23, 3))
se_resnet152 = partial(published, "se_resnet152", RESNET, (3, 8, 36, 3))
se_resnext50_32x4d = partial(published, "se_resnext50_32x4d", RESNEXT, (3, 4, 6, 3))
se_resnext101_32x4d = partial(published, "se_resnext101_32x4d", RESNEXT, (3, 4, 23, 3))
senet154 = partial(published, "senet154", SENET, (3, 8, 36, 3))
