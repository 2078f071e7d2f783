"""MobileNet v3: v2's blocks, chosen by a search, with squeeze and excitation and hard swish.

    x: C_in
     |  1x1 conv expanded, BN, f        (not where expanded = C_in)
     |  k x k depthwise /s, BN, f
     |  squeeze and excitation          (some blocks; to a quarter of expanded, hard sigmoid)
     |  1x1 conv C_out, BN
    add x, where s = 1 and C_in = C_out

f is ReLU in the first blocks and hard swish, x min(max(x + 3, 0), 6) / 6, in the later ones. The
stem is a 3x3 convolution of 16 /2. ``BLOCKS`` is the paper's tables 1 and 2. After them a 1x1
convolution of six times as many channels, then the mean, a layer of 1280 (1024 in "small") and the
classes.

Paper: Howard et al., "Searching for MobileNetV3", ICCV 2019. Its table 2 has 1280 in "small" too,
2,946,568 parameters; published weights have 1024, 2,542,856, which is what is built. With it the
table's 66 M multiply-adds are not reached (56.5 M). The table's squeeze and excitation behind the
last convolution would make 3.1 M parameters, and the table says 2.9 M. The layers and their order
are those of torchvision's model; as there, batch norms have eps 0.001 and momentum 0.01.
"""

from __future__ import annotations

from functools import partial

from nn import functional as F
from nn.layers import Dropout, Hardswish, Linear, ReLU
from nn.models.blocks import SqueezeExcitation, conv_bn, initialise, rounded
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

RE, HS = ReLU, Hardswish
# k, expanded, C_out, whether squeeze and excitation, f, s.
BLOCKS = {
    "large": (
        (3, 16, 16, False, RE, 1),
        (3, 64, 24, False, RE, 2),
        (3, 72, 24, False, RE, 1),
        (5, 72, 40, True, RE, 2),
        (5, 120, 40, True, RE, 1),
        (5, 120, 40, True, RE, 1),
        (3, 240, 80, False, HS, 2),
        (3, 200, 80, False, HS, 1),
        (3, 184, 80, False, HS, 1),
        (3, 184, 80, False, HS, 1),
        (3, 480, 112, True, HS, 1),
        (3, 672, 112, True, HS, 1),
        (5, 672, 160, True, HS, 2),
        (5, 960, 160, True, HS, 1),
        (5, 960, 160, True, HS, 1),
    ),
    "small": (
        (3, 16, 16, True, RE, 2),
        (3, 72, 24, False, RE, 2),
        (3, 88, 24, False, RE, 1),
        (5, 96, 40, True, HS, 2),
        (5, 240, 40, True, HS, 1),
        (5, 240, 40, True, HS, 1),
        (5, 120, 48, True, HS, 1),
        (5, 144, 48, True, HS, 1),
        (5, 288, 96, True, HS, 2),
        (5, 576, 96, True, HS, 1),
        (5, 576, 96, True, HS, 1),
    ),
}
LAST = {"large": 1280, "small": 1024}

# torchvision's, trained on ImageNet; "imagenet_v2" is from a later recipe and more accurate.
URL = "https://download.pytorch.org/models/"
WEIGHTS = {
    "large": {
        "imagenet": URL + "mobilenet_v3_large-8738ca79.pth",
        "imagenet_v2": URL + "mobilenet_v3_large-5c1a4163.pth",
    },
    "small": {"imagenet": URL + "mobilenet_v3_small-047dcff4.pth"},
}

block_conv_bn = partial(conv_bn, eps=0.001, momentum=0.01)


class MobileNetV3(Network):
    """
    Args:
        size: "large" or "small".
        num_classes: 0 leaves ``classifier`` away, None the last convolution too: a backbone.
        width_mult: scales the channels, which are then rounded to multiples of 8, as in the
            authors' program: what a block expands to keeps its ratio to what goes in. The layer
            before the classes never has less than its size.
        last: the size of that layer; 1280 or, in "small", 1024 by default.
        dropout: probability, before the classes.

    Attributes:
        maps: "c2" .. "c5", the last of their strides, and "last" after the last convolution.
    """

    classifier_names = ("classifier.3",)

    def __init__(
        self,
        size: str,
        num_classes: int | None = 1000,
        width_mult: float = 1.0,
        last: int | None = None,
        dropout: float = 0.2,
    ):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        if width_mult == 1.0 and last is None:
            self.weights = WEIGHTS[size]

        def width(channels: int) -> int:
            return rounded(channels * width_mult)

        channels, reduction = width(16), 2
        layers, taps = [block_conv_bn(3, channels, 3, 2, activation=Hardswish)], {}
        before = 16
        for k, expanded, out, is_squeezed, activation, stride in BLOCKS[size]:
            hidden = rounded(expanded / before * channels)
            layers.append(Block(channels, k, hidden, width(out), is_squeezed, activation, stride))
            before, channels, reduction = out, width(out), reduction * stride
            if reduction > 2:
                name = f"c{reduction.bit_length() - 1}"
                taps[name], self.maps[name] = len(layers) - 1, Map(channels, reduction)
        if num_classes is not None:
            layers.append(block_conv_bn(channels, 6 * channels, 1, activation=Hardswish))
            taps["last"], self.maps["last"] = len(layers) - 1, Map(6 * channels, reduction)
        self.features = Trunk(layers, taps)
        self.classifier = None
        if num_classes:
            last = rounded((last or LAST[size]) * max(1.0, width_mult))
            self.classifier = Sequential(
                Linear(6 * channels, last), Hardswish(), Dropout(dropout), Linear(last, num_classes)
            )
        initialise(self, linear_std=0.01)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(maps["last"].mean((2, 3)))

    def parts(self) -> list[Module]:
        return list(self.features)


class Block(Module):
    """One row of ``BLOCKS``; the drawing is at the top of this file."""

    def __init__(
        self, in_channels: int, k: int, expanded: int, out_channels: int, is_squeezed: bool,
        activation: type[Module], stride: int,
    ):  # fmt: skip
        super().__init__()
        self.is_residual = stride == 1 and in_channels == out_channels
        layers = []
        if expanded != in_channels:
            layers.append(block_conv_bn(in_channels, expanded, 1, activation=activation))
        layers.append(block_conv_bn(expanded, expanded, k, stride, expanded, activation=activation))
        if is_squeezed:
            layers.append(SqueezeExcitation(expanded, rounded(expanded // 4), scale=F.hardsigmoid))
        layers.append(block_conv_bn(expanded, out_channels, 1, activation=None))
        self.block = Sequential(*layers)

    def forward(self, input: Tensor) -> Tensor:
        return input + self.block(input) if self.is_residual else self.block(input)


mobilenet_v3_large = partial(MobileNetV3, "large")
mobilenet_v3_small = partial(MobileNetV3, "small")
mobilenet_v3_large_x0_75 = partial(MobileNetV3, "large", width_mult=0.75)
mobilenet_v3_small_x0_75 = partial(MobileNetV3, "small", width_mult=0.75)
