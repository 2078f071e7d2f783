"""MobileNet v1: every 3x3 convolution is split into one of space and one of channels.

A depthwise 3x3 convolution looks at each channel alone, a 1x1 convolution mixes the channels. For C
channels that is 9 + C multiply-adds where a full convolution has 9 C::

    block(C, s): 3x3 depthwise /s, BN, ReLU6; 1x1 conv C, BN, ReLU6

    map   stride   blocks
    -     2        3x3 conv 32 /2, BN, ReLU6; block(64, 1)
    c2    4        block(128, 2), block(128, 1)
    c3    8        block(256, 2), block(256, 1)
    c4    16       block(512, 2), block(512, 1) five times
    c5    32       block(1024, 2), block(1024, 1)
    scores         mean, classifier

Paper: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", 2017, table 1. Its last depthwise convolution says /2 where the size does not change;
only stride 1 gives its 569 million multiply-adds. It says ReLU; the authors' TensorFlow and the
public weights have ReLU6. The layers' names are those of the package timm. SE-MobileNet has squeeze
and excitation behind each 1x1 convolution, to a 16th (Hu et al. 2018, table 3: 4.7 million
parameters, 572 million multiply-adds; 4,718,044 and 569,220,096 here, where means do not count).
"""

from __future__ import annotations

from functools import partial

from nn.layers import BatchNorm2d, Conv2d, Linear, ReLU6
from nn.models.blocks import SqueezeExcitation, initialise
from nn.models.network import HALVES, Map, Network
from nn.models.trunk import maps_of
from nn.module import Module, Sequential
from nn.tensor import Tensor

# C and s of the blocks, by the group that they are in.
BLOCKS = (
    ((64, 1),),
    ((128, 2), (128, 1)),
    ((256, 2), (256, 1)),
    ((512, 2), *[(512, 1)] * 5),
    ((1024, 2), (1024, 1)),
)


class MobileNetV1(Network):
    """
    Args:
        num_classes: 0 or None leaves ``classifier`` away.
        width_mult: scales the channels.
        squeeze: whether every block ends in squeeze and excitation.

    Attributes:
        maps: "c2" .. "c5", the last of their strides.
    """

    classifier_names = ("classifier",)
    preprocessing = HALVES
    names = "timm"

    def __init__(
        self, num_classes: int | None = 1000, width_mult: float = 1.0, squeeze: bool = False
    ):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        channels = int(32 * width_mult)
        self.conv_stem = Conv2d(3, channels, 3, 2, padding=1, bias=False)
        self.bn1 = BatchNorm2d(channels)
        self.relu1 = ReLU6()
        groups = []
        for number, group in enumerate(BLOCKS, 1):
            blocks = []
            for C, stride in group:
                C = int(C * width_mult)
                blocks.append(DepthwiseSeparable(channels, C, stride, squeeze))
                channels = C
            groups.append(Sequential(*blocks))
            if number > 1:
                self.maps[f"c{number}"] = Map(channels, 2**number)
        self.blocks = Sequential(*groups)
        self.classifier = Linear(channels, num_classes) if num_classes else None
        initialise(self, linear_std=0.01)

    def stages(self) -> dict[str, Module]:
        one, two, *groups = self.blocks
        first = Sequential(self.conv_stem, self.bn1, self.relu1, one, two)
        return dict(zip(self.maps, [first, *groups], strict=True))

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return maps_of(self.stages(), images)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(maps["c5"].mean((2, 3)))

    def parts(self) -> list[Module]:
        return [Sequential(self.conv_stem, self.bn1), *self.blocks]


class DepthwiseSeparable(Sequential):
    """``block(C, s)`` at the top of this file."""

    def __init__(self, in_channels: int, C: int, stride: int, squeeze: bool):
        layers = {
            "conv_dw": Conv2d(
                in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False
            ),
            "bn1": BatchNorm2d(in_channels),
            "relu1": ReLU6(),
            "conv_pw": Conv2d(in_channels, C, 1, bias=False),
            "bn2": BatchNorm2d(C),
            "relu2": ReLU6(),
        }
        if squeeze:
            layers["se"] = SqueezeExcitation(C, C // 16)
        super().__init__(layers)


mobilenet_v1 = MobileNetV1
mobilenet_v1_x0_75 = partial(MobileNetV1, width_mult=0.75)
mobilenet_v1_x0_5 = partial(MobileNetV1, width_mult=0.5)
mobilenet_v1_x0_25 = partial(MobileNetV1, width_mult=0.25)
se_mobilenet_v1 = partial(MobileNetV1, squeeze=True)
