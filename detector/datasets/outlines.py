"""The outlines of objects, from a file in COCO's format: polygons, or run-length encoded masks.

Read only for a detector that learns from masks; for all others a box is 70 bytes, an outline many.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from detector.datasets.dataset import Dataset, ImageRecord
from detector.datasets.numbers import to_number, to_whole
from detector.datasets.segmentation import unpacked
from detector.errors import UserError
from detector.masks import decode, encode

NO_MASKS = (
    "has boxes only, and this detector learns masks: use COCO's JSON with a segmentation for each "
    "box, or another detector"
)


FARTHEST = 2.0  # pictures beside or above its own to which a polygon may reach


class NoOutlinesError(UserError):
    """A data set has boxes only."""


class OutlineError(ValueError):
    """An outline is none, or none in its picture; the text says why."""


def with_outlines(dataset: Dataset) -> Dataset:
    """A copy whose targets have ``masks``.

    Raises:
        NoOutlinesError: it has none.
        UserError: one of them is wrong; names file, annotation and way out.
    """
    if not dataset.has_files:
        return dataset.with_masks({})  # it makes them itself
    path = Path(dataset.name)
    if path.suffix.lower() != ".json" or not path.is_file():
        raise NoOutlinesError(f"{dataset.name} {NO_MASKS}")
    entries = json.loads(path.read_bytes())["annotations"]
    given = {
        to_whole(entry.get("id")): entry.get("segmentation")
        for entry in entries
        if isinstance(entry, dict)
    }
    if given.pop(None, None):
        raise UserError(
            f"{dataset.name}: there are annotations without an id, so that nothing says which mask "
            'belongs to which box: give each an "id", a whole number'
        )
    rows = dataset.annotations
    if not any(given.get(int(row["id"])) for row in rows[~rows["crowd"]]):
        raise NoOutlinesError(f"{dataset.name} {NO_MASKS}")
    outlines, wrong = {}, []
    for row in rows:
        number, record = int(row["id"]), dataset.images[row["image"]]
        try:
            outlines[number] = encode(upright_mask(given.get(number), record))
        except OutlineError as error:
            if not row["crowd"]:  # without one, the whole box of a crowd is left alone
                wrong.append(f"annotation {number} (image {record.path.name}): {error}")
    if wrong:
        more = f" ({len(wrong) - 1} more like it)" if len(wrong) > 1 else ""
        raise UserError(
            f"{dataset.name}: {wrong[0]}{more}: mend the segmentation or leave the annotation out"
        )
    return dataset.with_masks(outlines)


def upright_mask(segmentation: object, record: ImageRecord) -> np.ndarray:
    """The pixels (H, W) bool in a picture, turned with it where its boxes were."""
    if record.turned == 1:
        return mask_of(segmentation, record.height, record.width)
    mask = mask_of(segmentation, record.width, record.height).T  # EXIF's orientation 5
    across, down = record.turned in (6, 7), record.turned in (7, 8)
    return mask[:: -1 if down else 1, :: -1 if across else 1]


def mask_of(segmentation: object, height: int, width: int) -> np.ndarray:
    """The pixels (H, W) bool of COCO's ``segmentation``.

    Raises:
        OutlineError: it is none, or of another picture.
    """
    if isinstance(segmentation, dict):
        mask = decode(runs_of(segmentation, height, width), (height, width))
    else:
        mask = filled(polygons_of(segmentation, height, width), height, width)
    if not mask.any():
        raise OutlineError("its mask has no pixel inside the picture")
    return mask


def runs_of(mask: dict, height: int, width: int) -> list[int]:
    """The runs of a mask for a picture of this size."""
    size, counts = mask.get("size"), mask.get("counts")
    if not (isinstance(size, list) and [to_whole(side) for side in size] == [height, width]):
        shown = " x ".join(map(str, size[::-1])) if isinstance(size, list) else "no size"
        raise OutlineError(
            f"its mask is for {shown[:40]} pixels, the picture has {width} x {height}"
        )
    if isinstance(counts, str):
        runs = unpacked(counts)
    else:
        runs = [to_whole(run) for run in counts] if isinstance(counts, list) else None
    if runs is None or None in runs or any(run < 0 for run in runs):
        raise OutlineError("its run-length encoded mask is damaged")
    if sum(runs) != height * width:
        raise OutlineError(f"its mask has {sum(runs)} pixels, the picture {height * width}")
    return runs


def polygons_of(segmentation: object, height: int, width: int) -> list[list[float]]:
    """The polygons, each ``x1, y1, x2, y2, ...``, for a picture of this size."""
    if not isinstance(segmentation, list) or not segmentation:
        raise OutlineError("it has no outline")
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    result = []
    for polygon in polygons:
        numbers = [to_number(n) for n in polygon] if isinstance(polygon, list) else [None]
        if not numbers:
            raise OutlineError("one of its polygons is empty")
        if None in numbers or len(numbers) < 6 or len(numbers) % 2:
            raise OutlineError("a polygon must be x and y of three points or more")
        # What fills it walks along every edge, in memory.
        for coordinates, side in ((numbers[0::2], width), (numbers[1::2], height)):
            if max(abs(place - side / 2) for place in coordinates) > (FARTHEST + 0.5) * side:
                raise OutlineError("one of its polygons reaches far beyond the picture")
        result.append(numbers)
    return result


def filled(polygons: list[list[float]], height: int, width: int) -> np.ndarray:
    """The pixels inside any of the polygons, as COCO's own program fills them; of what is too thin
    to hold any, the pixel in its middle."""
    from pycocotools import mask as coco

    found = coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))).astype(bool)
    if not found.any():
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
        x, y = np.floor(points.mean(axis=0)).astype(int)
        if 0 <= x < width and 0 <= y < height:
            found[y, x] = True
    return found
