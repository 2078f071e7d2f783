"""The thin feature map: few channels, made by large kernels, that the head's RoIs are cut from.

Between the backbone and the head, computed once per image (thesis section 3.2.3, figure 3.4). R-FCN
needs classes x 7 x 7 channels here; Light-Head R-CNN gets by with 10 x 7 x 7 = 490, because a fully
connected layer follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import nn
from detector.parts.layers import Init, Norm, init_hidden, make_norm
from detector.settings import Channels, Range, Settings
from nn import functional as F
from nn.models import Map, map_of_stride


@dataclass(frozen=True)
class ThinMapSettings(Settings):
    """
    Attributes:
        source: "c5" (stride 32, no atrous: the thesis), "last" (the backbone's last convolution,
            which its classifier reads), "c4" (stride 16), or "fused" (the map of stride 16 plus
            that of stride 32, brought to it by a 1x1 convolution and nearest-neighbour upsampling).
        kernel_size, mid_channels: k and C_mid of the large separable convolution; the thesis's
            setting S has 64, L has 256.
        norm: before its ReLU.
        init: see ``detector.parts.layers``.
    """

    source: Literal["c4", "c5", "last", "fused"] = "c5"
    kernel_size: Annotated[int, Range(1, 127)] = 15
    mid_channels: Channels = 64
    norm: Norm = "none"
    init: Init = "gaussian"


class LargeSeparableConv(nn.Module):
    """k x 1 then 1 x k, plus 1 x k then k x 1, and one ReLU on the sum.

    A k x k window at the price of 2 k: with k = 15 a cell of the thin map sees half a photograph.
    There is nothing between the two convolutions of a branch.

    Args:
        in_channels: C of the backbone's map.
        mid_channels: C_mid, 64 in the thesis's setting S and 256 in L.
        out_channels: C_out, 10 x 7 x 7.
        kernel_size: k, odd.
        norm, init: see ``detector.parts.layers``; the normalisation comes before the ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        kernel_size: int,
        norm: Norm = "none",
        init: Init = "gaussian",
    ):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd to keep the map's size: {kernel_size}")
        tall, wide = (kernel_size, 1), (1, kernel_size)
        self.tall_wide = _branch(in_channels, mid_channels, out_channels, tall, wide, norm, init)
        self.wide_tall = _branch(in_channels, mid_channels, out_channels, wide, tall, norm, init)
        self.norm = make_norm(norm, out_channels)

    def forward(self, features: nn.Tensor) -> nn.Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return F.relu(self.norm(self.tall_wide(features) + self.wide_tall(features)))


class FusedMap(nn.Module):
    """The maps of stride 16 and 32 in one at stride 16: fine positions and wide context.

    A 1x1 convolution brings the coarse map to the fine one's channels, each of its cells is
    repeated 2 x 2 times, and the two are added (the top-down step of feature pyramid networks, Lin
    et al. 2017).
    """

    def __init__(self, fine_channels: int, coarse_channels: int, norm: str, init: str):
        super().__init__()
        conv = nn.Conv2d(coarse_channels, fine_channels, 1, bias=norm == "none")
        self.lateral = nn.Sequential(
            init_hidden(conv, init, before_relu=False), make_norm(norm, fine_channels)
        )

    def forward(self, fine: nn.Tensor, coarse: nn.Tensor) -> nn.Tensor:
        """(N, C, 2 H, 2 W) and (N, C', H, W) -> (N, C, 2 H, 2 W)."""
        upsampled = F.interpolate(self.lateral(coarse), size=fine.shape[2:], mode="nearest")
        return F.relu(fine + upsampled)


class ThinMap(nn.Module):
    """From the backbone's maps to the thin map.

    Args:
        maps: of the backbone.
        out_channels: what the head's pooling needs.
        settings: its numbers.

    Attributes:
        maps: of what it returns: the thin map, "thin", and what it is made of if that is "fused".

    Raises:
        ValueError: the backbone does not have the maps.
    """

    name: ClassVar[str] = "thin"

    def __init__(
        self,
        maps: Mapping[str, Map],
        out_channels: int = 490,
        settings: ThinMapSettings = ThinMapSettings(),
    ):
        super().__init__()
        self.fuse = None
        if settings.source == "fused":
            self.sources = map_of_stride(maps, 16), map_of_stride(maps, 32)
            fine, coarse = (maps[name].channels for name in self.sources)
            self.fuse = FusedMap(fine, coarse, settings.norm, settings.init)
        elif settings.source in maps:
            self.sources = (settings.source,)
        else:
            raise ValueError(
                f"the backbone has no map {settings.source!r}, only {', '.join(maps)}: choose "
                f"another source for the {self.name} map"
            )
        channels, stride = maps[self.sources[0]]
        self.conv = self.make_conv(channels, out_channels, settings)
        self.maps = {self.name: Map(out_channels, stride)}
        if self.fuse is not None:
            self.maps["fused"] = Map(channels, stride)

    def make_conv(self, in_channels: int, out_channels: int, settings) -> nn.Module:
        """From the source to the map."""
        return LargeSeparableConv(
            in_channels,
            settings.mid_channels,
            out_channels,
            settings.kernel_size,
            settings.norm,
            settings.init,
        )

    def forward(self, features: Mapping[str, nn.Tensor]) -> dict[str, nn.Tensor]:
        """Maps (N, C, H, W) by name -> those of ``maps``; "thin" is (N, out_channels, H, W)."""
        read = [features[name] for name in self.sources]
        if self.fuse is None:
            return {self.name: self.conv(read[0])}
        fused = self.fuse(*read)
        return {self.name: self.conv(fused), "fused": fused}


def _branch(in_channels, mid_channels, out_channels, first, second, norm, init) -> nn.Sequential:
    def padding(kernel):
        return kernel[0] // 2, kernel[1] // 2

    return nn.Sequential(
        init_hidden(
            nn.Conv2d(in_channels, mid_channels, first, padding=padding(first)),
            init,
            before_relu=False,
        ),
        init_hidden(
            nn.Conv2d(
                mid_channels, out_channels, second, padding=padding(second), bias=norm == "none"
            ),
            init,
        ),
    )
