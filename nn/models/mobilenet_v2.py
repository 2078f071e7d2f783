"""MobileNet v2: between blocks few channels and no ReLU, within a block six times as many.

A depthwise convolution is cheap, so it may work on many channels; what is kept and passed on are
few. Nothing cuts off the few: the last convolution of a block is linear (its section 3.2 shows that
a ReLU destroys what lies in a space of few dimensions). ReLU6 is min(max(x, 0), 6)::

    x: C_in
     |  1x1 conv t C_in, BN, ReLU6       (not where t = 1)
     |  3x3 depthwise /s, BN, ReLU6
     |  1x1 conv C_out, BN
    add x, where s = 1 and C_in = C_out

    features   map   stride   t   C_out   blocks
    0          -     2        -     32           3x3 conv /2, BN, ReLU6
    1          -     2        1     16    1
    2..3       c2    4        6     24    2      of the first block s = 2
    4..6       c3    8        6     32    3      s = 2
    7..10      -     16       6     64    4      s = 2
    11..13     c4    16       6     96    3
    14..16     -     32       6    160    3      s = 2
    17         c5    32       6    320    1
    18         last  32       -   1280           1x1 conv, BN, ReLU6
    scores                                       mean, dropout, classifier.1

Paper: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks", CVPR 2018, figure 4 (d) and table 2. The layers and their order are those of
torchvision's model, so its ``state_dict`` keys fit one to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from nn.layers import BatchNorm2d, Conv2d, Dropout, Linear, ReLU6
from nn.models.blocks import conv_bn, initialise, rounded
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

conv_bn_relu6 = partial(conv_bn, activation=ReLU6)

# t, C_out, how many blocks, s of the first of them, the map that the last of them makes.
STAGES = (
    (1, 16, 1, 1, None),
    (6, 24, 2, 2, "c2"),
    (6, 32, 3, 2, "c3"),
    (6, 64, 4, 2, None),
    (6, 96, 3, 1, "c4"),
    (6, 160, 3, 2, None),
    (6, 320, 1, 1, "c5"),
)

# torchvision's, trained on ImageNet; "imagenet_v2" is from a later recipe and more accurate.
WEIGHTS = {
    "imagenet": "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
    "imagenet_v2": "https://download.pytorch.org/models/mobilenet_v2-7ebf99e0.pth",
}


def mobilenet_v2(
    num_classes: int | None = 1000, width_mult: float = 1.0, dropout: float = 0.2
) -> MobileNetV2:
    """A MobileNet v2 with new weights; see ``MobileNetV2`` for the arguments."""
    return MobileNetV2(num_classes, width_mult, dropout)


mobilenet_v2_x1_4 = partial(mobilenet_v2, width_mult=1.4)
mobilenet_v2_x0_56 = partial(mobilenet_v2, width_mult=0.56)  # as much to do as ShuffleNet v2 1x


class MobileNetV2(Network):
    """
    Args:
        num_classes: 0 leaves ``classifier`` away, None the last convolution too: a backbone.
        width_mult: scales the channels, which are then rounded to multiples of 8; the last
            convolution never has fewer than 1280.
        dropout: probability, before the classifier.
        dilations: of the depthwise convolutions, for each row of ``STAGES`` as many as it has
            blocks; by default as many as stand there, all 1.

    Attributes:
        maps: "c2", "c3", "c4" and "c5", the last of their strides, and "last" after the last
            convolution.
    """

    classifier_names = ("classifier.1",)

    def __init__(
        self,
        num_classes: int | None = 1000,
        width_mult: float = 1.0,
        dropout: float = 0.2,
        dilations: Sequence[Sequence[int]] | None = None,
    ):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        if width_mult == 1.0 and dilations is None:
            self.weights = WEIGHTS
        dilations = dilations or [[1] * count for _, _, count, _, _ in STAGES]
        channels, reduction = rounded(32 * width_mult), 2
        layers, taps = [conv_bn_relu6(3, channels, 3, stride=2)], {}
        for (t, out, _, stride, name), of_blocks in zip(STAGES, dilations, strict=True):
            out, reduction = rounded(out * width_mult), reduction * stride
            for dilation in of_blocks:
                layers.append(InvertedResidual(channels, out, stride, t, dilation))
                channels, stride = out, 1
            if name is not None:
                taps[name], self.maps[name] = len(layers) - 1, Map(channels, reduction)
        if num_classes is not None:
            last = rounded(1280 * max(1.0, width_mult))
            layers.append(conv_bn_relu6(channels, last, 1))
            taps["last"], self.maps["last"] = len(layers) - 1, Map(last, reduction)
        self.features = Trunk(layers, taps)
        self.classifier = None
        if num_classes:
            self.classifier = Sequential(Dropout(dropout), Linear(last, num_classes))
        initialise(self, linear_std=0.01)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(maps["last"].mean((2, 3)))

    def parts(self) -> list[Module]:
        return list(self.features)


class InvertedResidual(Module):
    """One block; the drawing is at the top of this file."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, t: int, dilation: int):
        super().__init__()
        self.is_residual = stride == 1 and in_channels == out_channels
        hidden = in_channels * t
        self.conv = Sequential(
            *([conv_bn_relu6(in_channels, hidden, 1)] if t != 1 else []),
            conv_bn_relu6(hidden, hidden, 3, stride, hidden, dilation=dilation),
            Conv2d(hidden, out_channels, 1, bias=False),
            BatchNorm2d(out_channels),
        )

    def forward(self, input: Tensor) -> Tensor:
        return input + self.conv(input) if self.is_residual else self.conv(input)
