"""Light-Head R-CNN: the two stages, their data, training and command line."""

from detector import boxes
from detector.detectors.compiled import CompiledDetector
from detector.detectors.light_head_rcnn import LightHeadRCNN
from detector.parts.anchors import AnchorGenerator

__all__ = ["AnchorGenerator", "CompiledDetector", "LightHeadRCNN", "boxes"]
