"""R-FCN's score maps: for each bin of a region and each class a map of its own.

What differs from ``thin_map``: one 1x1 convolution to fewer channels and another to 7 x 7 x
(classes + 4) of them (Dai et al. 2016, section 2), where the thin map has 490 whatever the number
of classes. Paper and code read the last stage of a ResNet at stride 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import nn
from detector.necks.thin_map import ThinMap
from detector.parts.layers import Init, Norm, init_hidden, init_output, make_norm
from detector.settings import Range, Settings


@dataclass(frozen=True)
class ScoreMapsSettings(Settings):
    """
    Attributes:
        source: which map they are made from, see ``ThinMapSettings``.
        channels: of the first convolution; 0 for none, where the source has few already.
        norm, init: of the first convolution, see ``detector.parts.layers``.
    """

    source: Literal["c4", "c5", "last", "fused"] = "c5"
    channels: Annotated[int, Range(0, 2**14)] = 1024
    norm: Norm = "none"
    init: Init = "gaussian"


class ScoreMaps(ThinMap):
    """
    Args:
        maps: of the backbone.
        out_channels: what the head's vote needs.
        settings: its numbers.

    Attributes:
        maps: of what it returns: "scores", and what it is made of if that is "fused".
    """

    name: ClassVar[str] = "scores"

    def make_conv(
        self, in_channels: int, out_channels: int, settings: ScoreMapsSettings
    ) -> nn.Sequential:
        reduce, channels = [], settings.channels
        if channels:
            conv = nn.Conv2d(in_channels, channels, 1, bias=settings.norm == "none")
            norm = make_norm(settings.norm, channels)
            reduce = [init_hidden(conv, settings.init), norm, nn.ReLU()]
        return nn.Sequential(
            *reduce, init_output(nn.Conv2d(channels or in_channels, out_channels, 1))
        )
