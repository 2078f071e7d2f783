"""An experiment: detectors that are compared, each trained alike with several seeds.

Every training is an ordinary run folder, ``OUT/ROW/seed-N``, which ``lighthead evaluate``,
``detect`` and ``dissect`` take. Within a seed all rows see the same pictures. A run is measured
once, after its last iteration: none is chosen by its result.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from detector.detectors import DETECTORS
from detector.detectors.detector import Detector
from detector.errors import MALFORMED, UserError
from detector.interruption import Interrupted
from detector.progress import tell
from detector.training.presets import FROM_RANDOM_WEIGHTS, preset
from detector.training.recipe import Recipe
from detector.training.run_folder import RunFolder
from detector.training.sessions import Session, run_session
from nn.files import read_json

LIGHT_HEAD = "light-head-rcnn"
CLASSES = 80  # COCO's, for what a detector costs
FIGURES = ("AP", "AP50")
CROPS = 3  # iterations on crops for one on pictures, which takes about four times as long


@dataclass(frozen=True)
class Row:
    """A detector of a table.

    Attributes:
        name: its folder, and what the picture calls it.
        model, network: what the table calls the detector and its backbone.
        backbone: a name in ``NETWORKS``.
        learner: the backbone with which it is trained here; None: the same.
        detector: a name in ``DETECTORS``.
        size: (height, width) of the pictures that it is timed with.
        settings: of the detector when it is timed, where they are not its defaults.
        fps, mmap: what was published, frames a second and percent; None: nothing was.
    """

    name: str
    model: str
    network: str
    backbone: str
    learner: str | None = None
    detector: str = LIGHT_HEAD
    size: tuple[int, int] = (800, 1200)
    settings: Mapping[str, Any] = field(default_factory=dict)
    fps: float | None = None
    mmap: float | None = None

    def build(self) -> Detector:
        """The detector at the size that it is timed at, for COCO's classes."""
        image = {"short_side": min(self.size), "max_side": max(self.size)}
        settings = {"image": image, **self.settings}
        return DETECTORS[self.detector](CLASSES, backbone=self.backbone, **settings)


@dataclass(frozen=True)
class Experiment:
    """
    Attributes:
        title: over the table and the picture.
        rows: what is compared, in the order of the table.
        is_timed: whether the detectors are timed; if not, what counts is what their backbones do
            as classifiers.
        iterations: of a training, if nothing else is asked for.
        source: where the published figures are from.
    """

    title: str
    rows: tuple[Row, ...]
    is_timed: bool
    iterations: int
    source: str = ""


@dataclass(frozen=True)
class Plan:
    """What is trained: each row with each seed.

    Attributes:
        session: the data; its recipe and seed do not count.
        preset: the light head's recipe; those of the other detectors are made of it.
        iterations: of each training.
    """

    session: Session
    preset: str
    iterations: int
    seeds: Sequence[int]

    def session_of(self, row: Row, seed: int) -> Session:
        """The options of one training."""
        recipe = recipe_of(row, self.preset, self.iterations)
        return replace(self.session, preset=preset_of(row, self.preset), seed=seed, recipe=recipe)

    def as_dict(self) -> dict:
        """As JSON keeps it."""
        session = {**self.session.as_dict(), "seed": None}
        own = {"preset": self.preset, "iterations": self.iterations, "seeds": list(self.seeds)}
        return {**own, "session": session}


def preset_of(row: Row, name: str) -> str:
    """The detector's own form of ``tiny`` or ``laptop``; see ``training.one_stage_presets``.

    Raises:
        UserError: there is none of any other preset, or it is not one of the light head's.
    """
    own = preset(name).detector
    if own != LIGHT_HEAD:
        raise UserError(
            f"the preset {name} is for {own}: choose one of {LIGHT_HEAD}'s, as tiny or laptop; "
            "those of the other detectors are made of it"
        )
    if row.detector == LIGHT_HEAD:
        return name
    own = {"tiny": f"{row.detector}-tiny", "laptop": row.detector}
    if name not in own:
        raise UserError(f"{row.detector} has no preset like {name}: choose tiny or laptop")
    return own[name]


def recipe_of(row: Row, name: str, iterations: int) -> Recipe:
    """The recipe of a preset for a row: from random weights, after ``CROPS`` times as many
    iterations on crops, where the preset has lessons on them; and measured at the end only.

    Raises:
        UserError: there is no such preset.
    """
    name = preset_of(row, name)
    recipe = preset(name).updated(FROM_RANDOM_WEIGHTS.get(name, {}))
    recipe = recipe.changed("model.backbone", row.learner or row.backbone)
    if recipe.crops.iterations:
        recipe = recipe.changed("crops.iterations", CROPS * iterations)
    length = {"epochs": 10**6, "evaluate_every": 10**6, "least_iterations": 0}
    return recipe.updated({"steps": {**length, "most_iterations": iterations}})


def folder_of(out: Path, row: Row, seed: int) -> RunFolder:
    return RunFolder(out / row.name / f"seed-{seed}")


def train_all(experiment: Experiment, plan: Plan, out: Path) -> Iterator[None]:
    """Do all trainings that are not done yet; seed by seed, so that what is there can be compared.

    Yields after each.

    Raises:
        UserError: see ``run_session``.
        Interrupted: everything is saved.
    """
    runs = [(row, seed) for seed in plan.seeds for row in experiment.rows]
    for number, (row, seed) in enumerate(runs, 1):
        run = folder_of(out, row, seed)
        if run.evaluation.exists():
            continue
        session = plan.session_of(row, seed)
        if not run.last.exists():
            run.path.mkdir(parents=True, exist_ok=True)
        try:
            with run.alone(), contextlib.redirect_stdout(io.StringIO()):
                run_session(session, run)
        except Interrupted:
            raise Interrupted("stopped and saved; the same command goes on") from None
        except UserError as error:
            raise UserError(f"{row.name}, seed {seed}: {error}") from error
        figures = read_json(run.evaluation)["figures"]
        found = ", ".join(f"{name} {figures[name] or 0.0:.3f}" for name in FIGURES)
        tell(f"{number} of {len(runs)}: {row.name}, seed {seed}: {found}", sys.stdout)
        yield


def results(experiment: Experiment, plan: Plan, out: Path) -> dict[str, dict[str, list[float]]]:
    """Of each row, each figure in percent, one for each seed that is done.

    Raises:
        UserError: a run's figures are damaged.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for row in experiment.rows:
        paths = [folder_of(out, row, seed).evaluation for seed in plan.seeds]
        done = [figures_of(path) for path in paths if path.exists()]
        found[row.name] = {name: [figures[name] for figures in done] for name in FIGURES}
    return found


def figures_of(path: Path) -> dict[str, float]:
    """``FIGURES`` of an ``evaluation.json``, in percent."""
    try:
        figures = read_json(path)["figures"]
        return {name: 100 * float(figures[name] or 0.0) for name in FIGURES}
    except MALFORMED as error:
        raise UserError(
            f"{path} is damaged ({error}): remove it, and the same command measures again"
        ) from error
