"""CondenseNet: DenseNet whose 1x1 convolutions learn which inputs each group of outputs needs.

In training such a convolution is a full one, its outputs in G groups. During the first half of the
training every group gives up, C - 1 times, another C-th of its inputs: those whose weights are the
smallest for all of its outputs together. With C = G what remains is a convolution in groups, of
inputs in the order that the groups ask for::

    layer: x                          in training            afterwards
     |                                                       choose the inputs (index)
     |  BN, ReLU
     |  1x1 conv 4 k                  all inputs, masked     in G groups, then a shuffle
     |  BN, ReLU, 3x3 conv k in G groups
    concatenate behind x

    map   stride   layers   k
    -     2        3x3 conv 16 /2, then 4 of k = 8
    c2    4        2x2 mean /2, 6         16
    c3    8        2x2 mean /2, 8         32
    c4    16       2x2 mean /2, 10        64
    c5    32       2x2 mean /2, 8        128, BN, ReLU
    scores         mean, half of the channels (index), linear

The outputs of group g are the rows g, g + G, g + 2 G, ... in training, so that no shuffle is needed
there. Paper: Huang, Liu, van der Maaten, Weinberger, "CondenseNet: An Efficient DenseNet using
Learned Group Convolutions", CVPR 2018, sections 3 and 4, table 1. The authors also count the ReLUs
and the whole classifier: 529 million multiply-adds where 516,640,576 are left. The layers' names
are those of the package pytorchcv, which has the network as it is afterwards.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from nn import functional as F
from nn.layers import AvgPool2d, BatchNorm2d, Conv2d, Linear, ReLU
from nn.models.blocks import initialise
from nn.models.network import Map, Network
from nn.models.trunk import Trunk
from nn.module import Module, Sequential
from nn.tensor import Tensor

LAYERS = (4, 6, 8, 10, 8)
GROWTH = (8, 16, 32, 64, 128)
STEM = 16


class CondenseNet(Network):
    """
    Args:
        groups: G, and C.
        num_classes: 0 or None leaves ``output`` away.
        learned: True for the network in training, ``converted`` makes the other of it.
        layers: of the five stages.
        growth: k, of the five stages.

    Attributes:
        maps: "c2" .. "c5" after the second to the fifth stage.
    """

    classifier_names = ("output.linear",)
    names = "pytorchcv"

    def __init__(
        self,
        groups: int = 4,
        num_classes: int | None = 1000,
        learned: bool = False,
        layers: tuple[int, ...] = LAYERS,
        growth: tuple[int, ...] = GROWTH,
    ):
        super().__init__()
        self.settings = {"groups": groups, "layers": layers, "growth": growth}
        self.num_classes, self.maps, self.stage = num_classes, {}, 0
        channels = STEM
        parts = {"init_block": Sequential({"conv": Conv2d(3, STEM, 3, 2, padding=1, bias=False)})}
        taps = {}
        for number, (count, k) in enumerate(zip(layers, growth, strict=True), 1):
            stage = {} if number == 1 else {"trans": AvgPool2d(2)}
            for index in range(1, count + 1):
                stage[f"unit{index}"] = Unit(channels, k, groups, learned)
                channels += k
            parts[f"stage{number}"] = Sequential(stage)
            if number > 1:
                taps[f"c{number}"] = f"stage{number}"
                self.maps[f"c{number}"] = Map(channels, 2**number)
        parts["post_activ"] = Sequential({"bn": BatchNorm2d(channels), "activ": ReLU()})
        self.features = Trunk(parts, taps | {"c5": "post_activ"})
        self.output = Output(channels, num_classes, learned) if num_classes else None
        initialise(self)

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.output(maps["c5"].mean((2, 3)))

    def parts(self) -> list[Module]:
        return list(self.features)

    # In training

    def learned_convolutions(self) -> list[LearnedConv]:
        return [module for module in self.modules() if isinstance(module, LearnedConv)]

    def condense(self, progress: float) -> None:
        """Give up the inputs that are due when ``progress`` (0..1) of the training is done."""
        stages = self.settings["groups"] - 1
        while self.stage < stages and progress >= 0.5 * (self.stage + 1) / stages:
            for conv in self.learned_convolutions():
                conv.condense()
            self.stage += 1

    def group_lasso(self) -> Tensor:
        """What to add to the loss, times 1e-5 in the paper, so that groups agree on inputs."""
        return sum((conv.group_lasso() for conv in self.learned_convolutions()), Tensor(0.0))

    def converted(self) -> CondenseNet:
        """The network as it is afterwards, when all that is due has been given up."""
        self.condense(1.0)
        other = CondenseNet(num_classes=self.num_classes, **self.settings)
        state = self.state_dict()
        for name, module in self.named_modules():
            if isinstance(module, LearnedConv | Output):
                state |= {f"{name}.{key}": array for key, array in module.converted().items()}
        other.load_state_dict({key: state[key] for key in other.state_dict()})
        return other


class Unit(Module):
    """One layer: channels -> channels + k."""

    def __init__(self, channels: int, k: int, groups: int, learned: bool):
        super().__init__()
        self.conv1 = (LearnedConv if learned else CondensedConv)(channels, 4 * k, groups)
        self.conv2 = Sequential(
            {
                "bn": BatchNorm2d(4 * k),
                "activ": ReLU(),
                "conv": Conv2d(4 * k, k, 3, padding=1, groups=groups, bias=False),
            }
        )

    def forward(self, input: Tensor) -> Tensor:
        return F.cat((input, self.conv2(self.conv1(input))), dim=1)


class CondensedConv(Module):
    """Chosen inputs, batch norm, ReLU, a 1x1 convolution in groups, a shuffle."""

    def __init__(self, in_channels: int, out_channels: int, groups: int):
        super().__init__()
        self.groups = groups
        self.register_buffer("index", np.arange(in_channels))
        self.bn = BatchNorm2d(in_channels)
        self.conv = Conv2d(in_channels, out_channels, 1, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        chosen = self.bn(input[:, self.index], relu=True)
        return F.channel_shuffle(self.conv(chosen), self.groups)


class LearnedConv(Module):
    """Batch norm, ReLU, a 1x1 convolution whose groups of outputs give up inputs.

    ``mask`` (out_channels, in_channels, 1, 1) is 1 where a group still has the input, else 0.
    """

    def __init__(self, in_channels: int, out_channels: int, groups: int):
        super().__init__()
        self.groups = groups
        self.bn = BatchNorm2d(in_channels)
        self.conv = Conv2d(in_channels, out_channels, 1, bias=False)
        self.register_buffer("mask", np.ones(self.conv.weight.shape, np.float32))

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(self.bn(input, relu=True), self.conv.weight * self.mask)

    def condense(self) -> None:
        """Every group gives up a ``groups``-th of its inputs: sums of |weight| decide."""
        count = self.conv.in_channels // self.groups
        for group in range(self.groups):
            mask = self.mask[group :: self.groups, :, 0, 0]
            weights = np.abs(self.conv.weight.data[group :: self.groups, :, 0, 0]).sum(axis=0)
            weights[mask[0] == 0] = np.inf
            mask[:, np.argsort(weights, kind="stable")[:count]] = 0

    def group_lasso(self) -> Tensor:
        """The sum over groups and inputs of the norm of the weights between them."""
        weight = (self.conv.weight * self.mask).reshape(-1, self.groups, self.conv.in_channels)
        return ((weight * weight).sum(0) + 1e-12).sqrt().sum()

    def converted(self) -> dict[str, np.ndarray]:
        """The tensors of the ``CondensedConv`` that computes the same."""
        kept = [np.flatnonzero(self.mask[group, :, 0, 0]) for group in range(self.groups)]
        weights = self.conv.weight.data
        rows = [weights[group :: self.groups][:, chosen] for group, chosen in enumerate(kept)]
        index = np.concatenate(kept)
        names = ("weight", "bias", "running_mean", "running_var")
        own = self.bn.state_dict()
        norm = {f"bn.{name}": own[name][index] for name in names}
        return norm | {"index": index, "conv.weight": np.concatenate(rows)}


class Output(Module):
    """The classes from a half of the channels, or in training from all."""

    def __init__(self, channels: int, num_classes: int, learned: bool):
        super().__init__()
        if learned:
            self.index = None
        else:
            self.register_buffer("index", np.arange(channels // 2))
        self.linear = Linear(channels if learned else channels // 2, num_classes)

    def forward(self, means: Tensor) -> Tensor:
        return self.linear(means if self.index is None else means[:, self.index])

    def converted(self) -> dict[str, np.ndarray]:
        """The half whose weights are largest together."""
        weights = self.linear.weight.data
        order = np.argsort(-np.abs(weights).sum(axis=0), kind="stable")
        index = np.sort(order[: weights.shape[1] // 2])
        return {"index": index, "linear.weight": weights[:, index].copy()}


condensenet74_c4 = partial(CondenseNet, 4)
condensenet74_c8 = partial(CondenseNet, 8)
