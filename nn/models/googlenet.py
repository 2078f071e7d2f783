"""GoogLeNet, the first Inception: each block looks with windows of several sizes at once.

::

    inception: in
     |  1x1 conv                     |
     |  1x1 conv, 3x3 conv           |  concatenated
     |  1x1 conv, 5x5 conv           |
     |  3x3 max pooling, 1x1 conv    |

    map   conv1: 7x7 conv 64 /2
    c2    3x3 max pooling /2, conv2: 1x1 conv 64, conv3: 3x3 conv 192
    c3    3x3 max pooling /2, inception3a, 3b
    c4    3x3 max pooling /2, inception4a .. 4e
    c5    max pooling /2, inception5a, 5b
    scores: mean, dropout, fc

In training two auxiliary classifiers look at the outputs of 4a and 4d; their losses count 0.3 each,
so that the gradient does not get lost on the way to the first layers.

Paper: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, table 1, figure 3 and section 5.
Torchvision's model, ``googlenet``, came from TensorFlow's: a batch norm in place of each bias, and
3x3 where the paper has 5x5 (1,498,376,192 multiply-adds, 6,624,904 parameters without the auxiliary
classifiers; the lectures' tables say 1448 and 1550 M, 6.6 and 6.8 M). ``googlenet_paper`` is the
paper's, with local response norm as in the Caffe file of its time: 1,582,671,872 and 6,998,552. The
auxiliary classifiers in torchvision's file of weights were never trained.
"""

from __future__ import annotations

from functools import partial

from nn import functional as F
from nn import init
from nn.layers import AdaptiveAvgPool2d, Conv2d, Dropout, Linear, LocalResponseNorm, MaxPool2d, ReLU
from nn.models.blocks import Branches, ConvBN
from nn.models.network import HALVES, Map, Network
from nn.models.trunk import maps_of, stages_of
from nn.module import Module, Sequential
from nn.tensor import Tensor

# Channels of the 1x1; of the 1x1 before the 3x3, the 3x3; the same for the 5x5; after the pooling.
INCEPTION = {
    "inception3a": (64, 96, 128, 16, 32, 32),
    "inception3b": (128, 128, 192, 32, 96, 64),
    "inception4a": (192, 96, 208, 16, 48, 64),
    "inception4b": (160, 112, 224, 24, 64, 64),
    "inception4c": (128, 128, 256, 24, 64, 64),
    "inception4d": (112, 144, 288, 32, 64, 64),
    "inception4e": (256, 160, 320, 32, 128, 128),
    "inception5a": (256, 160, 320, 32, 128, 128),
    "inception5b": (384, 192, 384, 48, 128, 128),
}
TAPS = {"c2": "conv3", "c3": "inception3b", "c4": "inception4e", "c5": "inception5b"}
AUXILIARY = {"aux1": "inception4a", "aux2": "inception4d"}

# torchvision's, trained on ImageNet by TensorFlow, which wants pixels in -1..1.
WEIGHTS = {"imagenet": "https://download.pytorch.org/models/googlenet-1378be20.pth"}


def conv_relu(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1):
    """The paper's: with a bias and without batch norm."""
    padding = kernel_size // 2
    return Sequential(
        {"conv": Conv2d(in_channels, out_channels, kernel_size, stride, padding), "relu": ReLU()}
    )


class GoogLeNet(Network):
    """
    Args:
        num_classes: 0 or None leaves ``fc`` and the auxiliary classifiers away.
        auxiliary: whether there are the two auxiliary classifiers.
        is_paper: the paper's layers in place of torchvision's.
        dropout: probability, before fc.

    Attributes:
        maps: "c2" after conv3, "c3", "c4" and "c5" after 3b, 4e and 5b.
    """

    classifier_names = ("fc", "aux1.fc2", "aux2.fc2")
    auxiliary_weight = 0.3

    def __init__(
        self,
        num_classes: int | None = 1000,
        auxiliary: bool = False,
        is_paper: bool = False,
        dropout: float = 0.2,
    ):
        super().__init__()
        self.num_classes = num_classes
        if not is_paper:
            self.weights, self.preprocessing = WEIGHTS, HALVES
        conv = conv_relu if is_paper else partial(ConvBN, eps=1e-3)
        self.conv1 = conv(3, 64, 7, 2)
        self.maxpool1 = MaxPool2d(3, 2, ceil_mode=True)
        if is_paper:
            self.norm1 = LocalResponseNorm(5)
        self.conv2 = conv(64, 64, 1)
        self.conv3 = conv(64, 192, 3)
        if is_paper:
            self.norm2 = LocalResponseNorm(5)
        channels = 192
        outputs = {"conv3": channels}
        for name, widths in INCEPTION.items():
            if name == "inception3a":
                self.maxpool2 = MaxPool2d(3, 2, ceil_mode=True)
            elif name == "inception4a":
                self.maxpool3 = MaxPool2d(3, 2, ceil_mode=True)
            elif name == "inception5a":
                self.maxpool4 = MaxPool2d(3 if is_paper else 2, 2, ceil_mode=True)
            setattr(self, name, inception(conv, channels, *widths, window=5 if is_paper else 3))
            channels = outputs[name] = widths[0] + widths[2] + widths[4] + widths[5]
        self.maps = {
            key: Map(outputs[layer], 2 ** int(key.removeprefix("c"))) for key, layer in TAPS.items()
        }
        self.auxiliary = tuple(AUXILIARY) if num_classes and auxiliary else ()
        for name in self.auxiliary:
            setattr(self, name, Auxiliary(conv, outputs[AUXILIARY[name]], num_classes))
        self.dropout = Dropout(dropout)
        self.fc = Linear(channels, num_classes) if num_classes else None
        for module in self.modules():
            if isinstance(module, Conv2d | Linear):
                init.trunc_normal_(module.weight, 0.0, 0.01)

    def layers(self) -> dict[str, Module]:
        """Those of the trunk, in order."""
        others = {"dropout", "fc", *AUXILIARY}
        return {name: layer for name, layer in self.named_children() if name not in others}

    def stages(self) -> dict[str, Module]:
        return stages_of(self.layers(), TAPS)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return maps_of(self.stages(), images)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.fc(self.dropout(maps["c5"].mean((2, 3))))

    def weighted_scores(self, images: Tensor) -> list[tuple[float, Tensor]]:
        order = list(self.layers())
        taps = TAPS | {name: AUXILIARY[name] for name in self.auxiliary}
        taps = dict(sorted(taps.items(), key=lambda tap: order.index(tap[1])))
        maps = maps_of(stages_of(self.layers(), taps), images)
        found = [
            (self.auxiliary_weight, getattr(self, name)(maps[name])) for name in self.auxiliary
        ]
        return [(1.0, self.classify(maps)), *found]

    def parts(self) -> list[Module]:
        return [layer for layer in self.layers().values() if any(layer.parameters())]


def inception(
    conv, in_channels: int, c1: int, c3_reduced: int, c3: int, c5_reduced: int, c5: int, pool: int,
    window: int,
) -> Branches:  # fmt: skip
    """One block; the drawing is at the top of this file, the last window is ``window``."""
    return Branches(
        {
            "branch1": conv(in_channels, c1, 1),
            "branch2": Sequential(conv(in_channels, c3_reduced, 1), conv(c3_reduced, c3, 3)),
            "branch3": Sequential(conv(in_channels, c5_reduced, 1), conv(c5_reduced, c5, window)),
            "branch4": Sequential(MaxPool2d(3, 1, padding=1), conv(in_channels, pool, 1)),
        }
    )


class Auxiliary(Module):
    """A classifier half-way: means of 4x4 parts, 1x1 conv 128, fc 1024, ReLU, dropout, fc."""

    def __init__(self, conv, in_channels: int, num_classes: int):
        super().__init__()
        self.conv = conv(in_channels, 128, 1)
        self.fc1, self.fc2 = Linear(2048, 1024), Linear(1024, num_classes)
        self.avgpool, self.dropout = AdaptiveAvgPool2d(4), Dropout(0.7)

    def forward(self, input: Tensor) -> Tensor:
        hidden = F.relu(self.fc1(self.conv(self.avgpool(input)).flatten(1)))
        return self.fc2(self.dropout(hidden))


googlenet = GoogLeNet
googlenet_paper = partial(GoogLeNet, is_paper=True, dropout=0.4)
