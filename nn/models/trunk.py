"""Layers one after the other, some of which make the maps of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nn.module import Module, Sequential
from nn.tensor import Tensor


class Trunk(Sequential):
    """What torchvision keeps under the name ``features``, with the maps in between.

    Args:
        layers: in order, by their names or, if those are their numbers, in a list.
        taps: the name of a map -> the name or number of the layer whose output it is, in order.
    """

    def __init__(self, layers: Sequence[Module] | dict[str, Module], taps: Mapping[str, int | str]):
        super().__init__(*([layers] if isinstance(layers, dict) else layers))
        self.taps = {name: str(layer) for name, layer in taps.items()}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images (N, 3, H, W) -> the maps."""
        return maps_of(self.stages(), images)

    def stages(self) -> dict[str, Module]:
        """See ``Network.stages``."""
        return stages_of(dict(self.named_children()), self.taps)


def stages_of(layers: Mapping[str, Module], taps: Mapping[str, str]) -> dict[str, Module]:
    """``layers`` up to the last of ``taps``, cut behind each of those, by the names of the maps."""
    names, start, stages = list(layers), 0, {}
    for map_name, layer in taps.items():
        end = names.index(layer) + 1
        stages[map_name] = Sequential(*(layers[name] for name in names[start:end]))
        start = end
    return stages


def maps_of(stages: Mapping[str, Module], images: Tensor) -> dict[str, Tensor]:
    """Run ``stages`` one after the other; what each makes, by its name."""
    maps = {}
    for name, stage in stages.items():
        images = maps[name] = stage(images)
    return maps
