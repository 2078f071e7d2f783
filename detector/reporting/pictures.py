"""The worst mistakes as pictures: what is there, and what was said to be there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from detector.datasets import Dataset
from detector.evaluation.matches import corners, match
from detector.evaluation.mistakes import KINDS, Mistake, find_mistakes
from detector.reporting.page import embedded

COUNT = 24
LONG_SIDE = 480  # pixels of a picture
SURROUNDINGS = 3.0  # the part that is shown / the boxes
LEAST_SHOWN = 0.3  # of the picture's longer side
TRUTH, FOUND, DARK = (46, 200, 105), (255, 122, 26), (20, 20, 20)  # green, orange in dashes
DASHES = 16, 26  # pixels: a dash, and from one to the next


@dataclass(frozen=True)
class Shown:
    """A mistake as the page shows it.

    ``truth`` and ``found`` are the names of the classes, "" for none; ``score`` None for none.
    """

    kind: str
    source: str
    file: str
    truth: str
    found: str
    score: float | None


def worst_mistakes(ground_truth: dict, detections: Sequence[dict], score: float) -> list[Mistake]:
    """The surest wrong detections of each kind and the largest objects that were missed.

    Sorted by kind. Every kind gets as much room as the others, and what one does not need, they
    get.

    Args:
        ground_truth: ``annotations`` as in COCO's JSON.
        score: what detections score at least that somebody would see.
    """
    seen = [entry for entry in detections if entry["score"] >= score]
    kinds: dict[str, list[Mistake]] = defaultdict(list)
    for found in match(ground_truth["annotations"], seen):
        for mistake in find_mistakes(found):
            kinds[mistake.kind].append(mistake)
    for mistakes in kinds.values():
        mistakes.sort(key=badness, reverse=True)
    places = [(rank, kind) for kind in KINDS for rank in range(len(kinds[kind]))]
    chosen = sorted(places, key=lambda place: place[0])[:COUNT]
    return [kinds[kind][rank] for kind in KINDS for rank in range(COUNT) if (rank, kind) in chosen]


def badness(mistake: Mistake) -> float:
    """How much a mistake asks to be looked at, among those of its kind."""
    if mistake.detection is not None:
        return mistake.detection["score"]
    return mistake.object["bbox"][2] * mistake.object["bbox"][3]


def show(mistake: Mistake, dataset: Dataset, place: dict[int, int]) -> Shown:
    """Draw a mistake.

    Args:
        place: of each image in the data set, by its id.
    """
    names = dict(zip(dataset.category_ids, dataset.classes, strict=True))
    index = place[mistake.image_id]
    record, image = dataset.images[index], dataset.read(index)
    factors = np.array([image.shape[1], image.shape[0]] * 2) / ([record.width, record.height] * 2)
    boxes = [
        (corners([entry])[0] * factors, colour, is_dashed)
        for entry, colour, is_dashed in (
            (mistake.object, TRUTH, False),
            (mistake.detection, FOUND, True),
        )
        if entry is not None
    ]
    return Shown(
        mistake.kind,
        embedded(drawn(image, boxes)),
        record.path.name,
        names[mistake.object["category_id"]] if mistake.object else "",
        names[mistake.detection["category_id"]] if mistake.detection else "",
        mistake.detection["score"] if mistake.detection else None,
    )


def drawn(image: np.ndarray, boxes: Sequence[tuple[np.ndarray, tuple, bool]]) -> np.ndarray:
    """The part of a picture around some boxes, with them.

    Args:
        image: (H, W, 3) uint8.
        boxes: corners in its pixels, colour, and whether the line is dashed.
    """
    height, width = image.shape[:2]
    every = np.array([box for box, _, _ in boxes])
    low, high = every[:, :2].min(axis=0), every[:, 2:].max(axis=0)
    side = max(SURROUNDINGS * (high - low).max(), LEAST_SHOWN * max(height, width), 1.0)
    size = np.minimum(side, (width, height))
    start = np.clip((low + high - size) / 2, 0, (width, height) - size)
    region = np.concatenate([start, start + size])
    scale = LONG_SIDE / size.max()
    pixels = tuple(max(1, round(float(s) * scale)) for s in size)
    picture = Image.fromarray(image).resize(pixels, Image.Resampling.BICUBIC, tuple(region))
    pen = ImageDraw.Draw(picture)
    for box, colour, is_dashed in boxes:
        rectangle(pen, (box - np.tile(start, 2)) * scale, colour, is_dashed)
    return np.asarray(picture)


def rectangle(pen: ImageDraw.ImageDraw, box: np.ndarray, colour: tuple, is_dashed: bool) -> None:
    """A line in a darker and wider one, seen on any ground."""
    x1, y1, x2, y2 = box.tolist()
    corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
    strokes = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        length = np.abs(end - start).sum()
        dash, step = DASHES if is_dashed else (length, length + 1)
        for at in np.arange(0, length, step):
            until = min(at + dash, length)
            strokes.append([tuple(start + (end - start) * part / length) for part in (at, until)])
    for width, ink in ((8, DARK), (4, colour)):
        for stroke in strokes:
            pen.line(stroke, fill=ink, width=width)
