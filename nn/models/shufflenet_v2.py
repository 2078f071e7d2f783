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

from typing import NamedTuple

from nn import functional as F
from nn.layers import BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU
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
STRIDES = {"stage2": 8, "stage3": 16, "stage4": 32}


class Preprocessing(NamedTuple):
    """How a network wants its images: RGB in 0..1, minus ``mean``, divided by ``std``."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def shufflenet_v2(
    width: float = 1.0,
    num_classes: int | None = 1000,
    first_block: str = "torchvision",
    extra_depthwise: bool = False,
) -> ShuffleNetV2:
    """A ShuffleNet v2 with new weights; see ``ShuffleNetV2`` for the arguments."""
    return ShuffleNetV2(width, num_classes, first_block, extra_depthwise)


class ShuffleNetV2(Module):
    """
    Args:
        width: 0.5, 1.0, 1.5 or 2.0; scales the channels.
        num_classes: None leaves conv5 and fc away: a backbone.
        first_block: how many channels the left branch of stage 2's first block makes.
            "torchvision": half of them, as in all other blocks; published weights fit.
            "paper": as many as it gets (24), the right branch makes the rest, and fc has no bias;
            this is what the thesis's table 3.2 counts.
        extra_depthwise: the ShuffleNet v2* of the paper's section 4: one more 3x3 depthwise
            convolution, with batch norm, before the first 1x1 convolution of each block, for a
            larger receptive field. It is called ``extra``; the other layers keep their names.

    Attributes:
        stage_channels: channels of the stem, stages 2, 3, 4 and conv5.
        out_channels, strides: of each map of ``features``, by name.
        preprocessing: what the weights expect; ``load_weights`` sets it.

    Raises:
        ValueError: for another width or first block.
    """

    def __init__(
        self,
        width: float = 1.0,
        num_classes: int | None = 1000,
        first_block: str = "torchvision",
        extra_depthwise: bool = False,
    ):
        super().__init__()
        if width not in CHANNELS:
            raise ValueError(f"shufflenet_v2: width {width}, expected one of {list(CHANNELS)}")
        if first_block not in ("torchvision", "paper"):
            raise ValueError(
                f"shufflenet_v2: first_block {first_block!r}, expected 'torchvision' or 'paper'"
            )
        self.stage_channels = CHANNELS[width]
        self.out_channels = dict(zip(BLOCKS, self.stage_channels[1:4], strict=True))
        self.strides = dict(STRIDES)
        self.preprocessing = IMAGENET

        channels = self.stage_channels[0]
        self.conv1 = conv_bn_relu(3, channels, kernel_size=3, stride=2)
        self.maxpool = MaxPool2d(kernel_size=3, stride=2, padding=1)
        for name, out in self.out_channels.items():
            left = channels if name == "stage2" and first_block == "paper" else out // 2
            blocks = [InvertedResidual(channels, out, 2, left, extra_depthwise)]
            while len(blocks) < BLOCKS[name]:
                blocks.append(InvertedResidual(out, out, 1, out // 2, extra_depthwise))
            setattr(self, name, Sequential(*blocks))
            channels = out
        if num_classes is None:
            self.conv5 = self.fc = None
        else:
            self.conv5 = conv_bn_relu(channels, self.stage_channels[4], kernel_size=1)
            self.fc = Linear(self.stage_channels[4], num_classes, bias=first_block == "torchvision")

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """Preprocessed images (N, 3, H, W) -> scores before softmax (N, num_classes).

        Without a classifier: the same as ``features``.
        """
        features = self.features(images)
        if self.fc is None:
            return features
        return self.fc(self.conv5(features["stage4"]).mean((2, 3)))

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Preprocessed images (N, 3, H, W) -> the map after each stage, by name.

        "stage2" (N, C, H / 8, W / 8), "stage3" at 1 / 16 and "stage4" at 1 / 32, rounded up.
        """
        stage2 = self.stage2(self.maxpool(self.conv1(images)))
        stage3 = self.stage3(stage2)
        return {"stage2": stage2, "stage3": stage3, "stage4": self.stage4(stage3)}


class InvertedResidual(Module):
    """One block; the drawing is at the top of this file.

    Args:
        left: how many of ``out_channels`` come out of the left branch.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, left: int, extra_depthwise: bool
    ):
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
            return F.interleave(left, right)
        return F.channel_shuffle(F.cat((left, right), dim=1), groups=2)


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
