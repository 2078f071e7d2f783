"""Pictures in one folder per class: the usual form of a classification set."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.datasets.files import composed, files_in, folders_in
from detector.datasets.images import SUFFIXES, read_image
from detector.errors import UserError
from detector.parts.preprocess import resize


class ClassFolders:
    """The pictures in ``folder/CLASS/``; label k means ``classes[k - 1]``, as in detection.

    Args:
        classes: only these, in this order; None: all folders with pictures, by their names.

    Raises:
        UserError: there are no two folders with pictures, or one of another class.
    """

    def __init__(self, folder: str | os.PathLike, classes: Sequence[str] | None = None):
        found = {place.name: files_in(place, SUFFIXES) for place in folders_in(Path(folder))}
        self.classes = [name for name, pictures in found.items() if pictures]
        if classes is not None:
            unknown = [name for name in self.classes if name not in classes]
            if unknown:
                raise UserError(
                    f"{folder} has the class {unknown[0]!r}, which there is none of to learn from"
                )
            self.classes = list(classes)
        if len(self.classes) < 2:
            raise UserError(
                f"{folder} holds no classification set: it needs a folder of pictures for each of "
                "at least two classes"
            )
        self.images = [
            (path, label)
            for label, name in enumerate(self.classes, start=1)
            for path in found.get(name, [])
        ]

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> tuple[np.ndarray, dict]:
        """Picture ``index``, (H, W, 3) uint8, and its ``label``."""
        return read_image(self.images[index][0]), self.target(index)

    def target(self, index: int) -> dict:
        return {"label": self.images[index][1]}

    def digest(self) -> str:
        """A SHA-256 of the pictures' names and classes, wherever the folder lies."""
        lines = [f"{label} {composed(path.name)}\n" for path, label in self.images]
        return hashlib.sha256("".join(lines).encode(errors="surrogatepass")).hexdigest()

    def part(self, indices: Iterable[int]) -> ClassFolders:
        """Only these pictures; the classes stay."""
        part = copy.copy(self)
        part.images = [self.images[index] for index in indices]
        return part


def open_class_folders(folder: str | os.PathLike) -> tuple[ClassFolders, ClassFolders]:
    """The pictures to learn from and those to measure with.

    ``folder`` holds ``train`` and ``val`` with a folder for each class; or the classes themselves,
    and then every fifth picture of a class, in the order of a hash of its name, is kept to measure
    with: the same ones whatever is added later.

    Raises:
        UserError: that is not so, or val has a class that train does not have.
    """
    folder = Path(folder)
    if (folder / "train").is_dir():
        train = ClassFolders(folder / "train")
        for name in ("val", "valid", "test"):
            if (folder / name).is_dir():
                return train, ClassFolders(folder / name, train.classes)
        raise UserError(f"{folder} has a folder train but none to measure with: add {folder}/val")
    whole = ClassFolders(folder)
    kept = [is_kept(path.name) for path, _ in whole.images]
    if all(kept) or not any(kept):
        raise UserError(f"{folder} has too few pictures to keep a fifth of them to measure with")
    return whole.part(np.flatnonzero(~np.array(kept))), whole.part(np.flatnonzero(kept))


def is_kept(name: str) -> bool:
    """Whether a picture of this name is one of the fifth that is measured with."""
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()[0] % 5 == 0


@dataclass(frozen=True)
class SquareTransform:
    """A random square of a picture, at one size, perhaps mirrored; a transform for ``Loader``.

    Attributes:
        size: pixels of its side.
        horizontal_flip: probability of mirroring it.
        smallest: the least side of the square, in shorter sides of the picture.
        is_random: False for the square in the middle, not mirrored.
    """

    size: int
    horizontal_flip: float = 0.5
    smallest: float = 0.6
    is_random: bool = True

    def __call__(
        self,
        image: np.ndarray,
        target: dict,
        rng: np.random.Generator,
        batch_rng: np.random.Generator,
    ) -> tuple[np.ndarray, dict]:
        flip, top, left = rng.random(3) if self.is_random else (1.0, 0.5, 0.5)
        height, width = image.shape[:2]
        side = max(1, round(min(height, width) * rng.uniform(self.smallest, 1.0)))
        y, x = round(top * (height - side)), round(left * (width - side))
        square = image[y : y + side, x : x + side]
        if flip < self.horizontal_flip:
            square = square[:, ::-1]
        return resize(np.ascontiguousarray(square), (self.size, self.size)), target
