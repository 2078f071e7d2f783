"""A trained detector from its file, ready for use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from detector.detectors.light_head_rcnn import LightHeadRCNN
from detector.errors import UserError
from detector.training import checkpoints
from detector.training.run_folder import RunFolder


@dataclass(frozen=True)
class LoadedDetector:
    """A model in evaluation mode, and what its labels mean: label k is ``classes[k - 1]``."""

    model: LightHeadRCNN
    classes: list[str]
    category_ids: list[int]
    path: Path


def load_detector(path: str | os.PathLike) -> LoadedDetector:
    """Build the detector of a checkpoint, or of a run folder (its best weights, else its last).

    Raises:
        UserError: there is no checkpoint, or it cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        path = RunFolder(path).best_or_last()
    tree = checkpoints.read(path)
    detector = tree["detector"]
    try:
        model = LightHeadRCNN(**detector["config"])
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is of another version of the detector: {error}") from error
    checkpoints.restore(model, tree, path)
    model.eval()
    return LoadedDetector(model, detector["classes"], detector["category_ids"], path)
