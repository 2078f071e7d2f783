"""Pictures in one folder per class: the usual form of a classification set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.datasets.files import files_in, folders_in
from detector.datasets.images import SUFFIXES, read_image
from detector.errors import UserError
from detector.parts.preprocess import resize


class ClassFolders:
    """The pictures in ``folder/CLASS/``; label k means ``classes[k - 1]``, as in detection.

    Raises:
        UserError: there are no two folders with pictures.
    """

    def __init__(self, folder: str | os.PathLike):
        found = {place.name: files_in(place, SUFFIXES) for place in folders_in(Path(folder))}
        self.classes = [name for name, pictures in found.items() if pictures]
        if len(self.classes) < 2:
            raise UserError(
                f"{folder} holds no classification set: it needs a folder of pictures for each of "
                "at least two classes"
            )
        self.images = [
            (path, label)
            for label, name in enumerate(self.classes, start=1)
            for path in found[name]
        ]

    def __len__(self) -> int:
        return len(self.images)

    def load(self, index: int) -> tuple[np.ndarray, dict]:
        """Picture ``index``, (H, W, 3) uint8, and its ``label``."""
        return read_image(self.images[index][0]), self.target(index)

    def target(self, index: int) -> dict:
        return {"label": self.images[index][1]}


@dataclass(frozen=True)
class SquareTransform:
    """A random square of a picture, at one size, perhaps mirrored; a transform for ``Loader``.

    Attributes:
        size: pixels of its side.
        horizontal_flip: probability of mirroring it.
        smallest: the least side of the square, in shorter sides of the picture.
    """

    size: int
    horizontal_flip: float = 0.5
    smallest: float = 0.6

    def __call__(
        self,
        image: np.ndarray,
        target: dict,
        rng: np.random.Generator,
        batch_rng: np.random.Generator,
    ) -> tuple[np.ndarray, dict]:
        flip, top, left = rng.random(3)
        height, width = image.shape[:2]
        side = max(1, round(min(height, width) * rng.uniform(self.smallest, 1.0)))
        y, x = round(top * (height - side)), round(left * (width - side))
        square = image[y : y + side, x : x + side]
        if flip < self.horizontal_flip:
            square = square[:, ::-1]
        return resize(np.ascontiguousarray(square), (self.size, self.size)), target
