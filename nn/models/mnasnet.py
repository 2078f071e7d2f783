"""MnasNet-A1: MobileNet v2's blocks, chosen by a search that weighs accuracy against time.

::

    block: x: C_in
     |  1x1 conv t C_in, BN, ReLU        (not in the first block)
     |  k x k depthwise /s, BN, ReLU
     |  squeeze and excitation           (where + stands; to a quarter of C_in)
     |  1x1 conv C_out, BN
    add x, where s = 1 and C_in = C_out

    map   stride   k  s  t  C_out  blocks
    -     2        3x3 conv 32 /2, BN, ReLU
    -     2        3  1  1   16    1
    c2    4        3  2  6   24    2
    c3    8        5  2  3   40    3  +
    -     16       3  2  6   80    4
    c4    16       3  1  6  112    2  +
    -     32       5  2  6  160    3  +
    c5    32       3  1  6  320    1
    last  32       1x1 conv 1280, BN, ReLU
    scores         mean, dropout, classifier

Paper: Tan, Chen, Pang, Vasudevan, Sandler, Howard, Le, "MnasNet: Platform-Aware Neural Architecture
Search for Mobile", CVPR 2019, figure 7. The layers' names are those of the package timm, which
calls it semnasnet_100. Torchvision's mnasnet1_0 is B1, another result of the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nn.layers import BatchNorm2d, Conv2d, Dropout, Linear, ReLU
from nn.models.blocks import SqueezeExcitation, initialise
from nn.models.network import Map, Network
from nn.models.trunk import maps_of
from nn.module import Module, Sequential
from nn.tensor import Tensor

# k, s of the first block, t, C_out, how many blocks, whether squeeze and excitation, the map that
# the last of them makes.
STAGES = (
    (3, 1, 1, 16, 1, False, None),
    (3, 2, 6, 24, 2, False, "c2"),
    (5, 2, 3, 40, 3, True, "c3"),
    (3, 2, 6, 80, 4, False, None),
    (3, 1, 6, 112, 2, True, "c4"),
    (5, 2, 6, 160, 3, True, None),
    (3, 1, 6, 320, 1, False, "c5"),
)

# timm's, trained on ImageNet.
URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/"
WEIGHTS = {"imagenet": URL + "mnasnet_a1-d9418771.pth"}


class Style(NamedTuple):
    """What the layers are made of.

    Attributes:
        conv: with zeros on both sides alike, or ``SameConv2d``.
        activation: between them.
        eps: of the batch norms.
    """

    conv: type[Conv2d] = Conv2d
    activation: type[Module] = ReLU
    eps: float = 1e-5

    def layers(
        self, in_channels: int, out_channels: int, k: int, stride: int = 1, groups: int = 1
    ) -> tuple[Conv2d, BatchNorm2d, Module]:
        """A convolution that keeps the size (up to its stride), batch norm, the activation."""
        conv = self.conv(in_channels, out_channels, k, stride, k // 2, groups=groups, bias=False)
        return conv, BatchNorm2d(out_channels, self.eps), self.activation()


PLAIN = Style()


class MnasNet(Network):
    """
    Args:
        num_classes: 0 leaves ``classifier`` away, None the last convolution too: a backbone.
        stages: as in ``STAGES``.
        style: of its layers.
        stem: channels of the first convolution.
        last: channels of the last convolution.
        dropout: probability, before the classes.

    Attributes:
        maps: "c2" .. "c5", the last of their strides, and "last" after the last convolution.
    """

    classifier_names = ("classifier",)
    names = "timm"
    weights = WEIGHTS

    def __init__(
        self,
        num_classes: int | None = 1000,
        stages: Sequence[tuple] = STAGES,
        style: Style = PLAIN,
        stem: int = 32,
        last: int = 1280,
        dropout: float = 0.2,
    ):
        super().__init__()
        self.num_classes, self.maps, self.taps = num_classes, {}, {}
        channels, reduction, groups = stem, 2, []
        self.conv_stem, self.bn1, self.act1 = style.layers(3, channels, 3, 2)
        for number, (k, first_stride, t, out, count, squeeze, name) in enumerate(stages):
            reduction, group = reduction * first_stride, []
            for index in range(count):
                stride = first_stride if index == 0 else 1
                group.append(InvertedResidual(channels, out, t, k, stride, squeeze, style))
                channels = out
            groups.append(Sequential(*group))
            if name is not None:
                self.taps[number], self.maps[name] = name, Map(channels, reduction)
        self.blocks = Sequential(*groups)
        self.conv_head = None
        if num_classes is not None:
            self.conv_head, self.bn2, self.act2 = style.layers(channels, last, 1)
            self.maps["last"] = Map(last, reduction)
        self.dropout = Dropout(dropout)
        self.classifier = Linear(last, num_classes) if num_classes else None
        initialise(self, linear_std=0.01)

    def stages(self) -> dict[str, Module]:
        stages, layers = {}, [self.conv_stem, self.bn1, self.act1]
        for number, group in enumerate(self.blocks):
            layers.append(group)
            if number in self.taps:
                stages[self.taps[number]], layers = Sequential(*layers), []
        if self.conv_head is not None:
            stages["last"] = Sequential(*layers, self.conv_head, self.bn2, self.act2)
        return stages

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return maps_of(self.stages(), images)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(self.dropout(maps["last"].mean((2, 3))))

    def parts(self) -> list[Module]:
        parts = [Sequential(self.conv_stem, self.bn1), *self.blocks]
        return parts if self.conv_head is None else [*parts, Sequential(self.conv_head, self.bn2)]


class InvertedResidual(Sequential):
    """One block; the drawing is at the top of this file."""

    def __init__(
        self, in_channels: int, out_channels: int, t: int, k: int, stride: int, squeeze: bool,
        style: Style,
    ):  # fmt: skip
        hidden, layers = in_channels * t, {}
        if t != 1:
            layers |= zip(
                ("conv_pw", "bn1", "act1"), style.layers(in_channels, hidden, 1), strict=True
            )
        depthwise = style.layers(hidden, hidden, k, stride, groups=hidden)
        number = 1 if t == 1 else 2
        layers |= zip(("conv_dw", f"bn{number}", f"act{number}"), depthwise, strict=True)
        if squeeze:
            layers["se"] = SqueezeExcitation(
                hidden, in_channels // 4, names=("conv_reduce", "conv_expand")
            )
        last = style.layers(hidden, out_channels, 1)[:2]
        layers |= zip(("conv_pw" if t == 1 else "conv_pwl", f"bn{number + 1}"), last, strict=True)
        super().__init__(layers)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        return input + output if self.is_residual else output


mnasnet_a1 = MnasNet
