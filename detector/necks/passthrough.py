"""YOLO v2's one map: coarse, but with what the finer map knows of each of its cells' quarters.

    c5 --> 3x3 --> 3x3 ----------------------+--> 3x3 -->
    c4 --> 1x1 --> four cells become one ----+

Four neighbouring cells of the map of stride 16, one after the other, become the channels of one
cell of stride 32 (Redmon and Farhadi, "YOLO9000", CVPR 2017, section 2, "fine-grained features").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import nn
from detector.parts.layers import init_hidden
from detector.settings import Channels, Settings
from nn import functional as F
from nn.models import Map, map_of_stride

SLOPE = 0.1  # of the leaky ReLU


@dataclass(frozen=True)
class PassthroughSettings(Settings):
    """
    Attributes:
        channels: of the 3x3 convolutions.
        fine_channels: of the map of stride 16 before four of its cells become one.
    """

    channels: Channels = 1024
    fine_channels: Channels = 64


class Passthrough(nn.Module):
    """
    Args:
        maps: of the backbone, with strides 16 and 32.
        settings: its numbers.

    Attributes:
        maps: of what it returns: "joined", of stride 32.

    Raises:
        ValueError: the backbone does not have the maps.
    """

    def __init__(
        self, maps: Mapping[str, Map], settings: PassthroughSettings = PassthroughSettings()
    ):
        super().__init__()
        self.fine, self.coarse = map_of_stride(maps, 16), map_of_stride(maps, 32)
        C, fine = settings.channels, settings.fine_channels
        self.deepen = nn.Sequential(*unit(maps[self.coarse].channels, C, 3), *unit(C, C, 3))
        self.lateral = nn.Sequential(*unit(maps[self.fine].channels, fine, 1))
        self.join = nn.Sequential(*unit(4 * fine + C, C, 3))
        self.maps = {"joined": Map(C, 32)}

    def forward(self, features: Mapping[str, nn.Tensor]) -> dict[str, nn.Tensor]:
        """Maps (N, C, H, W) by name -> "joined"."""
        fine = four_to_one(self.lateral(features[self.fine]))
        coarse = self.deepen(features[self.coarse])
        return {"joined": self.join(F.cat([fine, coarse], 1))}


def unit(in_channels: int, out_channels: int, kernel_size: int) -> list[nn.Module]:
    """A convolution that keeps the size, batch norm, leaky ReLU."""
    padding = kernel_size // 2
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=False)
    return [init_hidden(conv, "he"), nn.BatchNorm2d(out_channels), nn.LeakyReLU(SLOPE)]


def four_to_one(fine: nn.Tensor) -> nn.Tensor:
    """(N, C, 2 H, 2 W) -> (N, 4 C, H, W): each quarter of the cells is C channels."""
    quarters = [fine[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return F.cat(quarters, 1)
