"""Crops: a detection set turned into a classification set.

A detector shows its backbone a handful of objects an iteration, buried in background. Cut out and
scaled to one small size, the same objects make a classification task that costs a tenth and teaches
the backbone most of what it needs. ``training.objectives.crops`` learns it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from detector.boxes import covered_fraction
from detector.datasets.transforms import flip_horizontally, flip_vertically
from detector.parts.preprocess import resize
from detector.settings import Positive, Range, Settings

BACKGROUND_TRIES = 10


@dataclass(frozen=True)
class CropLessons(Settings):
    """What a backbone learns from crops before detection; see ``training.objectives.crops``.

    Attributes:
        iterations: so long it learns to classify crops of the objects; 0 skips it.
        size: pixels of a crop's side.
        batch: crops an iteration.
        lr: highest learning rate; it warms up and falls to 0 along a cosine.
    """

    iterations: Annotated[int, Range(0, 10**8)] = 0
    size: Annotated[int, Range(8, 4096)] = 64
    batch: Annotated[int, Range(1, 4096)] = 32
    lr: Positive = 0.1


@dataclass(frozen=True)
class CropTransform:
    """Cuts one square crop out of a picture; a transform for ``datasets.Loader``.

    One crop in (num_classes + 1) is background: a place that no object fills by more than a fifth.
    A picture without objects gives background only.

    Attributes:
        num_classes: without background.
        size: pixels of a crop's side.
        context: smallest and largest side of a crop, in longer sides of its object.
        shift: how far an object may be off the centre of its crop, in its longer side.
        horizontal_flip, vertical_flip: probability of mirroring the picture.
    """

    num_classes: int
    size: int = 64
    context: tuple[float, float] = (0.9, 2.0)
    shift: float = 0.15
    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0

    def __call__(
        self,
        image: np.ndarray,
        target: dict,
        rng: np.random.Generator,
        batch_rng: np.random.Generator,
    ) -> tuple[np.ndarray, dict]:
        """The crop (size, size, 3) uint8 and its ``label``, 0 = background."""
        left_right, top_bottom = rng.random(2)
        if left_right < self.horizontal_flip:
            image, target = flip_horizontally(image, target)
        if top_bottom < self.vertical_flip:
            image, target = flip_vertically(image, target)
        square, label = self.choose(target, image.shape[:2], rng)
        return self.cut(image, square), {"label": label}

    def choose(
        self, target: dict, image_size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[tuple[float, float, float], int]:
        """A square (centre x, centre y, side) and the label of what it shows."""
        boxes, labels = target["boxes"], target["labels"]
        if len(boxes) == 0 or rng.random() * (self.num_classes + 1) < 1:
            return self.background(boxes, image_size, rng), 0
        number = rng.integers(len(boxes))
        x1, y1, x2, y2 = (float(corner) for corner in boxes[number])
        longer = max(x2 - x1, y2 - y1)
        x, y = np.array([x1 + x2, y1 + y2]) / 2 + rng.uniform(-self.shift, self.shift, 2) * longer
        side = longer * np.exp(rng.uniform(*np.log(self.context)))
        return (x, y, side), int(labels[number])

    def background(
        self, boxes: np.ndarray, image_size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[float, float, float]:
        """A square of an eighth to half of the picture, away from the boxes if there is room."""
        height, width = image_size
        for _ in range(BACKGROUND_TRIES):
            side = min(width, height) * np.exp(rng.uniform(np.log(1 / 8), np.log(1 / 2)))
            x, y = rng.uniform(0, width), rng.uniform(0, height)
            region = np.array([[x - side / 2, y - side / 2, x + side / 2, y + side / 2]])
            if len(boxes) == 0 or covered_fraction(region, boxes)[0] < 0.2:
                break
        return x, y, side

    def cut(self, image: np.ndarray, square: tuple[float, float, float]) -> np.ndarray:
        """The square at ``size``; what it shows beyond the border repeats the picture's edge."""
        x, y, side = square
        pixels = np.arange(max(round(side), 1)) - side / 2
        rows = np.clip(np.rint(y + pixels).astype(int), 0, image.shape[0] - 1)
        columns = np.clip(np.rint(x + pixels).astype(int), 0, image.shape[1] - 1)
        return resize(np.ascontiguousarray(image[rows][:, columns]), (self.size, self.size))
