"""Three lines of Python: train, look at what came out, find things in a picture.

::

    run = detector.train("my-export", minutes=20)
    print(run.figures["AP50"])
    run.predict("photo.jpg")          # in a notebook: the picture with its boxes

The same functions as the command line's, so that a run begun here is gone on with there. Mistakes
are exceptions (``detector.errors.UserError``) with the line that the command would print.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detector.commands import train as command
from detector.datasets.images import read_image
from detector.detectors.compiled import CompiledDetector
from detector.errors import UserError
from detector.evaluation.drawing import draw_detections
from detector.evaluation.validation import measure
from detector.training.loading import LoadedDetector, load_detector
from detector.training.reports import report
from detector.training.run_folder import RunFolder
from detector.training.sessions import read_session, run_session
from nn.files import read_json


def train(
    data: str | os.PathLike,
    out: str | os.PathLike | None = None,
    *,
    minutes: float | None = None,
    preset: str | None = None,
    init_from: str | os.PathLike | None = None,
    seed: int = 0,
    **changes: Any,
) -> Run:
    """Train a detector; see ``lighthead train``.

    Args:
        data: a folder as annotation tools write it, a file in it that describes it, or "shapes".
        out: the folder of the run; None for ``runs/DATA-PRESET``. A run that is there is gone on
            with, to the same bits as if it had never stopped.
        minutes: how long; None for what the preset says.
        preset: "laptop" if nothing is said, "tiny" for the shapes.
        init_from: weights: a file, a run, "imagenet", or "none".
        seed: of all random choices.
        **changes: of single numbers, by their paths with double underscores for dots:
            ``steps__epochs=3``.

    Raises:
        UserError: something about the data, the options or the folder has to be mended.
    """
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    args = parser.parse_args([])
    args.data, args.minutes, args.preset, args.seed = os.fspath(data), minutes, preset, seed
    args.init_from = None if init_from is None else os.fspath(init_from)
    args.set = [f"{path.replace('__', '.')}={json.dumps(v)}" for path, v in changes.items()]
    place = RunFolder(out) if out is not None else None
    if place is not None and place.config.exists():
        session = read_session(place)
    else:
        session = command.new_session(args)
        place = place or RunFolder(command.default_out(session))
        if place.config.exists():
            session = read_session(place)
        else:
            place.create()
    with place.alone():
        run_session(session, place)
    return Run(place.path)


def load(path: str | os.PathLike) -> Run:
    """A trained detector: a run folder, or one of its checkpoints.

    Raises:
        UserError: there is none.
    """
    run = Run(Path(path))
    run.predictor  # noqa: B018  a mistake is found now, not at the first picture
    return run


class Run:
    """A trained detector, and the folder that holds it.

    Args:
        path: of the folder, or of a checkpoint.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    @cached_property
    def loaded(self) -> LoadedDetector:
        """The model, the names of its classes, its best score: see ``LoadedDetector``."""
        return load_detector(self.path)

    @cached_property
    def predictor(self) -> CompiledDetector:
        return CompiledDetector(self.loaded.model)

    @property
    def classes(self) -> list[str]:
        return self.loaded.classes

    @property
    def figures(self) -> dict[str, float | None]:
        """COCO's twelve figures on the pictures it was measured with, as ``FIGURES`` explains."""
        return read_json(RunFolder(self.path).evaluation)["figures"]

    def predict(self, image: str | os.PathLike | np.ndarray, score: float | None = None) -> Found:
        """What is in a picture.

        Args:
            image: a file, or (H, W, 3) uint8 RGB.
            score: the least to show; None for the best one.
        """
        pixels = image if isinstance(image, np.ndarray) else read_image(image)
        (found,) = self.predictor.predict([pixels])
        sure = found["scores"] >= self.loaded.least_score(score)
        return Found(
            pixels, found["boxes"][sure], found["scores"][sure], found["labels"][sure], self.classes
        )

    def report(self) -> Report:
        """What it gets wrong, as ``lighthead train`` leaves it in the run; else it is made now.

        Raises:
            UserError: the data of the run are not where they were, or the page cannot be written.
        """
        folder = RunFolder(self.loaded.path.parent)
        if not folder.report.exists():
            val = read_session(folder).objective().val
            report(folder.report, self.loaded, val, *measure(self.predictor, val))
        return Report(folder.report)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


@dataclass(frozen=True)
class Report:
    """A page that a browser opens, and a notebook shows."""

    path: Path

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" style="width: 100%; height: 80vh; border: 0"></iframe>'


@dataclass(frozen=True, repr=False)
class Found:
    """What was found in a picture; a notebook shows it drawn.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (R, 4) float32 corners x1, y1, x2, y2 in its pixels, the surest first.
        scores: (R,) float32 in 0..1.
        labels: (R,) int64, from 1.
        classes: names; label k means ``classes[k - 1]``.
    """

    image: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    classes: Sequence[str]

    @property
    def names(self) -> list[str]:
        """The class of each box."""
        return [self.classes[label - 1] for label in self.labels]

    def picture(self) -> np.ndarray:
        """The picture with its boxes drawn in, (H, W, 3) uint8."""
        return draw_detections(self.image, self.boxes, self.labels, self.scores, self.classes)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        listed = ", ".join(f"{n} {s:.2f}" for n, s in zip(self.names, self.scores, strict=True))
        return f"Found({listed})"

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        Image.fromarray(self.picture()).save(file, "PNG")
        return file.getvalue()


__all__ = ["Found", "Report", "Run", "UserError", "load", "train"]
