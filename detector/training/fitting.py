"""Fits a recipe to the data and to the time there is, before a training begins.

What comes out stands in the run's ``config.json`` like any other number, so that a run resumes
without being fitted again.
"""

from __future__ import annotations

from dataclasses import replace

from detector.datasets import read_dataset
from detector.datasets.layout import with_classes_of_other_splits
from detector.datasets.statistics import network_boxes
from detector.errors import UserError
from detector.progress import format_seconds
from detector.training.estimate import fit_minutes, time_training
from detector.training.recipe import Recipe
from detector.training.sessions import Session

MOST_MINUTES = 60 * 24 * 365


def fitted(session: Session, minutes: float | None = None) -> Session:
    """The session of a detector with pictures as large, and a training as long, as it is to be.

    Args:
        minutes: for everything, also validations; None leaves the epochs of the recipe.

    Raises:
        UserError: there is not so little or so much time, or the data cannot be used.
    """
    session = replace(session, recipe=fit_side(session))
    if minutes is None:
        return session
    if not 0 < minutes <= MOST_MINUTES:
        raise UserError(f"--minutes must be more than 0 and at most a year, not {minutes:g}")
    print("timing a few iterations ...", flush=True)
    objective, recipe = session.objective(), session.recipe
    batches, pictures = len(objective.loader), len(objective.val)
    timing = time_training(objective.model, objective.loader, recipe, objective.val)
    recipe = fit_minutes(recipe, timing, batches, pictures, minutes)
    seconds = timing.seconds(recipe, batches, pictures)
    print(
        f"{recipe.steps.epochs * batches} iterations of {timing.step:.2f} s, which takes about "
        f"{format_seconds(seconds)}"
    )
    return replace(session, recipe=recipe)


def fit_side(session: Session) -> Recipe:
    """The recipe with pictures of the size that fits the objects; says so where it changes."""
    recipe = session.recipe
    if recipe.fit_side is None:
        return recipe
    train = read_dataset(session.data, session.train)
    if session.classes is not None:
        train = with_classes_of_other_splits(train, session.data, session.train, session.classes)
    train = train.select(session.classes, session.limit)
    image = recipe.model.image
    boxes = network_boxes(train, image.short_side, image.max_side).widths_heights
    new = recipe.fitted_to(boxes)
    if new.model.image.short_side != image.short_side:
        print(
            f"the objects are large: pictures of {new.model.image.short_side} pixels (the shorter "
            "side) are enough; --short-side sets another size"
        )
    return new
