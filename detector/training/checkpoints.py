"""What a checkpoint of a training holds (``loading`` builds detectors from them).

A checkpoint is a tree (``nn.checkpoint``): ``about`` says how to build the model and what its
labels mean, ``model`` holds its weights; ``last.ckpt`` adds ``optimizer`` and ``position``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import numpy as np

from detector.errors import MALFORMED, UserError
from detector.training import version_0_1
from nn import checkpoint
from nn.module import Module

KIND = "lighthead"


def write(path: str | os.PathLike, task: str, model: Module, about: dict, **more) -> None:
    """Write a checkpoint, complete or not at all.

    Args:
        task: a name in ``OBJECTIVES``.
        about: what the objective's ``describe`` says.
        more: whatever it takes to go on.
    """
    checkpoint.save(
        path, {"kind": KIND, "task": task, "about": about, "model": model.state_dict(), **more}
    )


def read(path: str | os.PathLike, task: str = "detection") -> dict:
    """The tree in a checkpoint of a task.

    Raises:
        UserError: there is no such file, it cannot be read, is damaged, or not of this task.
    """
    if is_foreign(path):
        raise UserError(
            f"{path} is another program's file (PyTorch's or NumPy's) and no checkpoint of a "
            "detector: train --init-from can start from the backbone in it"
        )
    try:
        tree = checkpoint.load(path)
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except OSError as error:
        raise UserError(f"cannot read the checkpoint {path} ({error.strerror})") from error
    except checkpoint.CheckpointError as error:
        raise UserError(str(error)) from error
    with understood(path):
        tree = version_0_1.checkpoint(tree)
    if not isinstance(tree, dict) or tree.get("kind") != KIND:
        raise UserError(f"{path} is a checkpoint, but not of a training")
    if tree.get("task") != task:
        raise UserError(f"{path} is of the task {tree.get('task')}, not of {task}")
    for name in ("about", "model"):
        if not isinstance(tree.get(name), dict):
            raise UserError(f"{path} is damaged: it has no {name!r}")
    return tree


@contextlib.contextmanager
def understood(path: str | os.PathLike) -> Iterator[None]:
    """While something is made of the tree in a checkpoint: if that fails, the file is to blame.

    Raises:
        UserError: something else failed than what raises one.
    """
    try:
        yield
    except MALFORMED as error:
        raise UserError(f"{path} is damaged, or of another version: {error}") from error


def is_foreign(path: str | os.PathLike) -> bool:
    """Whether a file is another program's: a zip, as PyTorch, Lightning and NumPy write it."""
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return False


def restore(model: Module, tree: dict, path: str | os.PathLike) -> None:
    """Put the weights of a checkpoint into a model of the same shape.

    Raises:
        UserError: the weights are of another model, or no numbers.
    """
    check_finite(tree["model"], path)
    try:
        model.load_state_dict(tree["model"])
    except ValueError as error:
        first = str(error).splitlines()[1].strip()
        raise UserError(f"{path} holds another model than this one ({first})") from error


def check_finite(state: dict, path: str | os.PathLike) -> None:
    """Refuse weights that are no numbers.

    Raises:
        UserError: names the first of them.
    """
    for name, array in state.items():
        if not (isinstance(array, np.ndarray) and np.isfinite(array).all()):
            raise UserError(f"{path} is damaged: {name} holds something else than finite numbers")
