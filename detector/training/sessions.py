"""A training run from its options to its results; ``train`` and ``demo`` are two ways to start one.

``Session`` holds a run's options and stands in its ``config.json``, so that a run can be resumed
with nothing but the name of its folder. ``run_session`` opens the data, builds the model, trains
and leaves everything in the run folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from detector.datasets import splits
from detector.datasets.layout import WITHOUT_VAL, find_split
from detector.errors import MALFORMED, UserError
from detector.settings import Count, Range, Settings, shown
from detector.training import checkpoints, version_0_1
from detector.training.curves import draw_curves
from detector.training.estimate import fit_to_minutes
from detector.training.live_curves import LiveCurves
from detector.training.objectives import OBJECTIVES
from detector.training.objectives.objective import Objective
from detector.training.recipe import Recipe
from detector.training.run_folder import RunFolder
from detector.training.trainer import Trainer
from nn.printable import printable


@dataclass(frozen=True)
class Session(Settings):
    """The options of a run, as its ``config.json`` holds them.

    Attributes:
        task: a name in ``OBJECTIVES``.
        data, train, val, classes, limit: which pictures; ``val`` None means that the training
            pictures are validated on.
        strict: refuse pictures that are missing or damaged, instead of leaving them out.
        preset: the name the recipe came from.
        init_from: weights to start from: a file, a run, or "imagenet" for the published ones.
        seed: of all random choices.
        minutes: for all of it: when it begins, the recipe is fitted to them.
        recipe: of the class that the objective names.
    """

    task: str = "detection"
    data: str = ""
    train: str = "train"
    val: str | None = None
    classes: tuple[str, ...] | None = None
    limit: Count | None = None
    strict: bool = False
    preset: str = ""
    init_from: str | None = None
    seed: Annotated[int, Range(0, 2**64 - 1)] = 0
    minutes: Annotated[float, Range(1e-3, 60 * 24 * 365)] | None = None
    recipe: Settings = Recipe()

    def __post_init__(self):
        super().__post_init__()
        for name in ("data", "train", "val", "init_from"):
            place = getattr(self, name) or ""
            if "\0" in place or not _is_encodable(place):
                raise ValueError(f"{name} can be no file's name: {shown(place)}")

    @classmethod
    def from_dict(cls, values: Any) -> Session:
        """What ``as_dict`` returned, also after a way through JSON, also of version 0.1.

        Raises:
            ValueError: it is something else.
        """
        values = version_0_1.session(values)
        if not isinstance(values, Mapping):
            raise ValueError("it must hold the options of a run by name")
        return cls.of(values)

    def updated(self, values: Mapping[str, Any]) -> Session:
        """See ``Settings``. Another task brings its own recipe."""
        task = values.get("task", self.task)
        if task not in OBJECTIVES:
            raise ValueError(OBJECTIVES.complaint(task))
        base = self
        if task != self.task:
            base = replace(self, task=task, recipe=OBJECTIVES[task].Recipe())
        return Settings.updated(base, values)

    def objective(self, begun: dict | None = None) -> Objective:
        """What is learned.

        Args:
            begun: what it said of itself when the training began, if it did.
        """
        return OBJECTIVES[self.task](self, begun)


def _is_encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


def read_session(run: RunFolder) -> Session:
    """The session of a run.

    Raises:
        UserError: there is none, or it is damaged.
    """
    values = run.read_config()
    try:
        return Session.from_dict(values)
    except MALFORMED as error:
        raise UserError(f"{run.config} holds no options of a run ({error})") from error


def run_session(session: Session, run: RunFolder) -> dict[str, float | None]:
    """Train, or go on training, and leave the results in the run folder.

    Returns:
        the figures of the best weights.

    Raises:
        UserError: something about the data, the weights or the folder has to be mended.
        NonFiniteError, Interrupted: see ``Trainer.fit``.
    """
    tree = checkpoints.read(run.last, session.task) if run.last.exists() else None
    objective = session.objective(tree and tree["about"])
    if session.minutes is not None and not run.config.exists():
        session = fit_to_minutes(objective)
    if tree is None:
        trainer = Trainer(objective, session.recipe.steps, run, session.seed)
    else:
        with checkpoints.understood(run.last):
            trainer = Trainer(objective, session.recipe.steps, run, session.seed)
            trainer.resume(tree)
    # Only now: a run that the data or the weights forbade leaves an empty folder behind.
    if not run.config.exists() or read_session(run) != session:
        run.write_config(session.as_dict())
    announce(objective, trainer)
    trainer.after_step = live = LiveCurves(run, objective.figures)
    try:
        trainer.fit()
    finally:
        draw_curves(run.metrics, run.curves, objective.figures)
        live.show()
    return objective.conclude(run)


def choose_splits(data: str, train: str | None, val: str | None) -> tuple[str, str | None]:
    """The full names of both splits; None if there is none to validate on.

    An only split is the one to learn from, whatever it is called. Where there is none to validate
    on, a fifth of the pictures is set aside, unless they are very few (``FEWEST``).

    Raises:
        UserError: the data set does not have the split, or nothing says which one is meant.
    """
    known = splits(data, with_set_aside=True)
    only = known[0] if len(splits(data)) == 1 else "train"
    train = find_split(train or only, known, data, "--train")
    if val is None and not any(name.startswith("val") for name in known):
        return train, None
    if val is None and train + WITHOUT_VAL in known:
        train += WITHOUT_VAL
    return train, find_split(val or "val", known, data, "--val")


def announce(objective: Objective, trainer: Trainer) -> None:
    """What is about to happen, in a few lines."""
    steps = trainer.steps
    for line in objective.announce():
        print(printable(line))
    print(
        f"{trainer.iterations / trainer.batches_per_epoch:.4g} epochs of "
        f"{trainer.batches_per_epoch} iterations of {steps.batch} pictures, learning rate up to "
        f"{steps.lr:.4g} ({steps.schedule})"
    )
    if trainer.position.iteration:
        print(
            f"going on after iteration {trainer.position.iteration} of {trainer.iterations} "
            f"at the learning rate {trainer.learning_rate(trainer.position.iteration):.4g}"
        )
    print(f"everything goes to {trainer.run.path}", flush=True)
