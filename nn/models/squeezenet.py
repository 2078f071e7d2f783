"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters.

A 3x3 convolution is dear for what it reads, so a 1x1 convolution makes that few first ("squeeze");
and half of what the block puts out is by 1x1 as well ("expand")::

    fire(s, e): 1x1 conv s, ReLU, then 1x1 conv e, ReLU | 3x3 conv e, ReLU, concatenated

    map   1.0                               1.1
    -     7x7 conv 96 /2                    3x3 conv 64 /2
    c2    max pooling, fire(16, 64) twice   max pooling, fire(16, 64) twice
          fire(32, 128)
    c3    max pooling, fire(32, 128)        max pooling, fire(32, 128) twice
          fire(48, 192) twice
          fire(64, 256)
    c4    max pooling, fire(64, 256)        max pooling, fire(48, 192) twice, fire(64, 256) twice
    scores: dropout, 1x1 conv to the classes, ReLU, mean

Every max pooling is 3x3 /2, its last window may hang over ("ceil"). Simple bypass adds to the
output of the fire modules 3, 5, 7 and 9 what goes in; complex bypass, besides, a 1x1 convolution of
that at 2, 4, 6 and 8.

Paper: Iandola, Han, Moskewicz, Ashraf, Dally, Keutzer, "SqueezeNet", 2016, table 1 and figure 2.
The table's map sizes need pictures of 227 x 227 where it prints 224. Its 7.7 MB for complex bypass
are not reached: 1,589,672 parameters, 6.4 MB. SqueezeNet 1.1 is the authors' later one: 2.4 times
fewer multiply-adds. The layers and their order are those of torchvision's model.
"""

from __future__ import annotations

from functools import partial

from nn import functional as F
from nn import init
from nn.layers import Conv2d, Dropout, MaxPool2d, ReLU
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

POOL = None
# What stands in ``features``, in order: (squeezed, expanded) of a fire module, or a pooling.
FIRES = {
    "1.0": (
        POOL, (16, 64), (16, 64), (32, 128),
        POOL, (32, 128), (48, 192), (48, 192), (64, 256),
        POOL, (64, 256),
    ),
    "1.1": (
        POOL, (16, 64), (16, 64),
        POOL, (32, 128), (32, 128),
        POOL, (48, 192), (48, 192), (64, 256), (64, 256),
    ),
}  # fmt: skip
STEMS = {"1.0": (96, 7), "1.1": (64, 3)}
# What goes around the fire modules of even number, and around those of odd number.
BYPASSES = {
    "none": ("none", "none"),
    "simple": ("none", "simple"),
    "complex": ("complex", "simple"),
}

# torchvision's, trained on ImageNet.
WEIGHTS = {
    "1.0": {"imagenet": "https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth"},
    "1.1": {"imagenet": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"},
}


class SqueezeNet(Network):
    """
    Args:
        version: "1.0" or "1.1".
        num_classes: 0 or None leaves ``classifier`` away.
        bypass: "none", "simple" or "complex".
        dropout: probability, before the classifier.

    Attributes:
        maps: "c2", "c3" and "c4", the last of their strides. They may be a cell smaller or larger
            than those of others: the stem has no padding, and poolings hang over.
    """

    classifier_names = ("classifier.1",)

    def __init__(
        self,
        version: str = "1.0",
        num_classes: int | None = 1000,
        bypass: str = "none",
        dropout: float = 0.5,
    ):
        super().__init__()
        if bypass not in BYPASSES:
            raise ValueError(f"squeezenet: bypass {bypass!r}, expected one of {list(BYPASSES)}")
        self.num_classes, self.maps = num_classes, {}
        self.weights = WEIGHTS[version] if bypass == "none" else {}
        self.side = 224 if bypass == "none" else 227
        channels, kernel_size = STEMS[version]
        layers, taps, stride, number = [Conv2d(3, channels, kernel_size, 2), ReLU()], {}, 2, 2
        for fire in FIRES[version]:
            if fire is POOL:
                layers.append(MaxPool2d(3, 2, ceil_mode=True))
                stride *= 2
            else:
                around = BYPASSES[bypass][number % 2]
                layers.append(Fire(channels, *fire, around))
                channels, number = 2 * fire[1], number + 1
                name = f"c{stride.bit_length() - 1}"
                taps[name], self.maps[name] = len(layers) - 1, Map(channels, stride)
        self.features = Trunk(layers, taps)
        self.classifier = None
        if num_classes:
            self.classifier = Sequential(Dropout(dropout), Conv2d(512, num_classes, 1), ReLU())
        self._initialise()

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.classifier(maps["c4"]).mean((2, 3))

    def parts(self) -> list[Module]:
        return [layer for layer in self.features if any(layer.parameters())]

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, Conv2d):
                init.kaiming_uniform_(module.weight)
                init.zeros_(module.bias)
        if self.classifier is not None:
            init.normal_(self.classifier[1].weight, 0.0, 0.01)


class Fire(Module):
    """in_channels -> 2 ``expanded``.

    Args:
        bypass: around the module: "none", "simple" (adds the input) or "complex" (adds a 1x1
            convolution of it).
    """

    def __init__(self, in_channels: int, squeezed: int, expanded: int, bypass: str = "none"):
        super().__init__()
        self.squeeze = Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = Conv2d(squeezed, expanded, 1)
        self.expand3x3 = Conv2d(squeezed, expanded, 3, padding=1)
        self.is_bypassed = bypass != "none"
        self.bypass = Conv2d(in_channels, 2 * expanded, 1) if bypass == "complex" else None

    def forward(self, input: Tensor) -> Tensor:
        squeezed = F.relu(self.squeeze(input))
        expanded = F.cat((self.expand1x1(squeezed), self.expand3x3(squeezed)), dim=1)
        output = F.relu(expanded)
        if not self.is_bypassed:
            return output
        return output + (input if self.bypass is None else self.bypass(input))


squeezenet1_0 = partial(SqueezeNet, "1.0")
squeezenet1_1 = partial(SqueezeNet, "1.1")
squeezenet1_0_simple = partial(SqueezeNet, "1.0", bypass="simple")
squeezenet1_0_complex = partial(SqueezeNet, "1.0", bypass="complex")
