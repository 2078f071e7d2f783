"""Light-Head R-CNN on ShuffleNet v2: the two stages, their data, training and command line."""

from detector import boxes
from detector.anchors import AnchorGenerator
from detector.compiled import CompiledDetector
from detector.light_head_rcnn import LightHeadRCNN

__all__ = ["AnchorGenerator", "CompiledDetector", "LightHeadRCNN", "boxes"]
