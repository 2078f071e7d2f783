"""ResNet: every block adds to what it is given, so that depth cannot make a network worse.

A block computes only a difference, f(x); what it returns is relu(f(x) + x). Where height and width
halve or the channels change, x passes a 1x1 convolution of the same stride first, ``downsample``::

    BasicBlock (18 and 34 layers)        Bottleneck (50 layers and more)
    x: C                                 x: 4 C
     |  3x3 conv C, BN, ReLU              |  1x1 conv C, BN, ReLU
     |  3x3 conv C, BN                    |  3x3 conv C, BN, ReLU
     |                                    |  1x1 conv 4 C, BN
    add x, ReLU                          add x, ReLU

    map      stride                                 blocks of 18  34  50  101  152
    -        2       conv1: 7x7 conv 64 /2, BN, ReLU
    c2       4       3x3 max pooling /2, layer1: C 64        2    3    3    3    3
    c3       8       layer2: C 128, its first block /2       2    4    4    4    8
    c4       16      layer3: C 256, its first block /2       2    6    6   23   36
    c5       32      layer4: C 512, its first block /2       2    3    3    3    3
    scores           mean, fc

Paper: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, figure 5,
section 3.3 (shortcut B) and table 1. Its bottleneck has the stride in the first 1x1 convolution, as
here in the members called ``_paper``; torchvision's in the 3x3 (Facebook's "v1.5"): 4,089,184,256
instead of 3,857,973,248 multiply-adds for 50 layers, other results, and the same names and shapes.
The layers and their order are those of torchvision's model.

ResNeXt's 3x3 convolution has groups: in a block of "32x4d" 32 times 4 channels where C is 64 (Xie,
Girshick, Dollar, Tu, He, "Aggregated Residual Transformations for Deep Neural Networks", CVPR 2017,
figure 3 (c) and table 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from nn import functional as F
from nn.layers import BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU
from nn.models.blocks import initialise
from nn.models.network import Map, Network
from nn.models.trunk import maps_of
from nn.module import Module, Sequential
from nn.tensor import Tensor

# torchvision's, trained on ImageNet; "imagenet_v2" is from a later recipe and more accurate.
URL = "https://download.pytorch.org/models/"
WEIGHTS = {
    "resnet18": {"imagenet": URL + "resnet18-f37072fd.pth"},
    "resnet34": {"imagenet": URL + "resnet34-b627a593.pth"},
    "resnet50": {
        "imagenet": URL + "resnet50-0676ba61.pth",
        "imagenet_v2": URL + "resnet50-11ad3fa6.pth",
    },
    "resnet101": {
        "imagenet": URL + "resnet101-63fe2227.pth",
        "imagenet_v2": URL + "resnet101-cd907fc2.pth",
    },
    "resnet152": {
        "imagenet": URL + "resnet152-394f9c45.pth",
        "imagenet_v2": URL + "resnet152-f82ba261.pth",
    },
    "resnext50_32x4d": {
        "imagenet": URL + "resnext50_32x4d-7cdf4587.pth",
        "imagenet_v2": URL + "resnext50_32x4d-1a0047aa.pth",
    },
    "resnext101_32x8d": {
        "imagenet": URL + "resnext101_32x8d-8ba56ff5.pth",
        "imagenet_v2": URL + "resnext101_32x8d-110c445d.pth",
    },
    "resnext101_64x4d": {"imagenet": URL + "resnext101_64x4d-173b62eb.pth"},
}


class ResNet(Network):
    """
    Args:
        block: ``BasicBlock`` or ``Bottleneck``.
        layers: how many blocks layer1 .. layer4 have.
        num_classes: 0 or None leaves fc away.
        width: channels of a bottleneck's 3x3 convolution where C is 64, in each of its groups.
        groups: of that convolution.
        stride_in_first: a bottleneck's stride is that of its first convolution, not of its second.
        dilations: of the second convolution of each block, layer by layer; 1 by default.

    Attributes:
        maps: "c2" .. "c5" after layer1 .. layer4.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        num_classes: int | None = 1000,
        width: int = 64,
        groups: int = 1,
        stride_in_first: bool = False,
        dilations: Sequence[Sequence[int]] | None = None,
    ):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        self.conv1 = Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(64)
        self.maxpool = MaxPool2d(3, stride=2, padding=1)
        dilations = dilations or [[1] * count for count in layers]
        channels = 64
        for number, count in enumerate(layers, 1):
            C = 32 * 2**number
            kind = Kind(C * width // 64 * groups, groups, stride_in_first)
            blocks = []
            for index in range(count):
                stride = 2 if number > 1 and index == 0 else 1
                blocks.append(block(channels, C, stride, dilations[number - 1][index], kind))
                channels = C * block.expansion
            setattr(self, f"layer{number}", Sequential(*blocks))
            self.maps[f"c{number + 1}"] = Map(channels, 2 ** (number + 1))
        self.fc = Linear(channels, num_classes) if num_classes else None
        initialise(self)

    def stages(self) -> dict[str, Module]:
        first = Sequential(self.conv1, self.bn1, ReLU(), self.maxpool, self.layer1)
        return {"c2": first, "c3": self.layer2, "c4": self.layer3, "c5": self.layer4}

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return maps_of(self.stages(), images)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.fc(maps["c5"].mean((2, 3)))

    def parts(self) -> list[Module]:
        stem = Sequential(self.conv1, self.bn1)
        return [stem, self.layer1, self.layer2, self.layer3, self.layer4]


class Kind(NamedTuple):
    """What bottlenecks differ in: see ``ResNet``."""

    width: int
    groups: int
    stride_in_first: bool


class BasicBlock(Module):
    """Two 3x3 convolutions, the first with the stride: in_channels -> C channels."""

    expansion = 1

    def __init__(self, in_channels: int, C: int, stride: int, dilation: int, kind: Kind):
        super().__init__()
        self.conv1 = Conv2d(in_channels, C, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(C)
        self.conv2 = Conv2d(C, C, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = BatchNorm2d(C)
        self.downsample = shortcut(in_channels, C, stride)

    def forward(self, input: Tensor) -> Tensor:
        difference = self.bn1(self.conv1(input), relu=True)
        difference = self.bn2(self.conv2(difference))
        return F.relu(difference + (input if self.downsample is None else self.downsample(input)))


class Bottleneck(Module):
    """1x1 to C channels (or as ``kind`` says), 3x3, 1x1 to 4 C: in_channels -> 4 C channels."""

    expansion = 4

    def __init__(self, in_channels: int, C: int, stride: int, dilation: int, kind: Kind):
        super().__init__()
        width, groups = kind.width, kind.groups
        first, second = (stride, 1) if kind.stride_in_first else (1, stride)
        self.conv1 = Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, second, dilation, dilation, groups, bias=False)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = Conv2d(width, 4 * C, 1, bias=False)
        self.bn3 = BatchNorm2d(4 * C)
        self.downsample = shortcut(in_channels, 4 * C, stride)

    def forward(self, input: Tensor) -> Tensor:
        difference = self.bn1(self.conv1(input), relu=True)
        difference = self.bn2(self.conv2(difference), relu=True)
        difference = self.bn3(self.conv3(difference))
        return F.relu(difference + (input if self.downsample is None else self.downsample(input)))


def shortcut(in_channels: int, out_channels: int, stride: int) -> Sequential | None:
    """What x passes before it is added; None where it fits as it is."""
    if stride == 1 and in_channels == out_channels:
        return None
    return Sequential(
        Conv2d(in_channels, out_channels, 1, stride, bias=False), BatchNorm2d(out_channels)
    )


def published(
    name: str, block: type[BasicBlock | Bottleneck], layers: Sequence[int],
    num_classes: int | None = 1000, **options,
) -> ResNet:  # fmt: skip
    """A ResNet with new weights that knows where its published ones are."""
    model = ResNet(block, layers, num_classes, **options)
    model.weights = WEIGHTS.get(name, {})
    return model


resnet18 = partial(published, "resnet18", BasicBlock, (2, 2, 2, 2))
resnet34 = partial(published, "resnet34", BasicBlock, (3, 4, 6, 3))
resnet50 = partial(published, "resnet50", Bottleneck, (3, 4, 6, 3))
resnet101 = partial(published, "resnet101", Bottleneck, (3, 4, 23, 3))
resnet152 = partial(published, "resnet152", Bottleneck, (3, 8, 36, 3))
resnet50_paper = partial(ResNet, Bottleneck, (3, 4, 6, 3), stride_in_first=True)
resnet101_paper = partial(ResNet, Bottleneck, (3, 4, 23, 3), stride_in_first=True)
resnet152_paper = partial(ResNet, Bottleneck, (3, 8, 36, 3), stride_in_first=True)
resnext50_32x4d = partial(
    published, "resnext50_32x4d", Bottleneck, (3, 4, 6, 3), width=4, groups=32
)
resnext101_32x4d = partial(ResNet, Bottleneck, (3, 4, 23, 3), width=4, groups=32)
resnext101_32x8d = partial(
    published, "resnext101_32x8d", Bottleneck, (3, 4, 23, 3), width=8, groups=32
)
resnext101_64x4d = partial(
    published, "resnext101_64x4d", Bottleneck, (3, 4, 23, 3), width=4, groups=64
)
