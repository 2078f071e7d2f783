"""A network's layers in one line, as torchvision keeps them under the name ``features``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nn.module import Module, Sequential
from nn.tensor import Tensor


class Trunk(Sequential):
    """Layers one after the other, some of which make the maps that it returns.

    Args:
        layers: in order; their names are their numbers.
        taps: the name of a map -> the number of the layer whose output it is, in order.
    """

    def __init__(self, layers: Sequence[Module], taps: Mapping[str, int]):
        super().__init__(*layers)
        self.taps = dict(taps)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (N, 3, H, W) -> the maps."""
        layers, start, maps = list(self), 0, {}
        for name, number in self.taps.items():
            images = maps[name] = Sequential(*layers[start : number + 1])(images)
            start = number + 1
        return maps
