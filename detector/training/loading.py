"""A trained detector from its file, ready for use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from detector.detectors import DETECTORS
from detector.detectors.detector import Detector
from detector.evaluation.threshold import DEFAULT_SCORE
from detector.training import checkpoints
from detector.training.run_folder import RunFolder
from nn import checkpoint


@dataclass(frozen=True)
class LoadedDetector:
    """A model in evaluation mode, and what its labels mean: label k is ``classes[k - 1]``.

    ``score`` is where F1 was highest on the pictures it was measured with, ``learned_from`` the
    digest of those it learned from (see ``Dataset``); None if that is not known.
    """

    model: Detector
    classes: list[str]
    category_ids: list[int]
    path: Path
    score: float | None = None
    learned_from: str | None = None

    def least_score(self, wanted: float | None = None) -> float:
        """From which score on a detection is worth showing, if nothing else is ``wanted``."""
        return next(s for s in (wanted, self.score, DEFAULT_SCORE) if s is not None)


def load_detector(path: str | os.PathLike) -> LoadedDetector:
    """Build the detector of a checkpoint, or of a run folder (its best weights, else its last).

    Raises:
        UserError: there is no checkpoint, or it cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        path = RunFolder(path).best_or_last()
    tree = checkpoints.read(path)
    about = tree["about"]
    with checkpoints.understood(path):
        model = DETECTORS[about["detector"]](**about["config"])
        classes, category_ids = names_of(about, model.num_classes)
        score = score_of(about)
    checkpoints.restore(model, tree, path)
    model.eval()
    return LoadedDetector(model, classes, category_ids, path, score, about.get("digest"))


def score_of(about: dict) -> float | None:
    """The stored score.

    Raises:
        ValueError: it is no number from 0 to 1.
    """
    score = about.get("score")
    if score is not None and not (isinstance(score, float) and 0 <= score <= 1):
        raise ValueError(f"the best score must be from 0 to 1, not {score}")
    return score


def keep_score(path: Path, score: float) -> None:
    """Write the best score into a checkpoint, which stays as it is otherwise."""
    tree = checkpoints.read(path)
    checkpoint.save(path, {**tree, "about": {**tree["about"], "score": score}})


def names_of(about: dict, num_classes: int) -> tuple[list[str], list[int]]:
    """The names and category ids of a detector's classes.

    Raises:
        ValueError: they are not as many as the detector has classes, or something else.
    """
    classes, ids = list(about["classes"]), list(about["category_ids"])
    if not len(classes) == len(ids) == num_classes:
        raise ValueError(f"{num_classes} classes, but {len(classes)} names and {len(ids)} ids")
    if not all(isinstance(name, str) for name in classes):
        raise ValueError("a class name is no text")
    if not all(type(number) is int and abs(number) < 2**63 for number in ids):
        raise ValueError("a category id is no whole number")
    return classes, ids
