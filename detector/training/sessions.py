"""A training run from its options to its results; ``train`` and ``demo`` are two ways to start one.

``Session`` holds a run's options and stands in its ``config.json``, so that a run can be resumed
with nothing but the name of its folder. ``run_session`` opens the data, builds the detector, trains
and leaves everything in the run folder.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import nn
from detector.datasets import Dataset, Loader, TrainTransform, open_dataset, splits
from detector.datasets.layout import find_split
from detector.datasets.learnable import learning_line, measuring_line, require_boxes
from detector.datasets.problems import warning
from detector.datasets.statistics import network_boxes
from detector.detectors.compiled import CompiledDetector
from detector.detectors.light_head_rcnn import LightHeadRCNN
from detector.errors import UserError
from detector.evaluation.figures import Evaluation
from detector.evaluation.fonts import legend
from detector.evaluation.validation import measure, write_examples
from detector.parts.anchor_fitting import spread_anchors
from detector.training import checkpoints
from detector.training.curves import draw_curves
from detector.training.initial_weights import load_initial_weights
from detector.training.loading import load_detector
from detector.training.presets import Recipe
from detector.training.pretraining import pretrain_backbone
from detector.training.run_folder import RunFolder
from detector.training.trainer import Trainer
from nn.files import write_json

EXAMPLE_PICTURES = 12


@dataclass(frozen=True)
class Session:
    """The options of a run, as its ``config.json`` holds them.

    ``data``, ``train``, ``val``, ``classes`` and ``limit`` say which pictures; ``val`` None means
    that the training pictures are validated on. ``preset`` is the name ``recipe`` came from.
    """

    data: str
    train: str
    val: str | None
    classes: list[str] | None
    limit: int | None
    preset: str
    init_from: str | None
    seed: int
    recipe: Recipe

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> Session:
        return cls(**{**values, "recipe": Recipe.from_dict(values["recipe"])})


def run_session(session: Session, run: RunFolder) -> Evaluation:
    """Train, or go on training, and leave the results in the run folder.

    Raises:
        UserError: something about the data, the weights or the folder has to be mended.
        NonFiniteError, Interrupted: see ``Trainer.fit``.
    """
    train, val = open_splits(session)
    model = build_model(session, train)
    loader = build_loader(session, train)
    if not run.config.exists():
        # Only now: a run that the data or the weights forbade leaves an empty folder behind.
        run.write_config(session.as_dict())
    trainer = Trainer(
        model,
        session.recipe,
        loader.epoch,
        len(loader),
        run,
        session.seed,
        checkpoints.describe(model, train),
        validate=validation(model, val),
        name_image=lambda index: str(train.images[index].path),
        prepare=preparation(session, model, train),
    )
    if run.last.exists():
        trainer.resume()
    announce(session, train, val, trainer)
    try:
        trainer.fit()
    finally:
        draw_curves(run.metrics, run.curves)
    return conclude(run, val)


def choose_splits(data: str, train: str | None, val: str | None) -> tuple[str, str | None]:
    """The full names of both splits; None if there is none to validate on.

    An only split is the one to learn from, whatever it is called.

    Raises:
        UserError: the data set does not have the split, or nothing says which one is meant.
    """
    known = splits(data)
    only = known[0] if len(known) == 1 else "train"
    train = find_split(train or only, known, data, "--train")
    if val is None and not any(name.startswith("val") for name in known):
        return train, None
    return train, find_split(val or "val", known, data, "--val")


def open_splits(session: Session) -> tuple[Dataset, Dataset]:
    """The data sets to learn from and to measure with; without a split for that, the same.

    Raises:
        UserError: there is a mistake in the data, or no box to learn from.
    """
    train = open_dataset(session.data, session.train, session.classes, session.limit)
    sides = session.recipe.short_side, session.recipe.max_side
    require_boxes(train, session.train, *sides, session.classes, session.limit)
    if session.val is None or session.val == session.train:
        return train, train
    return train, open_dataset(session.data, session.val, train.classes, with_others=True)


def build_model(session: Session, train: Dataset) -> LightHeadRCNN:
    """The detector as it is before the first iteration: a function of the session and the data."""
    recipe = session.recipe
    options = dict(recipe.model)
    if recipe.fit_anchors is not None:
        boxes = network_boxes(train, recipe.short_side, recipe.max_side)
        options["anchor_shapes"] = spread_anchors(boxes.widths_heights, *recipe.fit_anchors)
    nn.manual_seed(session.seed)
    try:
        model = LightHeadRCNN(
            len(train.classes),
            recipe.backbone,
            recipe.setting,
            **{"short_side": recipe.short_side, "max_side": recipe.max_side, **options},
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    if session.init_from is not None:
        print(load_initial_weights(model, session.init_from))
        model.freeze(recipe.frozen_stages >= 1, recipe.frozen_stages >= 2, recipe.frozen_batch_norm)
    return model


def preparation(session: Session, model: LightHeadRCNN, train: Dataset):
    """``prepare(check)`` for the trainer, or None where the backbone needs no lessons."""
    recipe = session.recipe
    if recipe.crop_iterations == 0 or session.init_from is not None:
        return None
    return lambda check: pretrain_backbone(model, train, recipe, session.seed, check)


def build_loader(session: Session, train: Dataset) -> Loader:
    """The batches of every epoch."""
    recipe = session.recipe
    transform = TrainTransform(
        recipe.short_sides,
        recipe.max_side,
        recipe.horizontal_flip,
        recipe.vertical_flip,
        recipe.colour_jitter,
    )
    return Loader(train, transform, recipe.batch, session.seed)


def validation(model: LightHeadRCNN, val: Dataset):
    """``validate(check)`` for the trainer: average precision and that at IoU 0.5."""

    def validate(check) -> tuple[float, float]:
        compiled = CompiledDetector(model)
        evaluation, _ = measure(compiled, val, title="validating", check=check)
        return evaluation.figures["AP"] or 0.0, evaluation.figures["AP50"] or 0.0

    return validate


def announce(session: Session, train: Dataset, val: Dataset, trainer: Trainer) -> None:
    """What is about to happen, in a few lines."""
    recipe = trainer.recipe
    parameters = sum(p.data.size for p in trainer.model.parameters() if p.requires_grad)
    print(
        f"{len(train)} pictures to learn {len(train.classes)} classes from"
        + (f", {len(val)} to measure with" if val is not train else "; measured on the same")
    )
    for line in data_lines(session, train, val):
        print(line)
    print(
        f"{recipe.backbone}, setting {recipe.setting}: {parameters:,} parameters learn; "
        f"{recipe.epochs} epochs of {trainer.batches_per_epoch} iterations of {recipe.batch} "
        f"pictures, learning rate up to {recipe.lr:.4g} ({recipe.schedule})"
    )
    if trainer.position.iteration:
        print(
            f"going on after iteration {trainer.position.iteration} of {trainer.iterations} "
            f"at the learning rate {trainer.learning_rate(trainer.position.iteration):.4g}"
        )
    print(f"everything goes to {trainer.run.path}", flush=True)


def data_lines(session: Session, train: Dataset, val: Dataset) -> list[str]:
    """Which boxes are learned from and measured, and an example of those that are not."""
    recipe = session.recipe
    lines = [learning_line(train, session.train, recipe.short_side, recipe.max_side)]
    lines.append(warning(train.problems))
    if val is not train:
        lines += [measuring_line(val, session.val), warning(val.problems)]
    return [line for line in lines if line]


def conclude(run: RunFolder, val: Dataset) -> Evaluation:
    """Measure the best weights once more in full, and draw examples."""
    detector = CompiledDetector(load_detector(run.path).model)
    evaluation, _ = measure(detector, val)
    write_json(run.evaluation, evaluation.to_json())
    write_examples(detector, val, run.detections, EXAMPLE_PICTURES)
    print(f"{evaluation.table()}\n\nfigures: {run.evaluation}")
    if run.curves.exists():  # not on one site of several: the server has them
        print(f"curves: {run.curves}")
    print(f"pictures: {run.detections}")
    if legend(val.classes):
        print(legend(val.classes))
    return evaluation
