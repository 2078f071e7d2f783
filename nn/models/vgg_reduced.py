"""VGG-16 as SSD's backbone: two of its fully connected layers are convolutions, and smaller.

Of the 102 million weights of the first of them every fourth row and column and every fourth output
is left, so its 7x7 window becomes 3x3 with holes in between. The last pooling keeps the map's size,
and the holes (6 cells apart) make up for it::

    map   layers
    c3    10 of VGG-16's convolutions, to before the fourth pooling
    c4    the other 3, 3x3 max pooling of stride 1, 3x3 conv 1024 of dilation 6, 1x1 conv 1024
    scores  1x1 conv to the classes, mean

Papers: Chen et al., "Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected
CRFs", ICLR 2015, section 3.1; Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016, section
3.1. Poolings round sizes up. The convolutions that are VGG-16's have its names and load its files.
"""

from __future__ import annotations

from nn.layers import Conv2d, MaxPool2d, ReLU
from nn.models.blocks import initialise
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.models.vgg import CHANNELS, CONVOLUTIONS, WEIGHTS
from nn.module import Module
from nn.tensor import Tensor


class VGGReduced(Network):
    """
    Args:
        num_classes: 0 or None leaves ``classifier`` away.
        channels: of the five groups of convolutions.
        hidden: how many outputs the two layers have that were fully connected.

    Attributes:
        maps: "c3" and "c4".
    """

    classifier_names = ("classifier",)
    weights = WEIGHTS[16, False]

    def __init__(self, num_classes: int | None = 1000, channels=CHANNELS, hidden: int = 1024):
        super().__init__()
        self.num_classes = num_classes
        self.maps = {"c3": Map(channels[3], 8), "c4": Map(hidden, 16)}
        layers, before, taps = [], 3, {}
        for C, count in zip(channels, CONVOLUTIONS[16], strict=True):
            for _ in range(count):
                layers += [Conv2d(before, C, 3, padding=1), ReLU()]
                before = C
            if len(layers) == 23:  # the tenth convolution's
                taps["c3"] = 22
            layers.append(MaxPool2d(2, ceil_mode=True))
        layers[-1] = MaxPool2d(3, 1, 1)
        layers += [Conv2d(before, hidden, 3, padding=6, dilation=6), ReLU()]
        layers += [Conv2d(hidden, hidden, 1), ReLU()]
        taps["c4"] = len(layers) - 1
        self.features = Trunk(layers, taps)
        self.classifier = Conv2d(hidden, num_classes, 1) if num_classes else None
        initialise(self)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(maps["c4"]).mean((2, 3))

    def parts(self) -> list[Module]:
        return [layer for layer in self.features if isinstance(layer, Conv2d)]


vgg16_reduced = VGGReduced
