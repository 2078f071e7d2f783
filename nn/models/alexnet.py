"""AlexNet: five convolutions and three fully connected layers, the network that won in 2012.

::

    torchvision's (one tower)            the paper's (two GPUs, 227 x 227)
    11x11 conv 64 /4, padding 2          11x11 conv 96 /4, response norm
    3x3 max pooling /2                   3x3 max pooling /2
    5x5 conv 192                c3       5x5 conv 256, 2 groups, response norm
    3x3 max pooling /2                   3x3 max pooling /2
    3x3 conv 384                         3x3 conv 384
    3x3 conv 256                         3x3 conv 384, 2 groups
    3x3 conv 256                c4       3x3 conv 256, 2 groups
    3x3 max pooling /2          c5       3x3 max pooling /2
    scores: mean over 6x6 parts, dropout, fc 4096, dropout, fc 4096, fc

A ReLU follows each convolution and each layer of 4096. Paper: Krizhevsky, Sutskever, Hinton,
"ImageNet Classification with Deep Convolutional Neural Networks", NIPS 2012, section 3.5. Its two
GPUs are two groups: half of the channels each, which saw all of the other's only in the third
convolution. It has 60,965,224 parameters and 724,406,816 multiply-adds; the lectures' table says 60
M and 720 M. Torchvision's is the one-tower network of Krizhevsky's "One weird trick", 2014, without
response norm: 61,100,840 and 714,188,480. Its layers and their order are kept, also for the
paper's.

The formula of the paper's section 3.3 does not divide alpha = 1e-4 by the n = 5 channels that it
sums over. Caffe's and PyTorch's layers do, and so does this one.
"""

from __future__ import annotations

from nn.layers import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
)  # fmt: skip
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

# torchvision's, trained on ImageNet.
WEIGHTS = {"imagenet": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"}


def alexnet(num_classes: int | None = 1000, dropout: float = 0.5, hidden: int = 4096) -> AlexNet:
    """Torchvision's AlexNet with new weights."""
    layers = [
        Conv2d(3, 64, 11, stride=4, padding=2), ReLU(), MaxPool2d(3, stride=2),
        Conv2d(64, 192, 5, padding=2), ReLU(), MaxPool2d(3, stride=2),
        Conv2d(192, 384, 3, padding=1), ReLU(),
        Conv2d(384, 256, 3, padding=1), ReLU(),
        Conv2d(256, 256, 3, padding=1), ReLU(), MaxPool2d(3, stride=2),
    ]  # fmt: skip
    model = AlexNet(layers, {"c3": 4, "c4": 11, "c5": 12}, 192, num_classes, dropout, hidden)
    model.weights = WEIGHTS
    return model


def alexnet_paper(
    num_classes: int | None = 1000, dropout: float = 0.5, hidden: int = 4096
) -> AlexNet:
    """The paper's AlexNet, two groups and response norm, with new weights; for 227 x 227."""
    layers = [
        Conv2d(3, 96, 11, stride=4), ReLU(), LocalResponseNorm(5, k=2.0), MaxPool2d(3, stride=2),
        Conv2d(96, 256, 5, padding=2, groups=2), ReLU(), LocalResponseNorm(5, k=2.0),
        MaxPool2d(3, stride=2),
        Conv2d(256, 384, 3, padding=1), ReLU(),
        Conv2d(384, 384, 3, padding=1, groups=2), ReLU(),
        Conv2d(384, 256, 3, padding=1, groups=2), ReLU(), MaxPool2d(3, stride=2),
    ]  # fmt: skip
    model = AlexNet(layers, {"c3": 6, "c4": 13, "c5": 14}, 256, num_classes, dropout, hidden)
    model.side = 227
    return model


class AlexNet(Network):
    """
    Args:
        layers: up to the last pooling.
        taps: of the maps "c3", "c4" and "c5", which have 256 channels but for the first.
        c3: the channels of that one.
        num_classes: 0 or None leaves ``classifier`` away.
        dropout: probability, before each of the two hidden layers.
        hidden: how many outputs those have.
    """

    classifier_names = ("classifier.6",)

    def __init__(
        self, layers: list[Module], taps: dict[str, int], c3: int, num_classes: int | None,
        dropout: float, hidden: int,
    ):  # fmt: skip
        super().__init__()
        self.num_classes = num_classes
        self.maps = {"c3": Map(c3, 8), "c4": Map(256, 16), "c5": Map(256, 32)}
        self.features = Trunk(layers, taps)
        self.avgpool, self.classifier = AdaptiveAvgPool2d(6), None
        if num_classes:
            self.classifier = Sequential(
                Dropout(dropout), Linear(256 * 6 * 6, hidden), ReLU(),
                Dropout(dropout), Linear(hidden, hidden), ReLU(),
                Linear(hidden, num_classes),
            )  # fmt: skip

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(self.avgpool(maps["c5"]).flatten(1))

    def parts(self) -> list[Module]:
        return [layer for layer in self.features if isinstance(layer, Conv2d)]
