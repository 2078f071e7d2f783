"""Which boxes of a split are learned from or measured, which are not, and why.

A box can be lost on the way from the file to the loss: marked as one to ignore, without area or
outside its picture, or too thin once its picture is resized. Whoever trains is told how many,
before bad figures tell it; where no box is left, that is a mistake.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.datasets.dataset import Dataset
from detector.datasets.files import spelled
from detector.datasets.problems import CLIPPED, LEFT_OUT
from detector.datasets.statistics import network_boxes
from detector.datasets.transforms import MIN_BOX
from detector.errors import UserError
from nn.printable import printable

MOST_NAMED = 10
# What the formats call objects that are neither learned nor missed, by the mark that says so.
IGNORED = {"iscrowd": "crowds, iscrowd 1", "difficult": "difficult"}


def thin_boxes(dataset: Dataset, short_side: int, max_side: int) -> int:
    """How many boxes the loader drops at this size (see ``transforms.drop_thin_boxes``)."""
    sides = network_boxes(dataset, short_side, max_side).widths_heights
    return int((sides < MIN_BOX).any(axis=1).sum())


def learning_line(dataset: Dataset, split: str, short_side: int, max_side: int) -> str:
    """One line: how many boxes are learned from at this size, what happened to the others."""
    thin = thin_boxes(dataset, short_side, max_side)
    boxes = _objects(dataset) - thin
    lost = _lost(dataset) + _counted(thin, f"thinner than a pixel at a short side of {short_side}")
    line = f"{split}: {boxes} boxes to learn from" + _listed("not learned", lost)
    line += _listed("learned in part", _counted(_outcomes(dataset, CLIPPED), CLIPPED))
    return line + _listed("no box", _classes_without(dataset))


def measuring_line(dataset: Dataset, split: str) -> str:
    """One line: how many boxes are measured with, what happened to the others."""
    line = f"{split}: {_objects(dataset)} boxes to measure with"
    line += _listed("not measured", _lost(dataset))
    if not _objects(dataset):
        return f"{line}; every figure will be -"
    return line + _listed("measured in part", _counted(_outcomes(dataset, CLIPPED), CLIPPED))


def require_boxes(
    dataset: Dataset,
    split: str,
    short_side: int,
    max_side: int,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
) -> None:
    """Refuse a split without a box to learn from.

    Args:
        split: its name, for the message.
        short_side, max_side: the size the network sees, see ``preprocess.network_size``.
        classes, limit: what ``dataset`` was selected by.

    Raises:
        UserError: says why there is none, and the way out.
    """
    thin = thin_boxes(dataset, short_side, max_side)
    if _objects(dataset) > thin:
        return
    ways_out = []
    if dataset.annotations["crowd"].any():
        ways_out.append(f"what is to be learned needs {dataset.ignore_mark} 0")
    if _outcomes(dataset, LEFT_OUT):
        ways_out.append("lighthead check-data lists what was left out")
    if thin:
        ways_out.append("choose a larger --short-side")
    if limit is not None:
        ways_out.append("raise --limit")
    if classes is not None:
        ways_out.append("choose other --classes")
    lost = _lost(dataset) + _counted(thin, f"thinner than a pixel at a short side of {short_side}")
    of = f" of {', '.join(classes)}" if classes is not None else ""
    where = f" in its first {limit} pictures" if limit is not None else ""
    why = ", ".join(lost) or f"{len(dataset)} pictures without an annotation"
    raise UserError(
        f"{split} has no box{of} to learn from{where} ({why}): "
        + ("; ".join(ways_out) or "annotate what is to be learned, or choose another split")
    )


def _objects(dataset: Dataset) -> int:
    return int((~dataset.annotations["crowd"]).sum())


def _outcomes(dataset: Dataset, outcome: str) -> int:
    return sum(problem.outcome == outcome for problem in dataset.problems)


def _lost(dataset: Dataset) -> list[str]:
    ignored = int(dataset.annotations["crowd"].sum())
    left_out = _counted(
        _outcomes(dataset, LEFT_OUT), f"{LEFT_OUT}, without area or outside the picture"
    )
    mark = dataset.ignore_mark
    what = f"has {mark} 1" if ignored == 1 else f"are {IGNORED[mark]}"
    return _counted(ignored, what) + left_out


def _classes_without(dataset: Dataset) -> list[str]:
    labels = dataset.annotations["label"][~dataset.annotations["crowd"]]
    counts = np.bincount(labels, minlength=len(dataset.classes) + 1)[1:]
    pairs = zip(dataset.classes, counts, strict=True)
    names = [printable(spelled(name)) for name, count in pairs if count == 0]
    more = len(names) - MOST_NAMED
    return names if more <= 0 else [*names[:MOST_NAMED], f"and {more} more"]


def _counted(count: int, what: str) -> list[str]:
    return [f"{count} {what}"] if count else []


def _listed(title: str, entries: Sequence[str]) -> str:
    return f"; {title}: {', '.join(entries)}" if entries else ""
