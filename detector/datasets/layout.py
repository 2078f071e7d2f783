"""Finds out what a data folder holds, and opens a split of it.

The entrance to ``detector.datasets``: everything else asks for data through ``open_dataset``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from detector.datasets.coco import read_coco
from detector.datasets.dataset import Dataset
from detector.datasets.problems import DatasetError
from detector.datasets.shapes import DEFAULT_COUNTS, ShapesDataset
from detector.datasets.voc import read_voc, voc_splits
from detector.errors import UserError
from nn.table import did_you_mean

SHAPES = "shapes"
PREFIX = "instances_"


def open_dataset(
    data: str | os.PathLike,
    split: str,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    with_others: bool = False,
) -> Dataset:
    """A split of a data set, checked; every image's file exists.

    Args:
        data: a folder in COCO's layout (``annotations/instances_SPLIT.json`` and images in
            ``SPLIT/``, ``images/SPLIT/`` or ``images/``) or in VOC's (``Annotations/*.xml``,
            ``JPEGImages/`` or ``images/``, perhaps ``ImageSets/Main/SPLIT.txt``), or "shapes".
        split: its name, or the beginning of it if only one split begins so: "train" finds
            "train2017".
        classes: names of the classes to keep; label k is then ``classes[k - 1]``. Images that show
            other classes only are left out, images that show nothing stay.
        with_others: keep those images too, to measure with.
        limit: keep the first so many of the remaining images, in the order of the file.

    Returns:
        The data set; what was left out or clipped stands in ``.problems``.

    Raises:
        DatasetError: names every mistake that makes the data unusable.
        UserError: there is no such folder, split or class.
    """
    dataset = read_dataset(data, split)
    problems = [problem for problem in dataset.problems if problem.fatal]
    # A class may seem unknown only because its category has a fault.
    dataset = dataset.select(None if problems else classes, limit, with_others)
    problems += dataset.missing_files()
    if problems:
        raise DatasetError(problems)
    if not dataset.classes or len(dataset) == 0:
        missing = "image" if dataset.classes else "class"
        raise UserError(
            f"{dataset.name} has no {missing} to offer: choose another split or classes"
        )
    return dataset


def read_dataset(data: str | os.PathLike, split: str) -> Dataset:
    """As ``open_dataset``, but mistakes in the annotations only stand in ``.problems``."""
    known = splits(data)
    name = find_split(split, known, str(data))
    if os.fspath(data) == SHAPES:
        return ShapesDataset(DEFAULT_COUNTS[name], name)
    folder = Path(data)
    path = folder / "annotations" / f"{PREFIX}{name}.json"
    if path.is_file():
        places = [folder / name, folder / "images" / name, folder / "images", folder / "JPEGImages"]
        return read_coco(path, places)
    return read_voc(folder, name)


def splits(data: str | os.PathLike) -> list[str]:
    """The names of the splits of a data set.

    Raises:
        UserError: there is no such folder, or neither layout is in it.
    """
    if os.fspath(data) == SHAPES:
        return list(DEFAULT_COUNTS)
    folder = Path(data)
    if not folder.is_dir():
        hint = did_you_mean(os.fspath(data), [SHAPES])
        raise UserError(
            f"there is no folder {folder}{hint}: --data takes a folder in COCO's or VOC's layout, "
            f"or {SHAPES!r}"
        )
    coco = sorted(path.stem for path in (folder / "annotations").glob(f"{PREFIX}*.json"))
    if coco:
        return [stem.removeprefix(PREFIX) for stem in coco]
    if any((folder / "Annotations").glob("*.xml")):
        return voc_splits(folder)
    raise UserError(
        f"{folder} holds no data set: looked for {folder / 'annotations' / PREFIX}*.json (COCO) "
        f"and {folder / 'Annotations' / '*.xml'} (VOC)"
    )


def find_split(split: str, known: Sequence[str], data: str) -> str:
    """The one split of that name, or else the one whose name begins so.

    Raises:
        UserError: none or several do.
    """
    if split in known:
        return split
    beginning = [name for name in known if split and name.startswith(split)]
    if len(beginning) == 1:
        return beginning[0]
    if beginning:
        raise UserError(f"{data} has several splits {split!r}: choose {' or '.join(beginning)}")
    hint = did_you_mean(split, known)
    raise UserError(f"{data} has no split {split!r}{hint}: it has {', '.join(known)}")
