"""What can only be found out by opening every picture: ``lighthead check-data`` waits for that."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from detector.datasets.dataset import Dataset
from detector.datasets.files import is_file
from detector.datasets.images import is_turned
from detector.datasets.problems import Problem
from detector.datasets.usable import without_unusable


def check_pictures(
    dataset: Dataset, after_image: Callable[[], None] = lambda: None
) -> list[Problem]:
    """Decode every picture; a problem for each that is missing, damaged or of another size.

    One more counts those that their EXIF orientation turns: annotations of the stored pixels, as
    some tools write them, are then in wrong places, and nothing but a look can tell.

    Args:
        after_image: called after each picture, for progress or to stop by an exception.
    """
    usable, problems = without_unusable(dataset, after_image=after_image)
    known = set(dataset.problems)
    problems += [problem for problem in usable.problems if problem not in known]
    turned = [str(r.path) for r in usable.images if is_file(r.path) and is_turned(r.path)]
    if turned:
        why = (
            f"{len(turned)} of {len(dataset)} pictures are turned by their EXIF orientation, e.g. "
            f"{min(turned)}: their boxes must be those of the upright picture"
        )
        problems.append(Problem(dataset.name, why, fatal=False))
    return problems


def doubled_annotations(dataset: Dataset) -> list[Problem]:
    """One problem, not fatal, if boxes are annotated twice: one detection then misses the other."""
    first: dict[tuple, int] = {}
    doubled = []
    for row in dataset.annotations:
        key = int(row["image"]), int(row["label"]), bool(row["crowd"]), *row["box"].tolist()
        number = first.setdefault(key, int(row["id"]))
        if number != row["id"]:
            doubled.append((int(row["id"]), number))
    if not doubled:
        return []
    number, other = doubled[0]
    why = (
        f"{len(doubled)} annotations repeat another of the same picture, class and box, e.g. "
        f"{number} is {other} again (all are kept)"
    )
    return [Problem(dataset.name, why, fatal=False)]


def similar_classes(dataset: Dataset) -> list[Problem]:
    """A problem, not fatal, for each class that differs from another in case or blanks only."""
    first: dict[str, str] = {}
    problems = []
    for name in dataset.classes:
        other = first.setdefault("".join(name.casefold().split()), name)
        if other != name:
            why = (
                f"the classes {other!r} and {name!r} differ in case or blanks only (both are kept)"
            )
            problems.append(Problem(dataset.name, why, fatal=False))
    return problems


def duplicate_pictures(splits: Mapping[str, Dataset]) -> list[Problem]:
    """Files that hold the very same bytes, within a split or in two of them.

    A picture that is both trained and validated on makes the validation too good to be true.

    Args:
        splits: data sets by the names of their splits.

    Returns:
        One problem for each file that an earlier one equals; none is fatal.
    """
    same_length: dict[int, list[tuple[str, Path]]] = defaultdict(list)
    for name, dataset in splits.items():
        for record in dataset.images:
            if is_file(record.path):
                same_length[record.path.stat().st_size].append((name, record.path))
    problems = []
    for files in same_length.values():
        first: dict[bytes, tuple[str, Path]] = {}
        for name, path in files if len(files) > 1 else ():
            digest = hashlib.sha256(path.read_bytes()).digest()
            other_name, other = first.setdefault(digest, (name, path))
            if (other_name, other) != (name, path):
                where = f"both in {name}" if name == other_name else f"in {other_name}"
                problems.append(
                    Problem(str(path), f"is the same picture as {other} ({where})", fatal=False)
                )
    return problems
