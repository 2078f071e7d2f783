"""Networks for classification, one file a family, and the way weights of others get into them.

``NETWORKS`` lists them all, by ``FAMILIES``; each is a function here too:
``nn.models.shufflenet_v2_x1_0()``.
"""

import sys
from types import ModuleType

from nn.models.loading import LoadReport, load_weights
from nn.models.network import IMAGENET, Map, Network, Preprocessing, map_of_stride
from nn.models.shufflenet_v2 import ShuffleNetV2, shufflenet_v2
from nn.table import Table

# A file of ``nn.models`` -> the networks in it.
FAMILIES = {
    "alexnet": ("alexnet", "alexnet_paper"),
    "vgg": (
        "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn",
    ),
    "vgg_reduced": ("vgg16_reduced",),
    "googlenet": ("googlenet", "googlenet_paper"),
    "bn_inception": ("bn_inception", "se_bn_inception", "inception_v2"),
    "inception_v3": ("inception_v3",),
    "inception_v4": ("inception_v4",),
    "inception_resnet": ("inception_resnet_v1", "inception_resnet_v2"),
    "xception": ("xception",),
    "xception_like": ("xception_like",),
    "resnet": (
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
        "resnet50_paper", "resnet101_paper", "resnet152_paper",
        "resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d",
    ),
    "senet": (
        "se_resnet50", "se_resnet101", "se_resnet152",
        "se_resnext50_32x4d", "se_resnext101_32x4d", "senet154",
    ),
    "densenet": ("densenet121", "densenet161", "densenet169", "densenet201", "densenet264"),
    "condensenet": ("condensenet74_c4", "condensenet74_c8"),
    "squeezenet": (
        "squeezenet1_0", "squeezenet1_1", "squeezenet1_0_simple", "squeezenet1_0_complex",
    ),
    "mobilenet_v1": (
        "mobilenet_v1", "mobilenet_v1_x0_75", "mobilenet_v1_x0_5", "mobilenet_v1_x0_25",
        "se_mobilenet_v1",
    ),
    "mobilenet_v2": ("mobilenet_v2", "mobilenet_v2_x1_4", "mobilenet_v2_x0_56"),
    "mobilenet_v3": (
        "mobilenet_v3_large", "mobilenet_v3_small",
        "mobilenet_v3_large_x0_75", "mobilenet_v3_small_x0_75",
    ),
    "shufflenet_v1": (
        "shufflenet_v1_g1", "shufflenet_v1_g2", "shufflenet_v1_g3", "shufflenet_v1_g4",
        "shufflenet_v1_g8", "shufflenet_v1_g3_x0_25", "shufflenet_v1_g3_x0_5",
        "shufflenet_v1_g3_x1_5", "shufflenet_v1_g3_x2_0",
        "se_shufflenet_v1_g3", "se_shufflenet_v1_g3_x2_0",
    ),
    "shufflenet_v2": (
        "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0",
        "shufflenet_v2_star_x0_5", "shufflenet_v2_star_x1_0",
        "shufflenet_v2_star_x1_5", "shufflenet_v2_star_x2_0", "se_shufflenet_v2_x2_0",
    ),
    "mnasnet": ("mnasnet_a1",),
    "nasnet": ("nasnet_a_mobile", "nasnet_a_large"),
    "efficientnet": (
        "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3",
        "efficientnet_b4", "efficientnet_b5", "efficientnet_b6", "efficientnet_b7",
    ),
    "efficientnet_lite": ("efficientnet_lite0",),
    "extraction": ("extraction",),
    "darknet19": ("darknet19",),
    "cr_nas": (
        "cr_resnet18", "cr_resnet50", "cr_resnet101", "scr_resnext50", "scr_resnext101",
        "cr_mobilenet_v2",
    ),
}  # fmt: skip

NETWORKS = Table(
    "network",
    {name: f"nn.models.{family}:{name}" for family, names in FAMILIES.items() for name in names},
)

__all__ = [
    "FAMILIES",
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
