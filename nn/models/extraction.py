"""What YOLO v1 is trained from: 20 convolutions, and a classifier to teach them on ImageNet.

Inspired by GoogLeNet, with 1x1 convolutions that narrow the map before each 3x3 one in place of its
modules. Each is followed by the leaky ReLU x or x / 10; M is 2x2 max pooling /2::

    map     channels of the convolutions (1x1 in brackets)
    -       64 (7x7, stride 2) M
    c2      192 M
    c3      [128] 256 [256] 512 M
    c4      [256] 512 four times, [512] 1024 M
    c5      [512] 1024 twice
    scores  mean, fc

Paper: Redmon et al., "You Only Look Once: Unified, Real-Time Object Detection", CVPR 2016, section
2.2 and figure 3, whose first 20 convolutions these are. There is no batch norm in the paper. Its
authors' program calls the classifier "extraction".
"""

from __future__ import annotations

from collections.abc import Sequence

from nn.layers import Conv2d, LeakyReLU, Linear, MaxPool2d
from nn.models.blocks import initialise
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module
from nn.tensor import Tensor

# Of each stage the kernel size and the channels of its convolutions.
STAGES = (
    ((7, 64),),
    ((3, 192),),
    ((1, 128), (3, 256), (1, 256), (3, 512)),
    (*((1, 256), (3, 512)) * 4, (1, 512), (3, 1024)),
    ((1, 512), (3, 1024)) * 2,
)


class Extraction(Network):
    """
    Args:
        num_classes: 0 or None leaves ``fc`` away.
        stages: the convolutions; the very first has stride 2.

    Attributes:
        maps: "c2" .. "c5" before the second to the fourth pooling, and after the last convolution.
    """

    def __init__(
        self,
        num_classes: int | None = 1000,
        stages: Sequence[Sequence[tuple[int, int]]] = STAGES,
    ):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        layers, taps, channels = [], {}, 3
        for number, stage in enumerate(stages, 1):
            for size, C in stage:
                stride = 1 if layers else 2
                layers += [Conv2d(channels, C, size, stride, size // 2), LeakyReLU(0.1)]
                channels = C
            if number > 1:
                taps[f"c{number}"] = len(layers) - 1
                self.maps[f"c{number}"] = Map(channels, 2**number)
            if number < len(stages):
                layers.append(MaxPool2d(2, ceil_mode=True))
        self.features = Trunk(layers, taps)
        self.fc = Linear(channels, num_classes) if num_classes else None
        initialise(self)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.fc(maps["c5"].mean((2, 3)))

    def parts(self) -> list[Module]:
        return [layer for layer in self.features if isinstance(layer, Conv2d)]


extraction = Extraction
