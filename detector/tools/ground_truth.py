"""What a data set says of one picture that is given by its file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.datasets import read_dataset, splits
from detector.datasets.usable import without_unusable
from detector.errors import UserError


def truth_of(picture: str | os.PathLike, data: str, classes: Sequence[str]) -> dict:
    """The target of the picture, see ``Dataset.target``, with the labels of ``classes``.

    It is the one with the same file, else the only one with the same name.

    Raises:
        UserError: the data set does not have the picture, has several of its name, or it cannot be
            used.
    """
    path, named = Path(picture).resolve(), []
    for split in splits(data):
        dataset = read_dataset(data, split)
        known = [name for name in classes if name in dataset.classes]
        for index, record in enumerate(dataset.images):
            if record.path.name != path.name:
                continue
            one = dataset.select(known, with_others=True).part(np.array([index]))
            one, problems = without_unusable(one)  # with its sizes as they are decoded
            if problems:
                raise UserError(str(problems[0]))
            target = one.target(0)
            labels = [classes.index(known[label - 1]) + 1 for label in target["labels"].tolist()]
            target["labels"] = np.array(labels, np.int64)
            if record.path.resolve() == path:
                return target
            named.append((record.path, target))
    if len(named) == 1:
        return named[0][1]
    if named:
        raise UserError(
            f"{data} has {len(named)} pictures called {path.name}, e.g. {named[0][0]}: name one of "
            "them"
        )
    raise UserError(f"{data} has no picture {path.name}: leave --data out, or name one of its own")
