"""What a detector's checkpoint holds, for training (``loading`` builds detectors from them).

A checkpoint is a tree (``nn.checkpoint``): ``detector`` says how to build the model and what its
labels mean, ``model`` holds its weights; ``last.ckpt`` adds ``optimizer`` and ``position``.
"""

from __future__ import annotations

import os

from detector.datasets import Dataset
from detector.errors import UserError
from nn import checkpoint

KIND = "lighthead detector"


def describe(model, dataset: Dataset) -> dict:
    """The ``detector`` entry of a checkpoint: how to build it, and what it was trained on."""
    return {
        "config": model.config(),
        "classes": dataset.classes,
        "category_ids": dataset.category_ids,
        "pictures": len(dataset),
        "boxes": len(dataset.annotations),
    }


def write(path: str | os.PathLike, model, detector: dict, **more) -> None:
    """Write a checkpoint, complete or not at all."""
    tree = {"kind": KIND, "detector": detector, "model": model.state_dict(), **more}
    checkpoint.save(path, tree)


def read(path: str | os.PathLike) -> dict:
    """The tree in a checkpoint.

    Raises:
        UserError: there is no such file, it cannot be read, is damaged, or not of a detector.
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
    if not isinstance(tree, dict) or tree.get("kind") != KIND:
        raise UserError(f"{path} is a checkpoint, but not of a detector")
    return tree


def is_foreign(path: str | os.PathLike) -> bool:
    """Whether a file is another program's: a zip, as PyTorch, Lightning and NumPy write it."""
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"PK"
    except OSError:
        return False


def restore(model, tree: dict, path: str | os.PathLike) -> None:
    """Put the weights of a checkpoint into a model of the same shape.

    Raises:
        UserError: the weights are of another model.
    """
    try:
        model.load_state_dict(tree["model"])
    except ValueError as error:
        first = str(error).splitlines()[1].strip()
        raise UserError(f"{path} holds another model than this one ({first})") from error
