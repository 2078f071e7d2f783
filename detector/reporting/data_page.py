"""A page that shows annotated pictures with their boxes, to be looked at before anyone trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from detector import own_files
from detector.datasets import Dataset
from detector.errors import UserError
from detector.evaluation.drawing import draw_detections
from detector.reporting.page import embedded, write_page

EACH_CLASS = 2  # pictures that show it
MOST = 120  # pictures on a page
LONG_SIDE = 640  # pixels


@dataclass(frozen=True)
class Annotated:
    """A picture as the page shows it; ``source`` is "" where it cannot be read."""

    split: str
    file: str
    boxes: int
    names: list[str]
    remarks: list[str]
    source: str


def write_data_page(splits: Mapping[str, Dataset], path: Path) -> int:
    """Write the page: of each split two pictures of every class, and all with a remark.

    Args:
        splits: the data sets by name, with what was found wrong with them.
        path: of the page; what is not such a page is not replaced.

    Returns:
        how many pictures are on it.

    Raises:
        UserError: something else lies at ``path``.
    """
    own_files.check_free(path, own_files.is_own_page)
    shown = []
    for split, dataset in splits.items():
        remarks = remarks_by_image(dataset)
        for index in chosen(dataset, remarks)[: MOST - len(shown)]:
            shown.append(annotated(split, dataset, index, remarks.get(index, [])))
    write_page(path, "data.html", shown=shown, each_class=EACH_CLASS)
    return len(shown)


def remarks_by_image(dataset: Dataset) -> dict[int, list[str]]:
    """What was said of each image, by its place."""
    place = {record.id: index for index, record in enumerate(dataset.images)}
    remarks: dict[int, list[str]] = {}
    for problem in dataset.problems:
        if problem.image in place:
            remarks.setdefault(place[problem.image], []).append(str(problem))
    return remarks


def chosen(dataset: Dataset, remarks: Mapping[int, list[str]]) -> list[int]:
    """The images to show, by their places: those with remarks, then some of every class."""
    indices = dict.fromkeys(sorted(remarks))
    for label in range(1, len(dataset.classes) + 1):
        rows = dataset.annotations[dataset.annotations["label"] == label]
        shows = np.unique(rows["image"])
        spread = np.linspace(0, len(shows) - 1, min(EACH_CLASS, len(shows))).astype(int)
        indices |= dict.fromkeys(shows[spread].tolist())
    return list(indices)


def annotated(split: str, dataset: Dataset, index: int, remarks: list[str]) -> Annotated:
    """One picture with its boxes."""
    record = dataset.images[index]
    rows = dataset.annotations[dataset.annotations["image"] == index]
    try:
        parts = rows["box"] / ([record.width, record.height] * 2)
        source = embedded(drawn(dataset.read(index), parts, rows["label"], dataset.classes))
    except UserError as error:
        source, remarks = "", [*remarks, str(error)]
    names = sorted({dataset.classes[label - 1] for label in rows["label"]})
    return Annotated(split, record.path.name, len(rows), names, remarks, source)


def drawn(
    image: np.ndarray, parts: np.ndarray, labels: np.ndarray, classes: list[str]
) -> np.ndarray:
    """A picture of at most ``LONG_SIDE`` with its boxes, (R, 4) corners as parts of its sides."""
    height, width = image.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = [max(1, round(side * scale)) for side in (width, height)]
    small = np.asarray(Image.fromarray(image).resize(size))
    return draw_detections(small, parts * (size * 2), labels, None, classes)
