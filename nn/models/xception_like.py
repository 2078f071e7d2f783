"""The thesis's Xception-like network of 145 million multiply-adds, built for detection.

A bottleneck block as ResNet's, in which every convolution is a separable one, a 3x3 depthwise and a
1x1 convolution, and the batch norm stands behind both only::

    sep C: 3x3 depthwise, 1x1 conv C, BN

    stride 1              stride 2
    x                     x                  x
     |  sep C/4, ReLU      |  sep C/4 /2, ReLU
     |  sep C/4, ReLU      |  sep C/4, ReLU
     |  sep C              |  sep C           |  sep C /2
    add x, ReLU           add, ReLU

    map   stride   blocks   C
    c2    4        3x3 conv 24 /2, BN, ReLU, 3x3 max pooling /2
    c3    8        1 + 3    128
    c4    16       1 + 7    256
    c5    32       1 + 3    512
    scores         mean, fc

Thesis table 4.1, which says the channels, the blocks and 145 million, and no more; its section 3.1
says that it is a bottleneck all of whose convolutions are "channel-wise". Paper: Li, Peng, Yu et
al., "Light-Head R-CNN", 2017, section 3.1. The block is that of Xception39, by the same group: with
4, 8 and 4 blocks of 64, 128 and 256 channels behind a stem of 8 it has the 39 million of its name.
The shortcut of stride 2 is derived from it: with a plain 1x1 convolution in its place
(``plain_shortcut``) there are 144,799,360 multiply-adds instead of 145,307,392. The paper's own
table has 144, 288 and 576 channels, of which this block would make 180 million.
"""

from __future__ import annotations

from collections.abc import Sequence

from nn import functional as F
from nn.layers import BatchNorm2d, Conv2d, Linear, MaxPool2d
from nn.models.blocks import ConvBN, initialise
from nn.models.network import Map, Network
from nn.models.trunk import maps_of
from nn.module import Module, Sequential
from nn.tensor import Tensor


class XceptionLike(Network):
    """
    Args:
        num_classes: 0 or None leaves fc away.
        channels: of the stem and of the three stages.
        blocks: of the three stages.
        plain_shortcut: see above.

    Attributes:
        maps: "c2" after the stem, "c3", "c4" and "c5" after the stages.
    """

    def __init__(
        self,
        num_classes: int | None = 1000,
        channels: Sequence[int] = (24, 128, 256, 512),
        blocks: Sequence[int] = (4, 8, 4),
        plain_shortcut: bool = False,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.conv1 = ConvBN(3, channels[0], 3, 2)
        self.maxpool = MaxPool2d(3, 2, padding=1)
        before = channels[0]
        for number, (C, count) in enumerate(zip(channels[1:], blocks, strict=True), 1):
            stage = [Block(before, C, 2, plain_shortcut)]
            stage += [Block(C, C, 1, plain_shortcut) for _ in range(count - 1)]
            setattr(self, f"layer{number}", Sequential(*stage))
            before = C
        self.maps = {f"c{k}": Map(C, 2**k) for k, C in enumerate(channels, 2)}
        self.fc = Linear(before, num_classes) if num_classes else None
        initialise(self)

    def stages(self) -> dict[str, Module]:
        first = Sequential(self.conv1, self.maxpool)
        return {"c2": first, "c3": self.layer1, "c4": self.layer2, "c5": self.layer3}

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return maps_of(self.stages(), images)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.fc(maps["c5"].mean((2, 3)))

    def parts(self) -> list[Module]:
        return [self.conv1, self.layer1, self.layer2, self.layer3]


class Block(Module):
    """One block; the drawing is at the top of this file."""

    def __init__(self, in_channels: int, C: int, stride: int, plain_shortcut: bool):
        super().__init__()
        self.proj = None
        if stride == 2 and plain_shortcut:
            self.proj = Sequential(Conv2d(in_channels, C, 1, stride, bias=False), BatchNorm2d(C))
        elif stride == 2:
            self.proj = SeparableConvBN(in_channels, C, stride, relu=False)
        self.residual_branch = Sequential(
            SeparableConvBN(in_channels, C // 4, stride),
            SeparableConvBN(C // 4, C // 4),
            SeparableConvBN(C // 4, C, relu=False),
        )

    def forward(self, input: Tensor) -> Tensor:
        shortcut = input if self.proj is None else self.proj(input)
        return F.relu(self.residual_branch(input) + shortcut)


class SeparableConvBN(Module):
    """A 3x3 depthwise convolution, a 1x1 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, relu: bool = True):
        super().__init__()
        self.conv1 = Conv2d(
            in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False
        )
        self.point_wise_cbr = ConvBN(in_channels, out_channels, 1, relu=relu)

    def forward(self, input: Tensor) -> Tensor:
        return self.point_wise_cbr(self.conv1(input))


xception_like = XceptionLike
