"""Fits a recipe to the data, before a training begins.

What comes out stands in the run's ``config.json`` like any other number, so that a run resumes
without being fitted again.
"""

from __future__ import annotations

from dataclasses import replace

from detector.datasets import read_dataset
from detector.datasets.layout import with_classes_of_other_splits
from detector.datasets.statistics import network_boxes
from detector.training.sessions import Session


def fit_side(session: Session) -> Session:
    """The session of a detector with pictures of the size that fits the objects; says so where it
    changes."""
    recipe = session.recipe
    if recipe.fit_side is None:
        return session
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
    return replace(session, recipe=new)
