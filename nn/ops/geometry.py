"""How a convolution lies on its input, and so which ways of computing it there are."""

from __future__ import annotations

import math
from dataclasses import dataclass

Pair = tuple[int, int]

# What Winograd's way of convolving must have at least to be worth its additions.
WINOGRAD_CHANNELS = 16
WINOGRAD_PIXELS = 14 * 14
# A convolution with a stride and fewer of them sorts its input a few rows at a time.
COLUMNS_CHANNELS = 8
# More columns of taps are too many copies of the input.
MOST_COLUMNS = 5


@dataclass(frozen=True)
class Geometry:
    """All of a convolution but its numbers; ``weight`` is their shape (OC, C / groups, KH, KW).

    Stride, padding and dilation are (vertical, horizontal) pairs.
    """

    weight: tuple[int, int, int, int]
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def channels(self) -> int:
        return self.weight[1] * self.groups

    @property
    def outputs(self) -> int:
        return self.weight[0]

    @property
    def kernel_size(self) -> Pair:
        return self.weight[2:]

    @property
    def spacing(self) -> tuple[Pair, Pair, Pair]:
        """(stride, padding, dilation)"""
        return tuple(self.stride), tuple(self.padding), tuple(self.dilation)

    def output_size(self, size: Pair) -> Pair:
        """(OH, OW) for an input of ``size``: (H + 2 padding - dilation (KH - 1) - 1) // stride + 1.
        A number below 1 says that there is no output."""
        axes = zip(size, self.kernel_size, *self.spacing, strict=True)
        return tuple((length + 2 * p - d * (k - 1) - 1) // s + 1 for length, k, s, p, d in axes)

    @property
    def is_depthwise(self) -> bool:
        """A channel sees only itself."""
        return self.groups == self.channels == self.outputs

    @property
    def is_stencil(self) -> bool:
        """The commonest depthwise convolution: 3 x 3 taps, padding 1, stride 1 or 2."""
        return self.kernel_size == (3, 3) and self.is_centred

    @property
    def is_centred(self) -> bool:
        """Depthwise, 3 x 3, 5 x 5 or 7 x 7 taps around a pixel, stride 1 or 2."""
        side = self.kernel_size[0]
        return (
            self.is_depthwise
            and self.kernel_size in ((3, 3), (5, 5), (7, 7))
            and self.spacing[1:] == ((side // 2, side // 2), (1, 1))
            and self.spacing[0] in ((1, 1), (2, 2))
        )

    @property
    def keeps_pixels(self) -> bool:
        """A pixel sees only itself."""
        return self.kernel_size == (1, 1) and self.spacing[:2] == ((1, 1), (0, 0))

    @property
    def is_pointwise(self) -> bool:
        """A matrix product: a pixel sees all channels of itself."""
        return self.groups == 1 and self.keeps_pixels

    @property
    def is_scale(self) -> bool:
        """A number sees only itself: every channel is multiplied by a number."""
        return self.is_depthwise and self.keeps_pixels

    @property
    def keeps_size(self) -> bool:
        """Stride 1, and as many pixels out as in, each below its own."""
        reach = zip(self.kernel_size, self.padding, self.dilation, strict=True)
        return self.spacing[0] == (1, 1) and all((k - 1) * d == 2 * p for k, p, d in reach)

    @property
    def reads_by_phase(self) -> bool:
        """Whether to sort the input by phase first: for a stride, if some tap sees each phase."""
        sizes = zip(self.kernel_size, self.stride, strict=True)
        return self.groups == 1 and self.spacing[0] != (1, 1) and all(k >= s for k, s in sizes)

    @property
    def reads_by_columns(self) -> bool:
        """Whether to copy the input for each column of taps (``nn.inference.columns``).

        Not if it can be read where it is, nor if few channels with a stride are better sorted by
        phase, nor for more columns than copies are worth.
        """
        if self.is_depthwise or self.keeps_pixels:
            return False
        if self.spacing[0] != (1, 1) and self.weight[1] < COLUMNS_CHANNELS:
            return not self.reads_by_phase
        return self.groups > 1 or not self.keeps_size or self.kernel_size[1] <= MOST_COLUMNS

    def is_linear(self, size: Pair) -> bool:
        """A fully connected layer: the window covers all of an input of ``size``."""
        no_padding = self.spacing[1:] == ((0, 0), (1, 1))
        return self.groups == 1 and no_padding and self.kernel_size == tuple(size)

    def is_winograd(self, size: Pair) -> bool:
        """Whether Winograd's way (``nn.kernels.winograd``) fits an output of ``size``."""
        return (
            self.groups == 1
            and self.kernel_size == (3, 3)
            and (self.spacing[0], self.spacing[2]) == ((1, 1), (1, 1))
            and min(self.weight[:2]) >= WINOGRAD_CHANNELS
            and math.prod(size) >= WINOGRAD_PIXELS
        )
