"""Darknet-19, what YOLO v2 stands on: VGG's 3x3 convolutions with 1x1 ones between, and batch norm.

A 1x1 convolution halves the channels before the next 3x3 one doubles them again. Every convolution
is followed by batch norm and the leaky ReLU x or x / 10; 2x2 max pooling /2 stands between the
stages::

    map   stage   channels of the 3x3 and 1x1 convolutions by turns
    -     1       32
    -     2       64
    c2    3       128  64 128
    c3    4       256 128 256
    c4    5       512 256 512 256 512
    c5    6       1024 512 1024 512 1024
    scores        1x1 conv to the classes, mean

Paper: Redmon and Farhadi, "YOLO9000: Better, Faster, Stronger", CVPR 2017, table 6. The last
convolution has a bias and no activation. The layers' names are those of the package pytorchcv.
"""

from __future__ import annotations

from collections.abc import Sequence

from nn.layers import BatchNorm2d, Conv2d, LeakyReLU, MaxPool2d
from nn.models.blocks import initialise
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

STAGES = (
    (32,),
    (64,),
    (128, 64, 128),
    (256, 128, 256),
    (512, 256, 512, 256, 512),
    (1024, 512, 1024, 512, 1024),
)


class Darknet19(Network):
    """
    Args:
        num_classes: 0 or None leaves ``output`` away.
        stages: channels of their convolutions.

    Attributes:
        maps: "c2" .. "c5" before the third to the fifth pooling, and after the last convolution.
    """

    classifier_names = ("output.final_conv",)
    names = "pytorchcv"

    def __init__(self, num_classes: int | None = 1000, stages: Sequence[Sequence[int]] = STAGES):
        super().__init__()
        self.num_classes, self.maps = num_classes, {}
        layers, taps, channels = {}, {}, 3
        for number, stage in enumerate(stages, 1):
            units = {}
            for index, C in enumerate(stage, 1):
                units[f"unit{index}"] = unit(channels, C, 3 if index % 2 else 1)
                channels = C
            layers[f"stage{number}"] = Sequential(units)
            if number > 2:
                name = f"c{number - 1}"
                taps[name], self.maps[name] = f"stage{number}", Map(channels, 2 ** (number - 1))
            if number < len(stages):
                layers[f"pool{number}"] = MaxPool2d(2)
        self.features, self.output = Trunk(layers, taps), None
        if num_classes:
            self.output = Sequential({"final_conv": Conv2d(channels, num_classes, 1)})
        initialise(self)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.output(maps["c5"]).mean((2, 3))

    def parts(self) -> list[Module]:
        return [layer for layer in self.features if not isinstance(layer, MaxPool2d)]


def unit(in_channels: int, out_channels: int, kernel_size: int) -> Sequential:
    """A convolution, batch norm, leaky ReLU."""
    padding = kernel_size // 2
    return Sequential(
        {
            "conv": Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=False),
            "bn": BatchNorm2d(out_channels),
            "activ": LeakyReLU(0.1),
        }
    )


darknet19 = Darknet19
