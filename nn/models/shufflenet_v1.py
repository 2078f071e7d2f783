"""ShuffleNet v1: 1x1 convolutions in groups, and a shuffle so that the groups hear of each other.

In blocks like ResNet's the 1x1 convolutions cost most. In g groups they cost a g-th, but then no
group would ever see what another has found; the shuffle deals the channels out anew in between::

    stride 1                              stride 2
    x                                     x
     |  1x1 conv C/4 in g groups, BN, ReLU |  1x1 conv C/4 in g groups, BN, ReLU
     |  shuffle                            |  shuffle
     |  3x3 depthwise, BN                  |  3x3 depthwise /2, BN
     |  1x1 conv C in g groups, BN         |  1x1 conv C - C_in in g groups, BN
    add x, ReLU                           concatenate 3x3 mean /2 of x, ReLU

    map   stride   units   C for g =   1    2    3    4    8
    c2    4        3x3 conv 24 /2, BN, ReLU, 3x3 max pooling /2
    c3    8        4                 144  200  240  272  384
    c4    16       8                 288  400  480  544  768
    c5    32       4                 576  800  960 1088 1536
    scores         mean, output

Paper: Zhang, Zhou, Lin, Sun, "ShuffleNet: An Extremely Efficient Convolutional Neural Network for
Mobile Devices", CVPR 2018, figure 2 (b) and (c), table 1. The first 1x1 convolution of all, which
sees 24 channels, has no groups. Table 1 leaves the 1000 classes out: with them 1x has 0.5 to 1.5
million multiply-adds more. The paper's table 2 has no widths for g = 2 and g = 4 below 1x, where
C/4 does not divide. The stem's channels at other widths are those of Megvii's program, which has no
bias in ``output`` (``bias``); those of 0.25x fit the paper's 13 million. SE-ShuffleNet has squeeze
and excitation at the end of every branch, to a 16th (Hu et al. 2018 do not say where: 138,071,088
multiply-adds here, their table says 142 million). The layers' names are those of the package
pytorchcv, whose files fit.
"""

from __future__ import annotations

from functools import partial

from nn import functional as F
from nn.layers import AvgPool2d, BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU
from nn.models.blocks import SqueezeExcitation, initialise
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # by groups: C of the first stage
UNITS = (4, 8, 4)
STEMS = {0.25: 12, 0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}  # channels, by width


class ShuffleNetV1(Network):
    """
    Args:
        groups: 1, 2, 3, 4 or 8.
        num_classes: 0 or None leaves ``output`` away.
        width: scales C; 0.25, 0.5, 1.0, 1.5 or 2.0.
        stem: its channels; by default what belongs to ``width``.
        squeeze: whether every branch ends in squeeze and excitation.
        bias: of ``output``.

    Attributes:
        maps: "c2" after the stem, "c3", "c4" and "c5" after the stages.
    """

    classifier_names = ("output",)
    names = "pytorchcv"

    def __init__(
        self,
        groups: int = 3,
        num_classes: int | None = 1000,
        width: float = 1.0,
        stem: int | None = None,
        squeeze: bool = False,
        bias: bool = True,
    ):
        super().__init__()
        self.num_classes = num_classes
        channels = STEMS[width] if stem is None else stem
        self.maps = {"c2": Map(channels, 4)}
        layers = {
            "init_block": Sequential(
                {
                    "conv": Conv2d(3, channels, 3, 2, padding=1, bias=False),
                    "bn": BatchNorm2d(channels),
                    "activ": ReLU(),
                    "pool": MaxPool2d(3, 2, padding=1),
                }
            )
        }
        for number, count in enumerate(UNITS, 1):
            C = int(CHANNELS[groups] * width) * 2 ** (number - 1)
            units = {}
            for index in range(count):
                is_first = number == 1 and index == 0
                stride = 2 if index == 0 else 1
                first_groups = 1 if is_first else groups
                units[f"unit{index + 1}"] = Unit(channels, C, stride, first_groups, groups, squeeze)
                channels = C
            layers[f"stage{number}"] = Sequential(units)
            self.maps[f"c{number + 2}"] = Map(C, 2 ** (number + 2))
        self.features = Trunk(layers, dict(zip(self.maps, layers, strict=True)))
        self.output = Linear(channels, num_classes, bias) if num_classes else None
        initialise(self)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.output(maps["c5"].mean((2, 3)))

    def parts(self) -> list[Module]:
        return list(self.features)


class Unit(Module):
    """One block; the drawing is at the top of this file."""

    def __init__(
        self, in_channels: int, C: int, stride: int, first_groups: int, groups: int, squeeze: bool
    ):
        super().__init__()
        middle, out = C // 4, C - in_channels if stride == 2 else C
        self.groups = groups
        self.compress_conv1 = Conv2d(in_channels, middle, 1, groups=first_groups, bias=False)
        self.compress_bn1 = BatchNorm2d(middle)
        self.dw_conv2 = Conv2d(middle, middle, 3, stride, padding=1, groups=middle, bias=False)
        self.dw_bn2 = BatchNorm2d(middle)
        self.expand_conv3 = Conv2d(middle, out, 1, groups=groups, bias=False)
        self.expand_bn3 = BatchNorm2d(out)
        self.se = SqueezeExcitation(out, out // 16) if squeeze else None
        self.avgpool = AvgPool2d(3, 2, padding=1) if stride == 2 else None

    def forward(self, input: Tensor) -> Tensor:
        branch = self.compress_bn1(self.compress_conv1(input), relu=True)
        branch = F.channel_shuffle(branch, self.groups)
        branch = self.expand_bn3(self.expand_conv3(self.dw_bn2(self.dw_conv2(branch))))
        if self.se is not None:
            branch = self.se(branch)
        if self.avgpool is None:
            return F.relu(branch + input)
        return F.relu(F.cat((branch, self.avgpool(input)), dim=1))


shufflenet_v1_g1, shufflenet_v1_g2, shufflenet_v1_g3, shufflenet_v1_g4, shufflenet_v1_g8 = (
    partial(ShuffleNetV1, groups) for groups in CHANNELS
)
shufflenet_v1_g3_x0_25 = partial(ShuffleNetV1, 3, width=0.25)
shufflenet_v1_g3_x0_5 = partial(ShuffleNetV1, 3, width=0.5)
shufflenet_v1_g3_x1_5 = partial(ShuffleNetV1, 3, width=1.5)
shufflenet_v1_g3_x2_0 = partial(ShuffleNetV1, 3, width=2.0)
se_shufflenet_v1_g3 = partial(ShuffleNetV1, 3, squeeze=True)
se_shufflenet_v1_g3_x2_0 = partial(ShuffleNetV1, 3, width=2.0, squeeze=True)
