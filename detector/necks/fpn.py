"""The feature pyramid: maps of every size that all know what the coarsest one knows.

A backbone's fine maps show where things are, its coarse ones what they are. A feature pyramid
network (Lin et al. 2017, section 3) brings every map to the same number of channels by a 1x1
convolution, adds to each the next coarser one, each of its cells repeated 2 x 2 times, and smooths
the sum by a 3x3 convolution. Small objects are then looked for on fine maps, large ones on coarse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import nn
from detector.parts.layers import Init, Norm, init_hidden, make_norm
from detector.settings import Channels, Settings
from nn import functional as F
from nn.models import Map, map_of_stride


@dataclass(frozen=True)
class FPNSettings(Settings):
    """
    Attributes:
        finest: the stride of its finest map; there is one more for each stride up to 32.
        channels: of every map.
        extra: what follows the coarsest map: "none"; "pool", every other cell of it, where the
            largest anchors lie (the paper); "convs", two 3x3 convolutions of stride 2, the first of
            which reads the backbone's own map (RetinaNet: Lin et al. 2017, section 4).
        norm, init: of its convolutions, see ``detector.parts.layers``.
    """

    finest: Literal[4, 8, 16] = 4
    channels: Channels = 256
    extra: Literal["none", "pool", "convs"] = "pool"
    norm: Norm = "none"
    init: Init = "he"


class FPN(nn.Module):
    """
    Args:
        maps: of the backbone.
        settings: its numbers.

    Attributes:
        maps: of what it returns, finest first: "p2" (stride 4) .. "p5" (stride 32), and those of
            ``settings.extra``, "p6" and "p7".

    Raises:
        ValueError: the backbone lacks a map of one of the strides.
    """

    def __init__(self, maps: Mapping[str, Map], settings: FPNSettings = FPNSettings()):
        super().__init__()
        strides = [stride for stride in (4, 8, 16, 32) if stride >= settings.finest]
        self.sources = [map_of_stride(maps, stride) for stride in strides]
        read, channels = [maps[name] for name in self.sources], settings.channels
        self.inner_blocks = nn.ModuleList([_conv(m.channels, 1, 1, settings) for m in read])
        self.layer_blocks = nn.ModuleList([_conv(channels, 3, 1, settings) for _ in read])
        if settings.extra == "convs":
            self.p6 = _conv(read[-1].channels, 3, 2, settings)
            self.p7 = _conv(channels, 3, 2, settings)
        self.extra = settings.extra
        strides += {"none": [], "pool": [64], "convs": [64, 128]}[settings.extra]
        self.maps = {f"p{stride.bit_length() - 1}": Map(channels, stride) for stride in strides}

    def forward(self, features: Mapping[str, nn.Tensor]) -> dict[str, nn.Tensor]:
        """The backbone's maps (N, C, H, W) by name -> those of ``maps``."""
        laterals = [
            block(features[name])
            for block, name in zip(self.inner_blocks, self.sources, strict=True)
        ]
        sums = laterals[-1:]  # coarsest first
        for fine in laterals[-2::-1]:
            sums.append(fine + F.interpolate(sums[-1], size=fine.shape[2:], mode="nearest"))
        levels = [block(x) for block, x in zip(self.layer_blocks, sums[::-1], strict=True)]
        if self.extra == "pool":
            levels.append(F.max_pool2d(levels[-1], 1, stride=2))
        elif self.extra == "convs":
            levels.append(self.p6(features[self.sources[-1]]))
            levels.append(self.p7(F.relu(levels[-1])))
        return dict(zip(self.maps, levels, strict=True))


def _conv(in_channels: int, size: int, stride: int, settings: FPNSettings) -> nn.Sequential:
    conv = nn.Conv2d(
        in_channels, settings.channels, size, stride, size // 2, bias=settings.norm == "none"
    )
    return nn.Sequential(
        init_hidden(conv, settings.init, before_relu=False),
        make_norm(settings.norm, settings.channels),
    )
