"""Xception: Inception's idea taken to its end, every convolution split into space and channels.

An Inception block looks at parts of the channels with windows of several sizes; with one window for
each channel it is a depthwise convolution, followed by a 1x1 convolution. Nothing stands between
the two (the paper's figure 10: a ReLU there does harm)::

    sep C: 3x3 depthwise, 1x1 conv C, BN

    block: x
     |  ReLU, sep C1                       (block1 without its first ReLU)
     |  ReLU, sep C2
     |  ReLU, sep C3                       (the middle ones only)
     |  3x3 max pooling /2                 (not the middle ones)
    add x, after a 1x1 conv /2, BN         (the middle ones: as it is)

    map   size at 299
    -     149, 147  3x3 conv 32 /2, 3x3 conv 64, both without padding, with BN and ReLU
    c2    74        block1: 128, 128
    c3    37        block2: 256, 256
    c4    19        block3: 728, 728, then block4 .. block11: 728, 728, 728
    c5    10        block12: 728, 1024
    last  10        sep 1536, ReLU, sep 2048, ReLU
    scores          mean, fc

Paper: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017, figure
5. The layers' names are those of the package timm (legacy_xception), and so is the eps of its batch
norms. Parameters are the lecture's 22,855,952 to the unit; its 8.38 billion multiply-adds are
8,357,403,496 here.
"""

from __future__ import annotations

from collections.abc import Sequence

from nn.layers import BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU
from nn.models.blocks import initialise
from nn.models.network import HALVES, Map, Network
from nn.models.trunk import maps_of, stages_of
from nn.module import Module, Sequential
from nn.tensor import Tensor

# The channels of each block's separable convolutions, by the block's number.
BLOCKS = {
    1: (128, 128),
    2: (256, 256),
    3: (728, 728),
    **{number: (728, 728, 728) for number in range(4, 12)},
    12: (728, 1024),
}
TAPS = {"c2": "block1", "c3": "block2", "c4": "block11", "c5": "block12"}

# timm's, trained on ImageNet; first in the pretrained-models package.
URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-cadene/"
WEIGHTS = {"imagenet": URL + "xception-43020ad28.pth"}


class Xception(Network):
    """
    Args:
        num_classes: 0 leaves fc away, None the last two separable convolutions too: a backbone.

    Attributes:
        maps: "c2" .. "c5", the last of their strides, and "last" after the last convolution.
    """

    preprocessing, side = HALVES, 299
    names = "timm"
    weights = WEIGHTS

    def __init__(self, num_classes: int | None = 1000):
        super().__init__()
        self.num_classes = num_classes
        self.conv1, self.bn1 = Conv2d(3, 32, 3, 2, bias=False), BatchNorm2d(32)
        self.relu1 = ReLU()
        self.conv2, self.bn2 = Conv2d(32, 64, 3, bias=False), BatchNorm2d(64)
        self.relu2 = ReLU()
        channels = 64
        for number, widths in BLOCKS.items():
            block = Block(channels, widths, 1 if 4 <= number <= 11 else 2, number > 1)
            setattr(self, f"block{number}", block)
            channels = widths[-1]
        self.maps = {"c2": Map(128, 4), "c3": Map(256, 8), "c4": Map(728, 16), "c5": Map(1024, 32)}
        self.taps = TAPS
        if num_classes is not None:
            self.conv3, self.bn3 = SeparableConv(channels, 1536), BatchNorm2d(1536)
            self.relu3 = ReLU()
            self.conv4, self.bn4 = SeparableConv(1536, 2048), BatchNorm2d(2048)
            self.relu4 = ReLU()
            self.maps["last"] = Map(2048, 32)
            self.taps = {**TAPS, "last": "relu4"}
        self.fc = Linear(2048, num_classes) if num_classes else None
        initialise(self)

    def stages(self) -> dict[str, Module]:
        return stages_of(dict(self.named_children()), self.taps)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return maps_of(self.stages(), images)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.fc(maps["last"].mean((2, 3)))

    def parts(self) -> list[Module]:
        parts = [Sequential(self.conv1, self.bn1), Sequential(self.conv2, self.bn2)]
        parts += [getattr(self, f"block{number}") for number in BLOCKS]
        if "last" in self.maps:
            parts += [Sequential(self.conv3, self.bn3), Sequential(self.conv4, self.bn4)]
        return parts


class Block(Module):
    """One block; the drawing is at the top of this file.

    Args:
        widths: channels of its separable convolutions.
        starts_with_relu: False for the first block, whose input has had one.
    """

    def __init__(
        self, in_channels: int, widths: Sequence[int], stride: int, starts_with_relu: bool
    ):
        super().__init__()
        out_channels = widths[-1]
        self.skip = None
        if stride == 2:
            self.skip = Conv2d(in_channels, out_channels, 1, 2, bias=False)
            self.skipbn = BatchNorm2d(out_channels)
        layers, channels = [], in_channels
        for width in widths:
            layers += [ReLU(), SeparableConv(channels, width), BatchNorm2d(width)]
            channels = width
        if stride == 2:
            layers.append(MaxPool2d(3, 2, padding=1))
        self.rep = Sequential(*(layers if starts_with_relu else layers[1:]))

    def forward(self, input: Tensor) -> Tensor:
        shortcut = input if self.skip is None else self.skipbn(self.skip(input))
        return self.rep(input) + shortcut


class SeparableConv(Module):
    """A 3x3 depthwise convolution, then a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return self.pointwise(self.conv1(input))


xception = Xception
