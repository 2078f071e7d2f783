"""BN-Inception and Inception v2: GoogLeNet with batch norm, and 5x5 windows as two of 3x3.

Every convolution is followed by batch norm and ReLU. The branches of a block are concatenated in
the order written; in a block with /2 the last 3x3 convolutions have that stride, and there is no
1x1::

    block   1x1    1x1, 3x3    1x1, 3x3, 3x3    pooling, 1x1
    3a      64     64,  64     64,  96,  96     mean 32
    3b      64     64,  96     64,  96,  96     mean 64
    3c /2          128, 160    64,  96,  96     max
    4a      224    64,  96     96,  128, 128    mean 128
    4b      192    96,  128    96,  128, 128    mean 128
    4c      160    128, 160    128, 160, 160    mean 128    (v2: 96)
    4d      96     128, 192    160, 192, 192    mean 128    (v2: 96)
    4e /2          128, 192    192, 256, 256    max
    5a      352    192, 320    160, 224, 224    mean 128
    5b      352    192, 320    192, 224, 224    max 128

    map   stride
    -     4       init_block: 7x7 conv 64 /2, max /2, 1x1 conv 64, 3x3 conv 192
    c3    8       max /2, stage1: 3a, 3b
    c4    16      stage2: 3c .. 4d
    c5    32      stage3: 4e, 5a, 5b
    scores        mean, output

Paper: Ioffe and Szegedy, "Batch Normalization", ICML 2015, figure 5. ``bn_inception`` is the form
of the Caffe files of that time and of the package pytorchcv, whose names the layers have: with 128
in 4c and 4d, and with biases in the convolutions, which batch norm makes superfluous.
SE-BN-Inception, which SENet's authors published, has squeeze and excitation behind each block, to a
16th, and no such biases. ``inception_v2`` is that of TensorFlow (slim): 96 as in the paper, a
separable first convolution, and means without the zeros at the border; its padding lies on both
sides alike here. Multiply-adds: 2,032,600,064 (SENet's table: 2.03 billion) and 1,934,857,216
(NASNet's: 1.94). What the lectures' table calls Inception v2 is table 1 of the paper of v3, which
says no widths.
"""

from __future__ import annotations

from functools import partial

from nn.layers import AvgPool2d, Conv2d, Linear, MaxPool2d
from nn.models.blocks import (
    Branches,
    ConvBN,
    SameMaxPool2d,
    SqueezeExcitation,
    initialise,
)
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

# The channels of the 1x1 convolution, of the second branch, of the third, and behind the pooling.
STAGES = {
    "stage1": (
        (64, (64, 64), (64, 96, 96), 32),
        (64, (64, 96), (64, 96, 96), 64),
    ),
    "stage2": (
        (None, (128, 160), (64, 96, 96), None),
        (224, (64, 96), (96, 128, 128), 128),
        (192, (96, 128), (96, 128, 128), 128),
        (160, (128, 160), (128, 160, 160), 128),
        (96, (128, 192), (160, 192, 192), 128),
    ),
    "stage3": (
        (None, (128, 192), (192, 256, 256), None),
        (352, (192, 320), (160, 224, 224), 128),
        (352, (192, 320), (192, 224, 224), 128),
    ),
}


class BNInception(Network):
    """
    Args:
        num_classes: 0 or None leaves ``output`` away.
        squeeze: whether every block ends in squeeze and excitation.
        is_v2: Inception v2, as above.

    Attributes:
        maps: "c3", "c4" and "c5" after the stages.
    """

    classifier_names = ("output",)
    names = "pytorchcv"

    def __init__(self, num_classes: int | None = 1000, squeeze: bool = False, is_v2: bool = False):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        conv = partial(ConvBN, bias=not (squeeze or is_v2), eps=1e-3 if is_v2 else 1e-5)
        layers = {"init_block": stem(conv, is_v2)}
        channels, stride = 192, 8
        for stage, blocks in STAGES.items():
            units = {}
            for number, (c1, c3, double, pool) in enumerate(blocks, 1):
                pool = 96 if is_v2 and (stage, number) in (("stage2", 4), ("stage2", 5)) else pool
                if c1 is None:
                    unit = reduction(conv, channels, c3, double)
                    channels += c3[-1] + double[-1]
                else:
                    means = AvgPool2d(3, 1, padding=1, count_include_pad=not is_v2)
                    is_last = (stage, number) == ("stage3", 3)
                    pooling = MaxPool2d(3, 1, padding=1) if is_last else means
                    unit = inception(conv, channels, c1, c3, double, pooling, pool)
                    channels = c1 + c3[-1] + double[-1] + pool
                if squeeze:
                    unit.se = SqueezeExcitation(channels, channels // 16)
                units[f"unit{number}"] = unit
            layers[stage] = Sequential(units)
            self.maps[f"c{stride.bit_length() - 1}"] = Map(channels, stride)
            stride *= 2
        self.features = Trunk(layers, dict(zip(self.maps, STAGES, strict=True)))
        self.output = Linear(channels, num_classes) if num_classes else None
        initialise(self)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.output(maps["c5"].mean((2, 3)))

    def parts(self) -> list[Module]:
        return list(self.features)


def stem(conv, is_v2: bool) -> Sequential:
    """Up to 192 channels at stride 8."""
    first = conv(3, 64, 7, 2)
    if is_v2:
        depthwise = Conv2d(3, 24, 7, 2, padding=3, groups=3, bias=False)
        first = Sequential({"depthwise": depthwise, "pointwise": conv(24, 64, 1)})
    return Sequential(
        {
            "conv1": first,
            "pool1": SameMaxPool2d(),
            "conv2": chain(conv, 64, (64, 192)),
            "pool2": SameMaxPool2d(),
        }
    )


def chain(conv, in_channels: int, widths: tuple[int, ...], stride: int = 1) -> Sequential:
    """A 1x1 convolution, then 3x3 convolutions, the last with the stride."""
    layers = {}
    for number, width in enumerate(widths, 1):
        is_last = number == len(widths)
        layers[f"conv{number}"] = conv(
            in_channels, width, 1 if number == 1 else 3, stride if is_last else 1
        )
        in_channels = width
    return Sequential(layers)


def inception(conv, in_channels: int, c1: int, c3, double, pooling: Module, pool: int):
    """One block without /2; the table is at the top of this file."""
    branches = {
        "branch1": conv(in_channels, c1, 1),
        "branch2": chain(conv, in_channels, c3),
        "branch3": chain(conv, in_channels, double),
        "branch4": Sequential({"pool": pooling, "conv": conv(in_channels, pool, 1)}),
    }
    return Sequential({"branches": Branches(branches)})


def reduction(conv, in_channels: int, c3, double) -> Sequential:
    """One block with /2."""
    branches = {
        "branch1": chain(conv, in_channels, c3, stride=2),
        "branch2": chain(conv, in_channels, double, stride=2),
        "branch3": SameMaxPool2d(),
    }
    return Sequential({"branches": Branches(branches)})


bn_inception = BNInception
se_bn_inception = partial(BNInception, squeeze=True)
inception_v2 = partial(BNInception, is_v2=True)
