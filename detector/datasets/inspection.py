"""What can only be found out by opening every picture: ``lighthead check-data`` waits for that."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from detector.datasets.dataset import Dataset
from detector.datasets.problems import Problem
from detector.errors import UserError


def check_pictures(
    dataset: Dataset, threads: int = 2, after_image: Callable[[], None] = lambda: None
) -> list[Problem]:
    """Decode every picture; a fatal problem for each that is missing, damaged or of another size.

    Args:
        after_image: called after each picture, for progress or to stop by an exception.
    """

    def check(index: int) -> Problem | None:
        path = str(dataset.images[index].path)
        try:
            dataset.load(index)
        except UserError as error:
            return Problem(path, str(error).removeprefix(path).lstrip())
        return None

    problems = []
    pool = ThreadPoolExecutor(max(1, threads))
    try:
        for problem in pool.map(check, range(len(dataset))):
            if problem is not None:
                problems.append(problem)
            after_image()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
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
            if record.path.is_file():
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
