"""Detection: a detector learns from the boxes of a data set."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

import nn
from detector.datasets import Batch, Dataset, Loader, open_dataset
from detector.datasets.layout import seen_line
from detector.datasets.learnable import learning_line, measuring_line, require_boxes
from detector.datasets.outlines import with_outlines
from detector.datasets.problems import left_out, warning
from detector.datasets.statistics import network_boxes
from detector.detectors import DETECTORS
from detector.detectors.compiled import CompiledDetector
from detector.detectors.detector import Detector
from detector.errors import UserError
from detector.evaluation.figures import Evaluation
from detector.evaluation.fonts import legend
from detector.evaluation.threshold import DEFAULT_SCORE, best_threshold
from detector.evaluation.validation import measure, write_examples
from detector.training.initial_weights import load_initial_weights
from detector.training.loading import keep_score, load_detector
from detector.training.objectives.crops import learn_from_crops
from detector.training.objectives.objective import Objective
from detector.training.published_weights import weights_file
from detector.training.recipe import Recipe
from detector.training.reports import report
from detector.training.run_folder import RunFolder
from nn.files import write_json

if TYPE_CHECKING:
    from detector.training.sessions import Session

EXAMPLE_PICTURES = 12


class Detection(Objective):
    """
    Args:
        session: data, recipe and seed.
        begun: what ``describe`` said, if the training has begun.

    Attributes:
        train, val: the data sets to learn from and to measure with, maybe the same.
    """

    task = "detection"
    Recipe = Recipe
    figures = {"ap": "AP", "ap50": "AP50"}
    best = "ap"  # smoother than AP50 on the few pictures of a small data set

    def __init__(self, session: Session, begun: dict | None = None):
        self.session, self.begun = session, begun

    @property
    def prepares(self) -> bool:
        return self.session.recipe.crops.iterations > 0 and self.session.init_from is None

    @cached_property
    def splits(self) -> tuple[Dataset, Dataset]:
        return open_splits(self.session)

    @property
    def train(self) -> Dataset:
        return self.splits[0]

    @property
    def val(self) -> Dataset:
        return self.splits[1]

    @property
    def measured(self) -> int:
        return len(self.val)

    @cached_property
    def model(self) -> Detector:
        if self.begun is not None:
            return rebuild_model(self.session, self.begun)
        return build_model(self.session, self.train)

    @cached_property
    def loader(self) -> Loader:
        return build_loader(self.session, self.train)

    def loss(self, batch: Batch, rng: np.random.Generator) -> dict[str, nn.Tensor]:
        return self.model.loss(batch.images, batch.targets, rng)

    def name(self, batch: Batch) -> str:
        return ", ".join(str(self.train.images[index].path) for index in batch.indices)

    def prepare(self, check: Callable[[], None]) -> None:
        learn_from_crops(self.model, self.train, self.session.recipe, self.session.seed, check)

    def measure(self, check: Callable[[], None]) -> dict[str, float]:
        """Average precision over IoU 0.50:0.95, and at IoU 0.5."""
        found, _ = measure(CompiledDetector(self.model), self.val, title="validating", check=check)
        return {name: found.figures[title] or 0.0 for name, title in self.figures.items()}

    def describe(self) -> dict:
        return describe(self.model, self.train)

    def changes(self, then: Mapping[str, Any]) -> list[str]:
        changes, recipe = super().changes(then), self.session.recipe
        expected, found = recipe.model, self.model.settings
        if recipe.fit_anchors is not None and found.anchors is not None:
            shapes = operator.attrgetter(found.anchors)(found).shapes
            expected = expected.changed(f"{found.anchors}.shapes", shapes)
        if self.session.init_from is not None:
            expected = expected.changed("image.mean", found.image.mean)
            expected = expected.changed("image.std", found.image.std)
        return changes if expected == found else [*changes, "the detector of the recipe"]

    def announce(self) -> list[str]:
        recipe, train, val = self.session.recipe, self.train, self.val
        parameters = sum(p.data.size for p in self.model.parameters() if p.requires_grad)
        measured = f", {len(val)} to measure with" if val is not train else "; measured on the same"
        return [
            f"{len(train)} pictures to learn {len(train.classes)} classes from{measured}",
            *data_lines(self.session, train, val),
            f"{recipe.detector} on {recipe.model.backbone}: {parameters:,} parameters learn",
        ]

    def conclude(self, run: RunFolder) -> dict[str, float | None]:
        return conclude(run, self.val).figures


def open_splits(session: Session) -> tuple[Dataset, Dataset]:
    """The data sets to learn from and to measure with; without a split for that, the same.

    Raises:
        UserError: there is a mistake in the data, or no box to learn from.
    """
    strict = session.strict
    train = open_dataset(session.data, session.train, session.classes, session.limit, strict=strict)
    image = session.recipe.model.image
    sides = image.short_side, image.max_side
    require_boxes(train, session.train, *sides, session.classes, session.limit)
    needs_masks = DETECTORS[session.recipe.detector].has_masks
    if needs_masks:
        train = with_outlines(train)
    if session.val is None or session.val == session.train:
        return train, train
    val = open_dataset(session.data, session.val, train.classes, with_others=True, strict=strict)
    return train, with_outlines(val) if needs_masks else val


def data_lines(session: Session, train: Dataset, val: Dataset) -> list[str]:
    """Which boxes are learned from and measured, and an example of those that are not."""
    image = session.recipe.model.image
    lines = [seen_line(session.data, session.train, train, val)]
    lines += [learning_line(train, session.train, image.short_side, image.max_side)]
    lines.append(left_out(train.problems))
    lines.append(warning(train.problems))
    if val is not train:
        lines += [measuring_line(val, session.val), left_out(val.problems), warning(val.problems)]
    return [line for line in lines if line]


def build_model(session: Session, train: Dataset) -> Detector:
    """The detector as it is before the first iteration: a function of the session and the data."""
    recipe, settings = session.recipe, session.recipe.model
    try:
        if recipe.fit_anchors is not None:
            boxes = network_boxes(train, settings.image.short_side, settings.image.max_side)
            settings = settings.fitted(boxes.widths_heights, *recipe.fit_anchors)
        nn.manual_seed(session.seed)
        model = DETECTORS[recipe.detector](len(train.classes), **settings.as_dict())
    except (LookupError, ValueError) as error:
        raise UserError(str(error)) from error
    if session.init_from is not None:
        source = weights_file(session.init_from, recipe.model.backbone)
        print(load_initial_weights(model, source))
        model.freeze(recipe.frozen_parts, recipe.frozen_batch_norm)
    return model


def rebuild_model(session: Session, about: dict) -> Detector:
    """What ``build_model`` built when the training began, but for the weights.

    Args:
        about: what ``describe`` said then: it has the anchors that were fitted and how the initial
            weights wanted their images.

    Raises:
        ValueError, LookupError, TypeError: it says something else.
    """
    nn.manual_seed(session.seed)
    model = DETECTORS[about["detector"]](**about["config"])
    if session.init_from is not None:
        model.freeze(session.recipe.frozen_parts, session.recipe.frozen_batch_norm)
    return model


def build_loader(session: Session, train: Dataset) -> Loader:
    """The batches of every epoch."""
    recipe = session.recipe
    return Loader(train, recipe.transform(), recipe.steps.batch, session.seed)


def describe(model: Detector, dataset: Dataset) -> dict:
    """How to build a detector again, and what it was trained on."""
    return {
        "detector": model.settings.detector,
        "config": model.config(),
        "classes": dataset.classes,
        "category_ids": dataset.category_ids,
        "pictures": len(dataset),
        "boxes": len(dataset.annotations),
        "digest": dataset.digest(),
    }


def conclude(run: RunFolder, val: Dataset) -> Evaluation:
    """Measure the best weights once more in full, draw examples, and write the report."""
    loaded = load_detector(run.path)
    detector = CompiledDetector(loaded.model)
    evaluation, detections = measure(detector, val)
    write_json(run.evaluation, evaluation.to_json())
    best = best_threshold(val.coco_ground_truth(), detections)
    if best is not None:
        keep_score(loaded.path, best.score)
    write_examples(
        detector, val, run.detections, EXAMPLE_PICTURES, best.score if best else DEFAULT_SCORE
    )
    print(f"{evaluation.table()}\n")
    if best is not None:
        print(
            f"best score: {best.score:.2f}, from which detect draws: precision "
            f"{best.precision:.2f}, recall {best.recall:.2f}, F1 {best.f1:.2f}"
        )
    print(f"figures: {run.evaluation}")
    if run.curves.exists():  # not on one site of several: the server has them
        print(f"curves: {run.curves}")
    print(f"pictures: {run.detections}")
    if legend(val.classes):
        print(legend(val.classes))
    report(run.report, loaded, val, evaluation, detections)  # last: nothing waits for it
    print(f"report: {run.report}")
    return evaluation
