"""NASNet-A: two kinds of cells that a search has found, stacked many times.

A cell gets the outputs of the two before it: h, the last, and p, the one before; a 1x1 convolution
brings each to the cell's channels F. Then five sums, numbered from 0, of two things each::

    normal cell               reduction cell (/2 where it reads h or p)
    0  sep5(h) + sep3(p)      0  sep5(h) + sep7(p)
    1  sep5(p) + sep3(p)      1  max3(h) + sep7(p)
    2  mean3(h) + p           2  mean3(h) + sep5(p)
    3  mean3(p) + mean3(p)    3  mean3(0) + 1
    4  sep3(h) + h            4  sep3(0) + max3(h)
    concatenated: p, 0 .. 4   concatenated: 1 .. 4

    sepk: ReLU, k x k depthwise, 1x1 conv, BN; the same again; a stride is the first one's

    map   stride                                                mobile   large
    -     2        conv0: 3x3 conv /2 without padding, BN          32      96
    c2    4        cell_stem_0: reduction, F =                     11      42
    -     8        cell_stem_1: reduction, F =                     22      84
    c3    8        normal cells, F =                             4: 44   6: 168
    c4    16       reduction, normal cells, F =                  4: 88   6: 336
    c5    32       reduction, normal cells, F =                  4: 176  6: 672
    scores         ReLU, mean, dropout, last_linear

In ``cell_stem_0`` p is conv0's output as it is. Where p is twice as large as h, every other pixel
of it and, beside them, those one to the right and below go through a 1x1 convolution each. The
first cell behind a reduction has it for h, and for p the cell before it, in "large" the one before
that.

Paper: Zoph, Vasudevan, Shlens, Le, "Learning Transferable Architectures for Scalable Image
Recognition", CVPR 2018, figure 4 and appendix. What it leaves open (p behind a reduction,
TensorFlow's padding, means that do not count its zeros, eps of 0.001) is as in the authors'
program. The layers' names are those of the package timm.
"""

from __future__ import annotations

from functools import partial

from nn import functional as F
from nn.layers import BatchNorm2d, Conv2d, Dropout, Linear
from nn.models.blocks import ConvBN, SameConv2d, initialise, same_padding
from nn.models.network import HALVES, Map, Network
from nn.module import Module, Sequential
from nn.tensor import Tensor

NORMAL = (
    (("sep5", "h"), ("sep3", "p")),
    (("sep5", "p"), ("sep3", "p")),
    (("mean3", "h"), ("same", "p")),
    (("mean3", "p"), ("mean3", "p")),
    (("sep3", "h"), ("same", "h")),
)
REDUCTION = (
    (("sep5", "h"), ("sep7", "p")),
    (("max3", "h"), ("sep7", "p")),
    (("mean3", "h"), ("sep5", "p")),
    (("mean3", 0), ("same", 1)),
    (("sep3", 0), ("max3", "h")),
)
EPS = 1e-3


class NASNet(Network):
    """
    Args:
        channels: F of the first normal cells.
        cells: how many normal cells there are between reductions.
        stem: channels of conv0.
        num_classes: 0 or None leaves ``last_linear`` away.
        skips_one: the first cell behind a reduction does not see the cell before that, but the one
            before.
        dropout: probability, before the classes.

    Attributes:
        maps: "c2" .. "c5", see above; a ReLU is the first thing that whatever reads them does.
    """

    classifier_names = ("last_linear",)
    preprocessing = HALVES
    names = "timm"

    def __init__(
        self,
        channels: int,
        cells: int,
        stem: int,
        num_classes: int | None = 1000,
        skips_one: bool = False,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.num_classes, self.cells, self.skips_one = num_classes, cells, skips_one
        width = channels
        self.conv0 = ConvBN(3, stem, 3, 2, padding=0, eps=EPS, relu=False)
        self.cell_stem_0 = Cell(REDUCTION, stem, stem, width // 4, "as it is")
        self.cell_stem_1 = Cell(REDUCTION, width, stem, width // 2, "halved")
        self.maps = {"c2": Map(width, 4)}
        h, p = 2 * width, width
        for stage in range(3):
            if stage:
                width *= 2
                setattr(self, f"reduction_cell_{stage - 1}", Cell(REDUCTION, h, p, width))
                h, p = 4 * width, h
            for index in range(cells):
                size = "halved" if index == 0 else "the same"
                setattr(self, f"cell_{stage * cells + index}", Cell(NORMAL, h, p, width, size))
                h, p = 6 * width, h
            self.maps[f"c{stage + 3}"] = Map(h, 2 ** (stage + 3))
        self.dropout = Dropout(dropout)
        self.last_linear = Linear(h, num_classes) if num_classes else None
        initialise(self)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        first = self.conv0(images)
        c2 = self.cell_stem_0(first, first)
        h, p, maps = self.cell_stem_1(c2, first), c2, {"c2": c2}
        for stage in range(3):
            if stage:
                seen = p if self.skips_one else h
                h, p = getattr(self, f"reduction_cell_{stage - 1}")(h, p), seen
            for index in range(self.cells):
                h, p = getattr(self, f"cell_{stage * self.cells + index}")(h, p), h
            maps[f"c{stage + 3}"] = h
        return maps

    def classify(self, maps: dict[str, Tensor]) -> Tensor:
        return self.last_linear(self.dropout(F.relu(maps["c5"]).mean((2, 3))))

    def parts(self) -> list[Module]:
        return [cell for cell in self.children() if cell not in (self.dropout, self.last_linear)]


class Cell(Module):
    """One cell; the tables are at the top of this file.

    Args:
        table: ``NORMAL`` or ``REDUCTION``.
        h, p: channels of its two inputs.
        width: F.
        size_of_p: "the same" as h's, to be "halved", or "as it is": p is used unchanged.
    """

    def __init__(self, table: tuple, h: int, p: int, width: int, size_of_p: str = "the same"):
        super().__init__()
        self.table = table
        self.conv_prev_1x1 = ReLUConvBN(p, width) if size_of_p == "the same" else None
        self.conv_1x1 = ReLUConvBN(h, width)
        self.final_path_bn = None
        if size_of_p == "halved":
            for number in (1, 2):
                conv = Conv2d(p, width // 2, 1, stride=2, bias=False)
                setattr(self, f"path_{number}", Sequential({"conv": conv}))
            self.final_path_bn = BatchNorm2d(width, EPS)
        channels = {"h": width, "p": p if size_of_p == "as it is" else width, 0: width}
        for number, pair in enumerate(table):
            for side, (kind, source) in zip(("left", "right"), pair, strict=True):
                if kind.startswith("sep"):
                    window, stride = int(kind[-1]), self.stride(source)
                    layer = Separable(channels[source], width, window, stride)
                    setattr(self, f"comb_iter_{number}_{side}", layer)

    def stride(self, source: str | int) -> int:
        return 2 if self.table is REDUCTION and source in ("h", "p") else 1

    def forward(self, h: Tensor, p: Tensor) -> Tensor:
        maps = {"h": self.conv_1x1(h), "p": self.prepared(p)}
        for number, pair in enumerate(self.table):
            left, right = (
                self.step(f"comb_iter_{number}_{side}", kind, maps[source], self.stride(source))
                for side, (kind, source) in zip(("left", "right"), pair, strict=True)
            )
            maps[number] = left + right
        outputs = (1, 2, 3, 4) if self.table is REDUCTION else ("p", 0, 1, 2, 3, 4)
        return F.cat([maps[name] for name in outputs], dim=1)

    def prepared(self, p: Tensor) -> Tensor:
        if self.conv_prev_1x1 is not None:
            return self.conv_prev_1x1(p)
        if self.final_path_bn is None:
            return p
        pixels = F.relu(p)
        shifted = F.pad(pixels, (-1, 1, -1, 1))
        return self.final_path_bn(F.cat((self.path_1(pixels), self.path_2(shifted)), dim=1))

    def step(self, name: str, kind: str, map_: Tensor, stride: int) -> Tensor:
        if kind.startswith("sep"):
            return getattr(self, name)(map_)
        if kind == "same":
            return map_
        padding = (1, 1) if stride == 1 else same_padding(map_)
        if kind == "max3":
            return F.max_pool2d(map_, 3, stride, padding, ceil_mode=True)
        return F.avg_pool2d(map_, 3, stride, padding, ceil_mode=True, count_include_pad=False)


class ReLUConvBN(Module):
    """bn(1x1 conv(relu(x)))"""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = BatchNorm2d(out_channels, EPS)

    def forward(self, input: Tensor) -> Tensor:
        return self.bn(self.conv(F.relu(input)))


class Separable(Module):
    """sepk at the top of this file."""

    def __init__(self, in_channels: int, out_channels: int, k: int, stride: int):
        super().__init__()
        self.separable_1 = depthwise_pointwise(in_channels, out_channels, k, stride)
        self.bn_sep_1 = BatchNorm2d(out_channels, EPS)
        self.separable_2 = depthwise_pointwise(out_channels, out_channels, k, 1)
        self.bn_sep_2 = BatchNorm2d(out_channels, EPS)

    def forward(self, input: Tensor) -> Tensor:
        hidden = self.bn_sep_1(self.separable_1(F.relu(input)), relu=True)
        return self.bn_sep_2(self.separable_2(hidden))


def depthwise_pointwise(in_channels: int, out_channels: int, k: int, stride: int) -> Sequential:
    return Sequential(
        {
            "depthwise_conv2d": SameConv2d(
                in_channels, in_channels, k, stride, groups=in_channels, bias=False
            ),
            "pointwise_conv2d": Conv2d(in_channels, out_channels, 1, bias=False),
        }
    )


def nasnet_a_large(num_classes: int | None = 1000) -> NASNet:
    """NASNet-A 6 @ 4032, for pictures of 331 x 331."""
    model = NASNet(168, 6, 96, num_classes, skips_one=True)
    model.side = 331
    return model


nasnet_a_mobile = partial(NASNet, 44, 4, 32)  # 4 @ 1056
