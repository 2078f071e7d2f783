"""VGG: nothing but 3x3 convolutions, and a pooling where the channels double.

Two 3x3 convolutions see what one of 5x5 does, three what one of 7x7 does, with fewer weights and a
ReLU between. Each row is as many 3x3 convolutions with a ReLU as stand there, then 2x2 max
pooling::

    map   channels   11  13  16  19
    -       64        1   2   2   2
    c2     128        1   2   2   2
    c3     256        2   2   3   4
    c4     512        2   2   3   4
    c5     512        2   2   3   4
    scores            mean over 7x7 parts, fc 4096, dropout, fc 4096, dropout, fc

Paper: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
ICLR 2015, table 1 (columns A, B, D and E). The members called ``_bn`` have a batch norm before each
ReLU; the paper is older than batch norm. There too the convolutions keep their biases, which it
makes superfluous. The layers and their order are those of torchvision's model. The first fully
connected layer has 102,764,544 of VGG-16's 138,357,544 parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from nn.layers import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Linear, MaxPool2d, ReLU
from nn.models.blocks import initialise
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}

# torchvision's, trained on ImageNet, by layers and whether there is batch norm.
URL = "https://download.pytorch.org/models/"
WEIGHTS = {
    (11, False): {"imagenet": URL + "vgg11-8a719046.pth"},
    (11, True): {"imagenet": URL + "vgg11_bn-6002323d.pth"},
    (13, False): {"imagenet": URL + "vgg13-19584684.pth"},
    (13, True): {"imagenet": URL + "vgg13_bn-abd245e5.pth"},
    (16, False): {"imagenet": URL + "vgg16-397923af.pth"},
    (16, True): {"imagenet": URL + "vgg16_bn-6c64b313.pth"},
    (19, False): {"imagenet": URL + "vgg19-dcbb9e9d.pth"},
    (19, True): {"imagenet": URL + "vgg19_bn-c79401a0.pth"},
}


class VGG(Network):
    """
    Args:
        layers: 11, 13, 16 or 19 with weights.
        num_classes: 0 or None leaves ``classifier`` away.
        batch_norm: whether there is any.
        dropout: probability, after each of the two hidden layers of the classifier.
        channels: of the five groups of convolutions.
        hidden: how many outputs the two hidden layers have.

    Attributes:
        maps: "c2" .. "c5" after the second to the fifth pooling.
    """

    classifier_names = ("classifier.6",)

    def __init__(
        self,
        layers: int,
        num_classes: int | None = 1000,
        batch_norm: bool = False,
        dropout: float = 0.5,
        channels: Sequence[int] = CHANNELS,
        hidden: int = 4096,
    ):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        self.weights = WEIGHTS.get((layers, batch_norm), {})
        features, taps, before = [], {}, 3
        for number, (C, count) in enumerate(zip(channels, CONVOLUTIONS[layers], strict=True), 1):
            for _ in range(count):
                norm = [BatchNorm2d(C)] if batch_norm else []
                features += [Conv2d(before, C, 3, padding=1), *norm, ReLU()]
                before = C
            features.append(MaxPool2d(2))
            if number > 1:
                taps[f"c{number}"] = len(features) - 1
                self.maps[f"c{number}"] = Map(C, 2**number)
        self.features = Trunk(features, taps)
        self.avgpool, self.classifier = AdaptiveAvgPool2d(7), None
        if num_classes:
            self.classifier = Sequential(
                Linear(before * 7 * 7, hidden), ReLU(), Dropout(dropout),
                Linear(hidden, hidden), ReLU(), Dropout(dropout),
                Linear(hidden, num_classes),
            )  # fmt: skip
        initialise(self, linear_std=0.01)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(self.avgpool(maps["c5"]).flatten(1))

    def parts(self) -> list[Module]:
        """A convolution, with its batch norm, is a part."""
        parts = []
        for layer in self.features:
            if isinstance(layer, Conv2d):
                parts.append([layer])
            elif isinstance(layer, BatchNorm2d):
                parts[-1].append(layer)
        return [Sequential(*part) for part in parts]


vgg11, vgg13, vgg16, vgg19 = (partial(VGG, layers) for layers in CONVOLUTIONS)
vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn = (
    partial(VGG, layers, batch_norm=True) for layers in CONVOLUTIONS
)
