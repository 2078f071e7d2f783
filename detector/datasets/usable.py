"""Which pictures of a data set can be used; the others are left out, each with a remark.

A picture that cannot be decoded is found before a training begins, not in the middle of its night.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detector.datasets.dataset import Dataset, ImageRecord
from detector.datasets.files import is_file
from detector.datasets.images import (
    ON_ITS_SIDE,
    is_jpeg,
    open_image,
    orientation,
    read_image,
    reduction,
)
from detector.datasets.problems import WITHOUT, Problem
from detector.errors import UserError

SAME_SHAPE = 0.02  # by so much of itself differs width / height of a picture that was resized


class Look(NamedTuple):
    """What is found out about a picture: why it cannot be used ("" if it can), its upright width
    and height in pixels, its EXIF orientation, by how much its sides are divided when decoded."""

    why_not: str = ""
    size: tuple[int, int] = (0, 0)
    orientation: int = 1
    reduction: int = 1


def without_unusable(
    dataset: Dataset, strict: bool = False, after_image: Callable[[], None] = lambda: None
) -> tuple[Dataset, list[Problem]]:
    """The data set without the pictures that are missing or damaged, with the sizes they have.

    Args:
        strict: nothing is left out, and every such picture is a fatal problem.
        after_image: called after each picture, for progress or to stop by an exception.

    Returns:
        the data set, whose ``problems`` name what was left out; and the fatal problems.
    """
    if not dataset.has_files:
        return dataset, []
    looks = []
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for look in pool.map(look_at, dataset.images):
            looks.append(look)
            after_image()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    bad = [(image, look) for image, look in zip(dataset.images, looks, strict=True) if look.why_not]
    if bad and (strict or len(bad) == len(dataset)):
        return dataset, [Problem(str(image.path), look.why_not) for image, look in bad]
    fine = [k for k, look in enumerate(looks) if not look.why_not]
    usable = dataset.part(np.array(fine, np.int64))
    usable.problems += [
        Problem(str(image.path), look.why_not, fatal=False, outcome=WITHOUT) for image, look in bad
    ]
    fatal = [
        problem
        for place, k in enumerate(fine)
        for problem in mend_size(usable, place, looks[k])
        if problem.fatal or usable.problems.append(problem)
    ]
    return usable, fatal


def look_at(record: ImageRecord) -> Look:
    """Decodes a picture, unless it was looked at before and has not changed since."""
    if not is_file(record.path):
        return Look("no such file" + f" ({record.missing})" * bool(record.missing))
    status = os.stat(record.path)
    return decode(record.path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2**17)
def decode(path: Path, changed: int, size: int) -> Look:
    """Decodes a picture, a JPEG at an eighth of its size, which takes a fraction of the time.

    Args:
        changed, size: of the file, so that another file of that name is looked at anew.
    """
    try:
        with open_image(path) as image:
            turned, factor = orientation(image), reduction(image)
            upright = image.size[::-1] if turned in ON_ITS_SIDE else image.size
            look = Look("", upright, turned, factor)
            if is_jpeg(image):
                image.draft(None, (image.width // 8, image.height // 8))
                image.load()
                return look
        read_image(path)
        return look
    except UserError as error:
        return Look(str(error).removeprefix(str(path)).lstrip())
    except Exception as error:  # as free as those that read_image expects
        return Look(f"is damaged or truncated ({error}): replace or remove it")


def mend_size(dataset: Dataset, place: int, look: Look) -> Sequence[Problem]:
    """Give image ``place`` the sizes that it has; a problem if the annotations say another.

    Boxes of the stored pixels of a picture that its EXIF orientation turns are turned with it. In a
    picture of another shape than stated boxes stay where they are, if they lie inside: such sizes
    are wrong. One of the same shape was resized after it was annotated, and that is fatal.
    """
    record = dataset.images[place] = replace(dataset.images[place], reduction=look.reduction)
    stated, size = (record.width, record.height), look.size
    if stated == size:
        return []
    rows = dataset.annotations["image"] == place
    boxes = dataset.annotations["box"]
    what = f"is {size[0]} x {size[1]} pixels when upright, but {dataset.name} says {stated[0]} x "
    what += f"{stated[1]}"
    if look.orientation in ON_ITS_SIDE and stated == size[::-1]:
        boxes[rows] = turn(boxes[rows], look.orientation, stated)
        record = replace(record, turned=look.orientation)
        what += ": taken for boxes of the stored pixels, and turned as EXIF says"
    elif (boxes[rows][:, 2:] <= size).all() and not same_shape(stated, size):
        what += ": the boxes are taken for pixels of the picture"
    else:
        what += ": its boxes would be in wrong places, mend the annotations or replace the picture"
        return [Problem(str(record.path), what)]
    dataset.images[place] = replace(record, width=size[0], height=size[1])
    return [Problem(str(record.path), what, fatal=False)]


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= SAME_SHAPE


def turn(boxes: np.ndarray, orientation: int, stored: tuple[int, int]) -> np.ndarray:
    """Boxes (R, 4) of the stored pixels, (width, height), in the picture turned upright.

    EXIF's orientations 5 to 8 exchange x and y (5); 6 then mirrors x, 8 mirrors y, 7 both.
    """
    width, height = stored
    x1, y1, x2, y2 = boxes[:, [1, 0, 3, 2]].T
    if orientation in (6, 7):
        x1, x2 = height - x2, height - x1
    if orientation in (7, 8):
        y1, y2 = width - y2, width - y1
    return np.stack([x1, y1, x2, y2], axis=1)
