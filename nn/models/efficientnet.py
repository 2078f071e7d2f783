"""EfficientNet: one searched network, B0, and a rule by which it grows to B7.

More of one thing alone, layers, channels or pixels, soon stops helping; all three are scaled
together (about 1.2, 1.1 and 1.15 times a step). The block is MobileNet v2's with squeeze and
excitation::

    x: C_in
     |  1x1 conv t C_in, BN, f        (not where t = 1)
     |  k x k depthwise /s, BN, f
     |  squeeze and excitation        (to a quarter of C_in)
     |  1x1 conv C_out, BN
    add x, where s = 1 and C_in = C_out; in training the branch is left out now and then

f is the SiLU x / (1 + e^-x), "swish". ``STAGES`` is the paper's table 1; before it stands a 3x3
convolution of 32 /2, after it a 1x1 convolution of 4 times the channels, the mean, dropout and the
classes. Channels are multiplied with the width and rounded as MobileNet v2's, blocks with the depth
and rounded up. Stochastic depth leaves out block i of n with probability 0.2 i / n.

Papers: Tan and Le, "EfficientNet", ICML 2019, tables 1 and 2, equation 3 (which gives the
multipliers only roughly: ``SCALES`` is the authors' program's). Our multiply-adds are the table's
but for B4 and B5, where the table has 4 % less. The layers and their order are those of
torchvision's model: it pads alike on both sides, where the authors' TensorFlow pads less before
than behind.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

from nn import functional as F
from nn.layers import Dropout, Linear, SiLU, StochasticDepth
from nn.models.blocks import SqueezeExcitation, conv_bn, initialise, rounded
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

# t, k, s of the first block, C_out, how many blocks, the map that the last of them makes.
STAGES = (
    (1, 3, 1, 16, 1, None),
    (6, 3, 2, 24, 2, "c2"),
    (6, 5, 2, 40, 2, "c3"),
    (6, 3, 2, 80, 3, None),
    (6, 5, 1, 112, 3, "c4"),
    (6, 5, 2, 192, 4, None),
    (6, 3, 1, 320, 1, "c5"),
)


class Scale(NamedTuple):
    """How a member differs from B0.

    Attributes:
        width, depth: multipliers of channels and blocks.
        side: of the pictures it is for, in pixels.
        dropout: probability, before the classes.
        eps, momentum: of its batch norms.
    """

    width: float
    depth: float
    side: int
    dropout: float
    eps: float = 1e-5
    momentum: float = 0.1


SCALES = {
    "b0": Scale(1.0, 1.0, 224, 0.2),
    "b1": Scale(1.0, 1.1, 240, 0.2),
    "b2": Scale(1.1, 1.2, 260, 0.3),
    "b3": Scale(1.2, 1.4, 300, 0.3),
    "b4": Scale(1.4, 1.8, 380, 0.4),
    "b5": Scale(1.6, 2.2, 456, 0.4, 0.001, 0.01),
    "b6": Scale(1.8, 2.6, 528, 0.5, 0.001, 0.01),
    "b7": Scale(2.0, 3.1, 600, 0.5, 0.001, 0.01),
}

# torchvision's, trained on ImageNet; "imagenet_v2" is from a later recipe and more accurate.
URL = "https://download.pytorch.org/models/"
WEIGHTS = {
    "b0": {"imagenet": URL + "efficientnet_b0_rwightman-7f5810bc.pth"},
    "b1": {
        "imagenet": URL + "efficientnet_b1_rwightman-bac287d4.pth",
        "imagenet_v2": URL + "efficientnet_b1-c27df63c.pth",
    },
    "b2": {"imagenet": URL + "efficientnet_b2_rwightman-c35c1473.pth"},
    "b3": {"imagenet": URL + "efficientnet_b3_rwightman-b3899882.pth"},
    "b4": {"imagenet": URL + "efficientnet_b4_rwightman-23ab8bcd.pth"},
    "b5": {"imagenet": URL + "efficientnet_b5_lukemelas-1a07897c.pth"},
    "b6": {"imagenet": URL + "efficientnet_b6_lukemelas-24a108a5.pth"},
    "b7": {"imagenet": URL + "efficientnet_b7_lukemelas-c5b4e57e.pth"},
}


class EfficientNet(Network):
    """
    Args:
        scale: one of ``SCALES``, or its name.
        num_classes: 0 leaves ``classifier`` away, None the last convolution too: a backbone.
        stochastic_depth: probability of leaving out the last block's branch.

    Attributes:
        maps: "c2" .. "c5", the last of their strides, and "last" after the last convolution.
    """

    classifier_names = ("classifier.1",)

    def __init__(
        self,
        scale: str | Scale,
        num_classes: int | None = 1000,
        stochastic_depth: float = 0.2,
    ):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        if isinstance(scale, str):
            self.weights, scale = WEIGHTS[scale], SCALES[scale]
        self.side = scale.side
        conv = partial(conv_bn, activation=SiLU, eps=scale.eps, momentum=scale.momentum)
        counts = [math.ceil(count * scale.depth) for *_, count, _ in STAGES]

        channels, reduction = rounded(32 * scale.width), 2
        layers, taps, built = [conv(3, channels, 3, 2)], {}, 0
        for (t, k, first_stride, out, _, name), count in zip(STAGES, counts, strict=True):
            reduction *= first_stride
            out, blocks = rounded(out * scale.width), []
            for index in range(count):
                stride = first_stride if index == 0 else 1
                left_out = stochastic_depth * built / sum(counts)
                blocks.append(MBConv(channels, out, t, k, stride, left_out, conv))
                channels, built = out, built + 1
            layers.append(Sequential(*blocks))
            if name is not None:
                taps[name], self.maps[name] = len(layers) - 1, Map(channels, reduction)
        if num_classes is not None:
            layers.append(conv(channels, 4 * channels, 1))
            taps["last"], self.maps["last"] = len(layers) - 1, Map(4 * channels, reduction)
        self.features = Trunk(layers, taps)
        self.classifier = None
        if num_classes:
            self.classifier = Sequential(Dropout(scale.dropout), Linear(4 * channels, num_classes))
        initialise(self, linear_std=None if not num_classes else 1 / math.sqrt(3 * num_classes))

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(maps["last"].mean((2, 3)))

    def parts(self) -> list[Module]:
        return list(self.features)


class MBConv(Module):
    """One block; the drawing is at the top of this file."""

    def __init__(
        self, in_channels: int, out_channels: int, t: int, k: int, stride: int, left_out: float,
        conv,
    ):  # fmt: skip
        super().__init__()
        self.is_residual = stride == 1 and in_channels == out_channels
        hidden = in_channels * t
        self.block = Sequential(
            *([conv(in_channels, hidden, 1)] if t != 1 else []),
            conv(hidden, hidden, k, stride, groups=hidden),
            SqueezeExcitation(hidden, max(1, in_channels // 4), activation=F.silu),
            conv(hidden, out_channels, 1, activation=None),
        )
        self.stochastic_depth = StochasticDepth(left_out, "row")

    def forward(self, input: Tensor) -> Tensor:
        output = self.block(input)
        return self.stochastic_depth(output) + input if self.is_residual else output


efficientnet_b0, efficientnet_b1, efficientnet_b2, efficientnet_b3 = (
    partial(EfficientNet, f"b{number}") for number in range(4)
)
efficientnet_b4, efficientnet_b5, efficientnet_b6, efficientnet_b7 = (
    partial(EfficientNet, f"b{number}") for number in range(4, 8)
)
