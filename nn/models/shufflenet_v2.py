"""ShuffleNet v2, the network that the detector stands on (thesis section 3.1.2).

A block of stride 1 works on half of the channels and passes the other half on untouched; then the
two halves are shuffled together, so that the next block splits them differently. A block of stride
2 works on all channels in both branches, halves height and width and so doubles the channels::

    stride 1                                stride 2
    split in halves                         both branches take all channels
    left         right                      left              right
     |           1x1 conv, BN, ReLU         3x3 depthwise /2   1x1 conv, BN, ReLU
     |           3x3 depthwise, BN          BN                 3x3 depthwise /2, BN
     |           1x1 conv, BN, ReLU         1x1 conv, BN, ReLU 1x1 conv, BN, ReLU
    concatenate, shuffle (2 groups)         concatenate, shuffle (2 groups)

Paper: Ma, Zhang, Zheng, Sun, "ShuffleNet V2", ECCV 2018, figure 3 (c) and (d), table 5. The layers
and their order are those of torchvision's model, so its ``state_dict`` keys fit one to one.
"""

from __future__ import annotations

from functools import partial

from nn import functional as F
from nn.layers import BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU
from nn.models.blocks import SqueezeExcitation
from nn.models.network import Map, Network
from nn.models.shufflenet_v2_megvii import Megvii
from nn.models.trunk import maps_of
from nn.module import Module, Sequential
from nn.tensor import Tensor

# Channels of the stem, stages 2, 3, 4 and conv5, by width.
CHANNELS = {
    0.5: (24, 48, 96, 192, 1024),
    1.0: (24, 116, 232, 464, 1024),
    1.5: (24, 176, 352, 704, 1024),
    2.0: (24, 244, 488, 976, 2048),
}
BLOCKS = {"stage2": 4, "stage3": 8, "stage4": 4}

# torchvision's, trained on ImageNet.
WEIGHTS = {
    0.5: "https://download.pytorch.org/models/shufflenetv2_x0.5-f707e7126e.pth",
    1.0: "https://download.pytorch.org/models/shufflenetv2_x1-5666bf0f80.pth",
    1.5: "https://download.pytorch.org/models/shufflenetv2_x1_5-3c479a10.pth",
    2.0: "https://download.pytorch.org/models/shufflenetv2_x2_0-8be3c8ee.pth",
}


def shufflenet_v2(
    width: float = 1.0,
    num_classes: int | None = 1000,
    first_block: str = "torchvision",
    extra_depthwise: bool = False,
    squeeze: bool = False,
) -> ShuffleNetV2:
    """A ShuffleNet v2 with new weights; see ``ShuffleNetV2`` for the arguments."""
    return ShuffleNetV2(width, num_classes, first_block, extra_depthwise, squeeze)


shufflenet_v2_x0_5 = partial(shufflenet_v2, 0.5)
shufflenet_v2_x1_0 = partial(shufflenet_v2, 1.0)
shufflenet_v2_x1_5 = partial(shufflenet_v2, 1.5)
shufflenet_v2_x2_0 = partial(shufflenet_v2, 2.0)
shufflenet_v2_star_x0_5 = partial(shufflenet_v2, 0.5, extra_depthwise=True)
shufflenet_v2_star_x1_0 = partial(shufflenet_v2, 1.0, extra_depthwise=True)
shufflenet_v2_star_x1_5 = partial(shufflenet_v2, 1.5, extra_depthwise=True)
shufflenet_v2_star_x2_0 = partial(shufflenet_v2, 2.0, extra_depthwise=True)
se_shufflenet_v2_x2_0 = partial(shufflenet_v2, 2.0, first_block="paper", squeeze=True)


class ShuffleNetV2(Network):
    """
    Args:
        width: 0.5, 1.0, 1.5 or 2.0; scales the channels.
        num_classes: 0 leaves fc away, None conv5 too: a backbone.
        first_block: how many channels the left branch of stage 2's first block makes.
            "torchvision": half of them, as in all other blocks; published weights fit.
            "paper": as many as it gets (24), the right branch makes the rest, and fc has no bias;
            this is what the thesis's table 3.2 counts.
        extra_depthwise: the ShuffleNet v2* of the paper's section 4: one more 3x3 depthwise
            convolution, with batch norm, before the first 1x1 convolution of each block, for a
            larger receptive field. It is called ``extra``; the other layers keep their names.
        squeeze: squeeze and excitation, ``se``, at the end of each block, to half of its channels.
            Nobody says where it stands; here the paper's 2x has 596.7 of the lecture's 597 million
            multiply-adds, and on the right branch alone no reduction fits.

    Attributes:
        stage_channels: channels of the stem, stages 2, 3, 4 and conv5.
        maps: "c2" after the stem, "c3", "c4" and "c5" after stages 2, 3 and 4, "last" after conv5.

    Raises:
        ValueError: for another width or first block.
    """

    dialects = (Megvii(),)

    def __init__(
        self,
        width: float = 1.0,
        num_classes: int | None = 1000,
        first_block: str = "torchvision",
        extra_depthwise: bool = False,
        squeeze: bool = False,
    ):
        super().__init__()
        if width not in CHANNELS:
            raise ValueError(f"shufflenet_v2: width {width}, expected one of {list(CHANNELS)}")
        if first_block not in ("torchvision", "paper"):
            raise ValueError(
                f"shufflenet_v2: first_block {first_block!r}, expected 'torchvision' or 'paper'"
            )
        self.stage_channels, self.num_classes = CHANNELS[width], num_classes
        self.maps = {f"c{k}": Map(self.stage_channels[k - 2], 2**k) for k in (2, 3, 4, 5)}
        if not (extra_depthwise or squeeze) and first_block == "torchvision":
            self.weights = {"imagenet": WEIGHTS[width]}

        channels = self.stage_channels[0]
        self.conv1 = conv_bn_relu(3, channels, kernel_size=3, stride=2)
        self.maxpool = MaxPool2d(kernel_size=3, stride=2, padding=1)
        for name, out in zip(BLOCKS, self.stage_channels[1:4], strict=True):
            left = channels if name == "stage2" and first_block == "paper" else out // 2
            blocks = [InvertedResidual(channels, out, 2, left, extra_depthwise, squeeze)]
            while len(blocks) < BLOCKS[name]:
                blocks.append(InvertedResidual(out, out, 1, out // 2, extra_depthwise, squeeze))
            setattr(self, name, Sequential(*blocks))
            channels = out
        self.conv5 = self.fc = None
        if num_classes is not None:
            channels = self.stage_channels[4]
            self.conv5 = conv_bn_relu(self.stage_channels[3], channels, kernel_size=1)
            self.maps["last"] = Map(channels, 32)
        if num_classes:
            self.fc = Linear(channels, num_classes, bias=first_block == "torchvision")

    def stages(self) -> dict[str, Module]:
        first = Sequential(self.conv1, self.maxpool)
        stages = {"c2": first, "c3": self.stage2, "c4": self.stage3, "c5": self.stage4}
        return stages if self.conv5 is None else {**stages, "last": self.conv5}

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return maps_of(self.stages(), images)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.fc(maps["last"].mean((2, 3)))

    def parts(self) -> list[Module]:
        parts = [self.conv1, self.stage2, self.stage3, self.stage4]
        return parts if self.conv5 is None else [*parts, self.conv5]


class InvertedResidual(Module):
    """One block; the drawing is at the top of this file.

    Args:
        left: how many of ``out_channels`` come out of the left branch.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, left: int, extra_depthwise: bool,
        squeeze: bool = False,
    ):  # fmt: skip
        super().__init__()
        assert stride == 2 or (in_channels == out_channels and left == out_channels // 2)
        self.stride = stride
        if stride == 2:
            self.branch1 = Sequential(
                *depthwise_bn(in_channels, stride), *conv_bn_relu(in_channels, left)
            )
        else:
            self.branch1 = Sequential()
            in_channels -= left
        self.extra = Sequential(*depthwise_bn(in_channels)) if extra_depthwise else None
        middle = out_channels // 2
        self.branch2 = Sequential(
            *conv_bn_relu(in_channels, middle),
            *depthwise_bn(middle, stride),
            *conv_bn_relu(middle, out_channels - left),
        )
        self.se = SqueezeExcitation(out_channels, out_channels // 2) if squeeze else None

    def forward(self, input: Tensor) -> Tensor:
        if self.stride == 2:
            left, right = self.branch1(input), input
        else:
            half = input.shape[1] // 2
            left, right = input[:, :half], input[:, half:]
        if self.extra is not None:
            right = self.extra(right)
        right = self.branch2(right)
        if left.shape == right.shape:
            output = F.interleave(left, right)
        else:
            output = F.channel_shuffle(F.cat((left, right), dim=1), groups=2)
        return output if self.se is None else self.se(output)


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1):
    """A convolution that keeps the size (up to its stride), batch norm, ReLU."""
    return Sequential(
        Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
        BatchNorm2d(out_channels),
        ReLU(),
    )


def depthwise_bn(channels: int, stride: int = 1):
    """A 3x3 convolution of each channel alone, batch norm, and no ReLU."""
    return Sequential(
        Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
        BatchNorm2d(channels),
    )
