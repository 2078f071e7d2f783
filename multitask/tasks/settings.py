"""The three rows of the thesis's table 4.3 as lists of tasks."""

from __future__ import annotations

import os

from detector.datasets.class_folders import ClassFolders
from detector.errors import UserError
from detector.training.sessions import Session
from multitask.site.task import Task
from multitask.tasks.classification import Classification
from multitask.tasks.detection import Detection

SECOND_SCALE = 3 / 4  # the thesis's 600 beside 800


def single(session: Session, iterations: int) -> list[Task]:
    """The detector alone: what the others are compared with."""
    return [Detection(session, iterations).task()]


def joint(session: Session, iterations: int, folder: str | os.PathLike | None = None) -> list[Task]:
    """Detection and classification; they share the backbone.

    Args:
        folder: of the classification set; None: crops of the detection set's boxes.
    """
    if folder is not None:
        ClassFolders(folder)  # now rather than in a process of its own
    other = Classification(session, iterations, folder=folder)
    return [Detection(session, iterations).task(), other.task()]


def multi_scale(session: Session, iterations: int, second_side: int | None = None) -> list[Task]:
    """The detector at the recipe's input size and at another one; they share everything learned.

    The running statistics of batch norm are each task's own; those of the recipe's size count in
    the end.

    Args:
        second_side: of the pictures of the second task; None: three quarters of the first.
    """
    side = session.recipe.model.image.short_side
    second = round(SECOND_SCALE * side) if second_side is None else second_side
    if second == side:
        raise UserError(f"the second input size must differ from the first, {side} pixels")
    other = Detection(session, iterations, f"detection-{second}", second)
    return [Detection(session, iterations).task(), other.task()]


SETTINGS = ("single", "joint", "multi-scale")


def make(
    setting: str,
    session: Session,
    iterations: int,
    pictures: str | os.PathLike | None = None,
    second_side: int | None = None,
) -> list[Task]:
    """The tasks of a setting, with those of the options that concern it.

    Raises:
        UserError: an option makes no sense.
    """
    if setting == "single":
        return single(session, iterations)
    if setting == "joint":
        return joint(session, iterations, pictures)
    return multi_scale(session, iterations, second_side)
