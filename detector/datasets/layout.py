"""Finds out what a data folder holds, and opens a split of it.

The entrance to ``detector.datasets``: everything else asks for data through ``open_dataset``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from detector.datasets.dataset import Dataset
from detector.datasets.files import files_in, folders_in, is_file, spelled
from detector.datasets.formats import FORMATS
from detector.datasets.problems import WITHOUT, DatasetError
from detector.datasets.shapes import DEFAULT_COUNTS, ShapesDataset
from detector.datasets.splitting import SPLITS, set_aside
from detector.datasets.usable import without_unusable
from detector.datasets.voc import HOLDERS, PICTURES
from detector.errors import UserError
from detector.progress import Progress
from nn.table import did_you_mean

SHAPES = "shapes"
WITHOUT_VAL = " without val"  # a split of which a part was set aside
MEANING = {*SPLITS, *HOLDERS, *PICTURES}  # what folders are called that are not an archive's own


def open_dataset(
    data: str | os.PathLike,
    split: str,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    with_others: bool = False,
    strict: bool = False,
) -> Dataset:
    """A split of a data set, checked; every picture can be decoded.

    Args:
        data: a folder in one of the layouts of ``FORMATS``, a file that describes one, or "shapes".
        split: its name, or the beginning of it if only one split begins so: "train" finds
            "train2017".
        classes: names of the classes to keep; label k is then ``classes[k - 1]``. Images that show
            other classes only are left out, images that show nothing stay.
        with_others: keep those images too, to measure with.
        limit: keep the first so many of the remaining images, in the order of the file.
        strict: refuse pictures that are missing or damaged, which are left out otherwise.

    Returns:
        The data set; what was left out or clipped stands in ``.problems``.

    Raises:
        DatasetError: names every mistake that makes the data unusable.
        UserError: there is no such folder, split or class.
    """
    keeps_all = classes is None or with_others
    dataset = read_dataset(data, split, limit if keeps_all else None)
    problems = [
        problem
        for problem in dataset.problems
        if problem.fatal or (strict and problem.outcome == WITHOUT)
    ]
    # A class may seem unknown only because its category has a fault.
    if classes is not None and not problems:
        dataset = with_classes_of_other_splits(dataset, data, split, classes)
    dataset = dataset.select(None if problems else classes, limit, with_others)
    with Progress("looking at pictures", len(dataset), unit="images") as progress:
        dataset, more = without_unusable(dataset, strict, progress.step)
    problems += more
    if problems:
        raise DatasetError(problems)
    without = [problem for problem in dataset.problems if problem.outcome == WITHOUT]
    if without and len(dataset) == 0:
        raise DatasetError(without)
    if not dataset.classes or len(dataset) == 0:
        missing = "image" if dataset.classes else "class"
        raise UserError(
            f"{dataset.name} has no {missing} to offer: choose another split or classes"
        )
    return dataset


def with_classes_of_other_splits(
    dataset: Dataset, data: str | os.PathLike, split: str, classes: Sequence[str]
) -> Dataset:
    """The data set with those of the classes that only other splits have, without a box.

    Splits that were made one by one each list the classes that they happen to show.
    """
    wanted = {spelled(name) for name in classes}
    for reader in split_readers(data).values():
        if wanted <= {spelled(name) for name in dataset.classes}:
            break
        other = reader()
        for name, number in zip(other.classes, other.category_ids, strict=True):
            if spelled(name) in wanted and name not in dataset.classes:
                dataset = dataset.with_class(name, number)
    return dataset


def read_dataset(data: str | os.PathLike, split: str, most: int | None = None) -> Dataset:
    """As ``open_dataset``, but mistakes in the annotations only stand in ``.problems``.

    Args:
        most: how many images are needed; a set that is made and not read has no more.
    """
    own = split_readers(data, most)
    readers = with_val(own)
    known = list(readers if split in readers else own)
    return readers[find_split(split, known, str(data))]()


def splits(data: str | os.PathLike, with_set_aside: bool = False) -> list[str]:
    """The names of the splits of a data set.

    Args:
        with_set_aside: also the parts of a data set that has none to measure with, unless it is
            so small that there is none to set aside.

    Raises:
        UserError: as ``split_readers``.
    """
    own = split_readers(data)
    readers = with_val(own) if with_set_aside else own
    return list(own if len(readers) > len(own) and len(readers["val"]()) == 0 else readers)


def split_readers(
    data: str | os.PathLike, most: int | None = None
) -> dict[str, Callable[[], Dataset]]:
    """For each split of a data set the function that reads it; ``most`` as for ``read_dataset``.

    Raises:
        UserError: there is no such folder, or no layout fits it.
    """
    if os.fspath(data) == SHAPES:
        counts = {name: min(count, most or count) for name, count in DEFAULT_COUNTS.items()}
        return {name: partial(ShapesDataset, count, name) for name, count in counts.items()}
    folder = Path(data)
    if not folder.is_dir() and not is_file(folder):
        hint = did_you_mean(os.fspath(data), [SHAPES])
        raise UserError(
            f"there is no folder {folder}{hint}: --data takes a folder as annotation tools write "
            f"it, a file that describes one, or {SHAPES!r}"
        )
    return seen(folder)[1]


def with_val(readers: dict[str, Callable[[], Dataset]]) -> dict[str, Callable[[], Dataset]]:
    """The same splits, and where there is none to measure with, "val", set aside, and the rest."""
    if any(name.startswith("val") for name in readers):
        return readers
    base = "train" if "train" in readers else next(iter(readers))
    return {
        **readers,
        base + WITHOUT_VAL: lambda: set_aside(readers[base]())[0],
        "val": lambda: set_aside(readers[base]())[1],
    }


def seen(place: Path) -> tuple[str, dict[str, Callable[[], Dataset]]]:
    """The name of the layout of a folder or file, and how to read its splits.

    Raises:
        UserError: no layout fits it.
    """
    inner = unpacked(place)
    for name in FORMATS:
        readers = FORMATS[name](inner)
        if readers:
            return name, readers
    looked = "; ".join(f"{FORMATS.line(name)} ({name})" for name in FORMATS)
    raise UserError(
        f"{place} holds no data set: looked in it for {looked}. What other tools write, the "
        "package globox turns into COCO's: pip install globox"
    )


def unpacked(place: Path) -> Path:
    """The folder in which an archive holds everything, where that is all there is in a folder.

    Folders whose names say what is in them are no such folder, nor are links, maybe to itself.
    """
    inner = [folder for folder in folders_in(place) if not folder.is_symlink()]
    if len(inner) != 1 or files_in(place) or inner[0].name.lower() in MEANING:
        return place
    return unpacked(inner[0])


def seen_line(data: str, split: str, train: Dataset, val: Dataset) -> str:
    """One line about a data set: its layout, pictures and classes, and what is measured with.

    Args:
        split: the name of the one to learn from.
    """
    if data == SHAPES:
        return ""
    name, _ = seen(Path(data))
    is_divided = split.endswith(WITHOUT_VAL)
    pictures = len(train) + len(val) if is_divided else len(train)
    classes = f"{len(train.classes)} class{'es' * (len(train.classes) != 1)}"
    line = f"{data}: {name}, {pictures} pictures, {classes}"
    if is_divided:
        line += f"; no val split, so {len(val)} are set aside by their names"
    return line


def find_split(split: str, known: Sequence[str], data: str, option: str = "") -> str:
    """The one split of that name, or else the one whose name begins so.

    Args:
        option: of the command line that chooses another, for the message.

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
    way_out = f"; choose one with {option}" if option else ""
    raise UserError(f"{data} has no split {split!r}{hint}: it has {', '.join(known)}{way_out}")
