"""Sets pictures aside to measure with, where a data set does not say which.

The choice depends on the names alone: a new picture hardly changes where the others are, and any
machine makes the same.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from detector.datasets.dataset import Dataset, ImageRecord
from detector.datasets.files import composed, is_file

VAL_PART = 0.2  # of the pictures
FEWEST = 5  # pictures, of which one can be set aside
ROBOFLOW_COPY = ".rf."  # stands between a picture's name and the number of a changed copy of it

# What tools call the folders, lists and files of a split -> its name here.
SPLITS = {
    "train": "train", "training": "train", "obj_train_data": "train",
    "val": "val", "valid": "val", "validation": "val", "obj_valid_data": "val",
    "obj_validation_data": "val", "test": "test", "testing": "test", "obj_test_data": "test",
}  # fmt: skip


def split_of(words: Iterable[str]) -> str | None:
    """The split that the first of these words names, None if none does."""
    return next((SPLITS[word.lower()] for word in words if word.lower() in SPLITS), None)


def split_of_file(path: Path, folder: Path) -> str | None:
    """The split that a file of annotations is for, by a word of its name or else its folders'."""
    words = re.split(r"[^A-Za-z0-9]+", path.stem)
    return split_of([*words, *(place.name for place in path.parents if folder in place.parents)])


def by_split(name: str) -> tuple[int, str]:
    """A key to sort splits by: to learn from, to measure with, others."""
    known = ("train", "val", "test")
    return (known.index(name) if name in known else len(known), name)


def split_by_name(names: list[str]) -> dict[str, list[str]]:
    """The fifth of the names with the lowest hashes is "val", the others are "train".

    A set so small that the fifth is no picture has no "val".
    """
    val = set(lowest_hashes(names, round(VAL_PART * len(names))))
    return {
        "train": [name for name in names if name not in val],
        "val": [name for name in names if name in val],
    }


def lowest_hashes(names: Sequence[str], count: int) -> list[str]:
    """The ``count`` names that come first in the order of their SHA-256."""

    def digest(name: str) -> bytes:
        try:
            written = name.encode("utf-8", "surrogateescape")  # as the file system has it
        except UnicodeEncodeError:  # half of a letter, which JSON can spell
            written = name.encode("utf-8", "surrogatepass")
        return hashlib.sha256(written).digest()

    return sorted(names, key=digest)[:count]


def set_aside(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """The pictures to learn from, and the fifth of a data set to measure with.

    Copies of a picture stay on one side: files of the same bytes, and the changed copies that
    Roboflow makes. Of fewer than ``FEWEST`` pictures none is set aside.
    """
    group = twins(dataset.images)
    sizes = Counter(group)
    wanted = round(VAL_PART * len(dataset)) if len(dataset) >= FEWEST else 0
    val, count = set(), 0
    for name in lowest_hashes(list(sizes), len(sizes)):
        if count >= wanted:
            break
        val.add(name)
        count += sizes[name]
    is_val = np.array([name in val for name in group], bool)
    return dataset.part(np.flatnonzero(~is_val)), dataset.part(np.flatnonzero(is_val))


def twins(images: Sequence[ImageRecord]) -> list[str]:
    """For each picture a name that it shares with its copies only."""
    lengths = [image.path.stat().st_size if is_file(image.path) else -1 for image in images]
    often = Counter(lengths)
    first: dict[bytes, str] = {}
    names = []
    for image, length in zip(images, lengths, strict=True):
        folder = image.path.parent.name
        name = f"{folder}/{composed(image.path.name).partition(ROBOFLOW_COPY)[0]}"
        if length >= 0 and often[length] > 1:
            digest = hashlib.sha256(image.path.read_bytes()).digest()
            name = first.setdefault(digest, name)
        names.append(name)
    return names
