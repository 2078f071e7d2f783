"""Light-Head R-CNN: the two stages, their data, training and command line.

``detector.train(data)`` and ``detector.load(path)`` are all that most programs need (``runs.py``).
"""

from typing import TYPE_CHECKING

from detector import boxes
from detector.detectors.compiled import CompiledDetector
from detector.detectors.light_head_rcnn import LightHeadRCNN
from detector.parts.anchors import AnchorGenerator

if TYPE_CHECKING:  # so that editors know them too
    from detector.runs import load, train

__all__ = ["AnchorGenerator", "CompiledDetector", "LightHeadRCNN", "boxes", "load", "train"]


def __getattr__(name: str):
    """``train`` and ``load`` when they are asked for: they need all of the package, whose every
    module imports this one first."""
    if name not in ("load", "train"):
        raise AttributeError(f"module 'detector' has no attribute {name!r}")
    from detector import runs

    return getattr(runs, name)
