"""The maps that a single-stage detector reads: some of the backbone's, and ever coarser extra ones.

    backbone --> c3 (stride 8) --> c4 (16) --> 1x1, 3x3 /2 --> 1x1, 3x3 /2 --> ...

A 1x1 convolution halves the channels, a 3x3 one of stride 2 halves the map: after a few of them one
cell sees the whole picture (SSD, section 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import nn
from detector.parts.layers import Init, Norm, init_hidden, make_norm
from detector.settings import Channels, NotNegative, Range, Settings
from nn.models import Map, map_of_stride


@dataclass(frozen=True)
class ExtraMapsSettings(Settings):
    """
    Attributes:
        strides: of the backbone's maps that are read, finest first.
        channels: of each extra map.
        unpadded: how many of the last extra maps are made by a 3x3 convolution of stride 1 without
            padding, as SSD300's last two are: 5 x 5 cells become 3 x 3, then 1 x 1.
        separable: 3x3 convolutions of each channel alone and then a 1x1 one: SSDLite's.
        l2_scale: the first map, L2-normalised over its channels, begins as large as this; 0 leaves
            it as it is.
        norm, init: of the extra convolutions, see ``detector.parts.layers``.
    """

    strides: tuple[Literal[4, 8, 16, 32], ...] = (8, 16)
    channels: tuple[Channels, ...] = (512, 256, 256, 256)
    unpadded: Annotated[int, Range(0, 16)] = 2
    separable: bool = False
    l2_scale: NotNegative = 20.0
    norm: Norm = "none"
    init: Init = "he"

    @property
    def all_strides(self) -> list[int]:
        """Of all maps; an unpadded one, whose cells stand for as many pixels as the map is small,
        counts as doubled."""
        last = max(self.strides, default=1)
        return [*self.strides, *(last << k for k in range(1, 1 + len(self.channels)))]


class ExtraMaps(nn.Module):
    """
    Args:
        maps: of the backbone.
        settings: its numbers.

    Attributes:
        maps: of what it returns, finest first.

    Raises:
        ValueError: the backbone does not have the maps, or they are in no order.
    """

    def __init__(self, maps: Mapping[str, Map], settings: ExtraMapsSettings = ExtraMapsSettings()):
        super().__init__()
        if not settings.strides or list(settings.strides) != sorted(set(settings.strides)):
            raise ValueError(f"neck.strides must rise from map to map, not {settings.strides}")
        self.sources = [map_of_stride(maps, stride) for stride in settings.strides]
        self.maps = {name: maps[name] for name in self.sources}
        channels = maps[self.sources[-1]].channels
        first = maps[self.sources[0]].channels
        self.l2_norm = nn.L2Norm(first, settings.l2_scale) if settings.l2_scale else None
        self.padded = len(settings.channels) - settings.unpadded
        self.extra = nn.ModuleList()
        strides = settings.all_strides[len(self.sources) :]
        for number, (C, stride) in enumerate(zip(settings.channels, strides, strict=True)):
            self.extra.append(halving(channels, C, number < self.padded, settings))
            self.maps[f"extra{number + 1}"] = Map(C, stride)
            channels = C

    def forward(self, features: Mapping[str, nn.Tensor]) -> dict[str, nn.Tensor]:
        """Maps (N, C, H, W) by name -> those of ``maps``.

        It ends early where a map is too small for a convolution without padding.
        """
        read = [features[name] for name in self.sources]
        last = read[-1]
        if self.l2_norm is not None:
            read[0] = self.l2_norm(read[0])
        for number, layers in enumerate(self.extra):
            if number >= self.padded and min(last.shape[2:]) < 3:
                break
            last = layers(last)
            read.append(last)
        return dict(zip(self.maps, read, strict=False))


def halving(
    in_channels: int, out_channels: int, is_padded: bool, settings: ExtraMapsSettings
) -> nn.Sequential:
    """From a map to the next: (N, C, H, W) -> (N, C', H / 2, W / 2), or C', H - 2, W - 2."""
    half = max(out_channels // 2, 1)
    geometry = (3, 2, 1) if is_padded else (3, 1, 0)  # kernel, stride, padding

    def unit(before: int, after: int, *geometry: int, groups: int = 1) -> list[nn.Module]:
        conv = nn.Conv2d(before, after, *geometry, groups=groups, bias=settings.norm == "none")
        relu = nn.ReLU6() if settings.separable else nn.ReLU()
        return [init_hidden(conv, settings.init), make_norm(settings.norm, after), relu]

    if settings.separable:
        last = [*unit(half, half, *geometry, groups=half), *unit(half, out_channels, 1)]
    else:
        last = unit(half, out_channels, *geometry)
    return nn.Sequential(*unit(in_channels, half, 1), *last)
