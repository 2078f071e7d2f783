"""Pictures for the chapters: real photographs where there are any, else painted shapes.

Photographs are looked for in the folder ``$LIGHTHEAD_DATA``, or else in ``../shared/data`` beside
the repository: ``coco-mini`` and ``bccd`` there are data sets in COCO's layout.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from detector.datasets import Dataset, ShapesDataset, open_dataset

FOLDERS = {"coco": "coco-mini", "bccd": "bccd"}
SHAPES_SIZE = 320

_root = Path(os.environ.get("LIGHTHEAD_DATA") or Path(__file__).parents[3] / "shared" / "data")
_found = [kind.upper() for kind, folder in FOLDERS.items() if (_root / folder).is_dir()]

#: One sentence that says where the pictures come from.
source = (
    f"The pictures are photographs of {' and '.join(_found)}."
    if len(_found) == len(FOLDERS)
    else f"The pictures are photographs of {_found[0]}, and painted shapes for the rest."
    if _found
    else "The pictures are painted shapes: there are no photographs in LIGHTHEAD_DATA."
)


def load(count: int, kind: str = "coco") -> list[np.ndarray]:
    """The first ``count`` pictures that show an object, each (H, W, 3) uint8 RGB.

    Args:
        count: how many.
        kind: ``"coco"``, everyday scenes, or ``"bccd"``, blood cells under the microscope.

    Raises:
        ValueError: there is no such kind, or there are not so many photographs.
    """
    return [image for image, _, _ in with_boxes(count, kind)]


def with_boxes(count: int, kind: str = "coco") -> list[tuple[np.ndarray, np.ndarray, list[str]]]:
    """The pictures of ``load`` with their objects.

    Returns:
        For each picture the image, its boxes (R, 4) float32 ``(x1, y1, x2, y2)`` in pixels, R >= 1,
        and R names of classes.

    Raises:
        ValueError: as ``load``.
    """
    dataset = _open(kind, count)
    shown = [index for index in range(len(dataset)) if len(dataset.target(index)["boxes"])]
    if len(shown) < count:
        raise ValueError(f"there are {len(shown)} pictures of {kind} with objects, not {count}")
    pictures = []
    for index in shown[:count]:
        image, target = dataset.load(index)
        names = [dataset.classes[label - 1] for label in target["labels"]]
        pictures.append((image, target["boxes"], names))
    return pictures


def _open(kind: str, count: int) -> Dataset:
    if kind not in FOLDERS:
        raise ValueError(f"there are photographs of {' and '.join(FOLDERS)}, not of {kind!r}")
    folder = _root / FOLDERS[kind]
    if folder.is_dir():
        return open_dataset(folder, "train")
    return ShapesDataset(count, image_size=SHAPES_SIZE)
