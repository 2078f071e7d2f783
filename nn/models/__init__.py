"""Networks for classification, one file a family, and the way weights of others get into them.

``NETWORKS`` lists them all; each is a function here too: ``nn.models.shufflenet_v2_x1_0()``.
"""

import sys
from types import ModuleType

from nn.models.loading import LoadReport, load_weights
from nn.models.network import IMAGENET, Map, Network, Preprocessing, map_of_stride
from nn.models.shufflenet_v2 import ShuffleNetV2, shufflenet_v2
from nn.table import Table

NETWORKS = Table(
    "network",
    {
        "mobilenet_v2": "nn.models.mobilenet_v2:mobilenet_v2",
        "mobilenet_v2_x1_4": "nn.models.mobilenet_v2:mobilenet_v2_x1_4",
        "resnet18": "nn.models.resnet:resnet18",
        "resnet34": "nn.models.resnet:resnet34",
        "resnet50": "nn.models.resnet:resnet50",
        "shufflenet_v2_x0_5": "nn.models.shufflenet_v2:shufflenet_v2_x0_5",
        "shufflenet_v2_x1_0": "nn.models.shufflenet_v2:shufflenet_v2_x1_0",
        "shufflenet_v2_x1_5": "nn.models.shufflenet_v2:shufflenet_v2_x1_5",
        "shufflenet_v2_x2_0": "nn.models.shufflenet_v2:shufflenet_v2_x2_0",
        "shufflenet_v2_star_x0_5": "nn.models.shufflenet_v2:shufflenet_v2_star_x0_5",
        "shufflenet_v2_star_x1_0": "nn.models.shufflenet_v2:shufflenet_v2_star_x1_0",
        "shufflenet_v2_star_x1_5": "nn.models.shufflenet_v2:shufflenet_v2_star_x1_5",
        "shufflenet_v2_star_x2_0": "nn.models.shufflenet_v2:shufflenet_v2_star_x2_0",
    },
)

__all__ = [
    "IMAGENET",
    "NETWORKS",
    "LoadReport",
    "Map",
    "Network",
    "Preprocessing",
    "ShuffleNetV2",
    "load_weights",
    "map_of_stride",
    "shufflenet_v2",
]


def __getattr__(name: str):
    """Every row of ``NETWORKS``, imported when asked for."""
    if name in NETWORKS:
        return NETWORKS[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(ModuleType):
    """Importing the file ``mobilenet_v2.py`` would put it in the place of the row of that name."""

    def __setattr__(self, name: str, value) -> None:
        if not (name in NETWORKS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
