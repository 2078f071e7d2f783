"""DenseNet: every layer sees the outputs of all layers before it in its block.

So a layer need add only few channels, k (the growth rate); its input is normalised as a whole
before it is used (batch norm and ReLU stand before the convolutions)::

    layer: x                                      transition: C channels
     |  BN, ReLU, 1x1 conv 4 k                     BN, ReLU, 1x1 conv C / 2
     |  BN, ReLU, 3x3 conv k                       2x2 mean /2
    concatenate behind x

    map   stride                                     layers of   121  161  169  201  264
    -     4       7x7 conv 2 k /2, BN, ReLU, 3x3 max pooling /2
    c2    4       denseblock1                                      6    6    6    6    6
    c3    8       transition1, denseblock2                        12   12   12   12   12
    c4    16      transition2, denseblock3                        24   36   32   48   64
    c5    32      transition3, denseblock4, BN, ReLU              16   24   32   32   48
    scores        mean, classifier

Paper: Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks", CVPR
2017, equation 2 and table 1. k is 32, for 161 it is 48. The layers and their order are those of
torchvision's model.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from nn import functional as F
from nn import init
from nn.layers import AvgPool2d, BatchNorm2d, Conv2d, Linear, MaxPool2d, ReLU
from nn.models.network import Dialect, Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

LAYERS = {
    121: (6, 12, 24, 16),
    161: (6, 12, 36, 24),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}

# torchvision's, trained on ImageNet.
URL = "https://download.pytorch.org/models/"
WEIGHTS = {
    121: {"imagenet": URL + "densenet121-a639ec97.pth"},
    161: {"imagenet": URL + "densenet161-8d451a50.pth"},
    169: {"imagenet": URL + "densenet169-b2777c0a.pth"},
    201: {"imagenet": URL + "densenet201-c1103571.pth"},
}


class Of2017(Dialect):
    """Torchvision's files are older than its model: what is norm1 now was norm.1 then."""

    name = "torchvision's of 2017"
    parts = ("norm.1", "conv.1", "norm.2", "conv.2")

    def knows(self, name: str) -> bool:
        return name.startswith("features.denseblock") and any(
            f".{part}." in name for part in self.parts
        )

    def translate(self, path, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        def new(name: str) -> str:
            for part in self.parts if self.knows(name) else ():
                name = name.replace(f".{part}.", f".{part.replace('.', '')}.")
            return name

        return {new(name): array for name, array in tensors.items()}


class DenseNet(Network):
    """
    Args:
        layers: 121, 161, 169, 201 or 264 with weights; or how many each block has.
        num_classes: 0 or None leaves ``classifier`` away.
        growth_rate: k, what a layer adds.

    Attributes:
        maps: "c2" .. "c5" after the four blocks.
    """

    classifier_names = ("classifier",)
    dialects = (Of2017(),)

    def __init__(
        self,
        layers: int | tuple[int, ...],
        num_classes: int | None = 1000,
        growth_rate: int = 32,
    ):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        if isinstance(layers, int):
            self.weights = WEIGHTS.get(layers, {})
            layers = LAYERS[layers]
        k, channels = growth_rate, 2 * growth_rate
        features = {
            "conv0": Conv2d(3, channels, 7, stride=2, padding=3, bias=False),
            "norm0": BatchNorm2d(channels),
            "relu0": ReLU(),
            "pool0": MaxPool2d(3, stride=2, padding=1),
        }
        taps = {}
        for number, count in enumerate(layers, 1):
            features[f"denseblock{number}"] = Sequential(
                {f"denselayer{i + 1}": DenseLayer(channels + i * k, k) for i in range(count)}
            )
            channels += count * k
            taps[f"c{number + 1}"] = f"denseblock{number}"
            self.maps[f"c{number + 1}"] = Map(channels, 2 ** (number + 1))
            if number < len(layers):
                features[f"transition{number}"] = transition(channels)
                channels //= 2
        features |= {"norm5": BatchNorm2d(channels), "relu5": ReLU()}
        self.features = Trunk(features, taps | {f"c{len(layers) + 1}": "relu5"})
        self.classifier = Linear(channels, num_classes) if num_classes else None
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_normal_(module.weight)
        if num_classes:
            init.zeros_(self.classifier.bias)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(maps[list(self.maps)[-1]].mean((2, 3)))

    def parts(self) -> list[Module]:
        """The stem; each block with the transition before it, the last with the norm behind it."""
        layers, parts = dict(self.features.named_children()), [[]]
        for name, layer in layers.items():
            if name.startswith("transition") or name == "denseblock1":
                parts.append([])
            parts[-1].append(layer)
        return [Sequential(*part) for part in parts]


class DenseLayer(Module):
    """C -> C + k channels."""

    def __init__(self, channels: int, k: int):
        super().__init__()
        self.norm1, self.conv1 = BatchNorm2d(channels), Conv2d(channels, 4 * k, 1, bias=False)
        self.norm2, self.conv2 = BatchNorm2d(4 * k), Conv2d(4 * k, k, 3, padding=1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        middle = self.conv1(self.norm1(input, relu=True))
        return F.cat((input, self.conv2(self.norm2(middle, relu=True))), dim=1)


def transition(channels: int) -> Sequential:
    """Half of the channels, half the height and width."""
    return Sequential(
        {
            "norm": BatchNorm2d(channels),
            "relu": ReLU(),
            "conv": Conv2d(channels, channels // 2, 1, bias=False),
            "pool": AvgPool2d(2),
        }
    )


densenet121, densenet169, densenet201, densenet264 = (
    partial(DenseNet, layers) for layers in (121, 169, 201, 264)
)
densenet161 = partial(DenseNet, 161, growth_rate=48)
