"""Networks for classification, one file a family, and the way weights of others get into them."""

from nn.models.shufflenet_v2 import IMAGENET, Preprocessing, ShuffleNetV2, shufflenet_v2
from nn.models.shufflenet_v2_weights import LoadReport, load_weights

__all__ = [
    "IMAGENET",
    "LoadReport",
    "Preprocessing",
    "ShuffleNetV2",
    "load_weights",
    "shufflenet_v2",
]
