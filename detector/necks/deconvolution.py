"""DSSD's way back up: every map multiplied by the next coarser one, made twice as large.

    coarse --> deconvolution --> 3x3, norm --------------+
                                                         x --> ReLU --> next
    fine ----> 3x3, norm, ReLU --> 3x3, norm ------------+

A feature pyramid adds where this multiplies. Each map then goes through a residual block, so that
the head's convolutions do not have to do both: find features and predict from them (Fu et al.,
"DSSD: Deconvolutional Single Shot Detector", 2017, figures 2c and 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import nn
from detector.necks.extra_maps import ExtraMaps, ExtraMapsSettings
from detector.parts.layers import init_hidden
from detector.settings import Channels
from nn import functional as F
from nn.models import Map


@dataclass(frozen=True)
class DeconvolutionSettings(ExtraMapsSettings):
    """
    Attributes:
        joined_channels: of every map on the way up.
        predicted_channels: of every map behind its residual block, in which there are a quarter as
            many.
    """

    joined_channels: Channels = 512
    predicted_channels: Channels = 1024


class DeconvolutionModule(nn.Module):
    """
    Args:
        fine_channels, coarse_channels: of the two maps.
        out_channels: of their product.
    """

    def __init__(self, fine_channels: int, coarse_channels: int, out_channels: int):
        super().__init__()
        C = out_channels
        self.enlarge = init_hidden(nn.ConvTranspose2d(coarse_channels, C, 2, 2), "he", False)
        self.coarse = nn.Sequential(*normed(C, C, 3))
        self.fine = nn.Sequential(*normed(fine_channels, C, 3), nn.ReLU(), *normed(C, C, 3))

    def forward(self, fine: nn.Tensor, coarse: nn.Tensor) -> nn.Tensor:
        """(N, C, H, W) and the map half as large, rounded up -> (N, out_channels, H, W)."""
        H, W = fine.shape[2:]
        enlarged = self.enlarge(coarse)
        if enlarged.shape[2:] != (H, W):
            enlarged = enlarged[:, :, :H, :W]
        return F.relu(self.fine(fine) * self.coarse(enlarged))


class PredictionModule(nn.Module):
    """A residual block: 1x1, 1x1, 1x1 beside a 1x1 convolution.

    Args:
        in_channels, out_channels: of the map before and behind.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        narrow = max(out_channels // 4, 1)
        self.residual = nn.Sequential(
            *normed(in_channels, narrow, 1), nn.ReLU(),
            *normed(narrow, narrow, 1), nn.ReLU(),
            *normed(narrow, out_channels, 1),
        )  # fmt: skip
        self.shortcut = nn.Sequential(*normed(in_channels, out_channels, 1))

    def forward(self, input: nn.Tensor) -> nn.Tensor:
        """(N, C, H, W) -> (N, out_channels, H, W)."""
        return F.relu(self.shortcut(input) + self.residual(input))


class DeconvolutionMaps(nn.Module):
    """
    Args:
        maps: of the backbone.
        settings: its numbers.

    Attributes:
        maps: of what it returns: those of ``ExtraMaps``, all of the same channels.

    Raises:
        ValueError: the backbone does not have the maps.
    """

    def __init__(
        self, maps: Mapping[str, Map], settings: DeconvolutionSettings = DeconvolutionSettings()
    ):
        super().__init__()
        if settings.unpadded:
            raise ValueError("neck.unpadded must be 0: what is doubled must have been halved")
        self.down, C = ExtraMaps(maps, settings), settings.joined_channels
        channels = [channels for channels, _ in self.down.maps.values()]
        coarser = [*[C] * (len(channels) - 2), channels[-1]]
        self.up = nn.ModuleList(
            DeconvolutionModule(fine, coarse, C)
            for fine, coarse in zip(channels[:-1], coarser, strict=True)
        )
        sources = [*[C] * (len(channels) - 1), channels[-1]]
        self.predict = nn.ModuleList(
            PredictionModule(source, settings.predicted_channels) for source in sources
        )
        self.maps = {
            name: Map(settings.predicted_channels, stride)
            for name, (_, stride) in self.down.maps.items()
        }

    def forward(self, features: Mapping[str, nn.Tensor]) -> dict[str, nn.Tensor]:
        """Maps (N, C, H, W) by name -> those of ``maps``."""
        down = list(self.down(features).values())
        joined = down[-1:]  # coarsest first
        for module, fine in zip(reversed(list(self.up)), down[-2::-1], strict=True):
            joined.append(module(fine, joined[-1]))
        predicted = [module(x) for module, x in zip(self.predict, joined[::-1], strict=True)]
        return dict(zip(self.maps, predicted, strict=True))


def normed(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    """A convolution that keeps the size, and batch norm."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    return [init_hidden(conv, "he"), nn.BatchNorm2d(out_channels)]
