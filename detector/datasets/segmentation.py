"""The box around an outline, for annotations in COCO's format that have outlines only.

Polygons are lists ``x1, y1, x2, y2, ...`` in pixels. A mask is run-length encoded, column by
column: how many pixels are outside, then inside, then outside again, ..., as numbers or packed into
a text (https://cocodataset.org/#format-data).
"""

from __future__ import annotations

import numpy as np

from detector.datasets.numbers import to_number, to_whole

LONGEST_SIDE = 2**16  # pixels


def box_around(segmentation: object) -> list[float] | None:
    """``x, y, width, height`` of the box around polygons or a mask; None if it is neither."""
    if isinstance(segmentation, dict):
        return box_around_mask(segmentation)
    if not isinstance(segmentation, list):
        return None
    polygons = (
        segmentation if segmentation and isinstance(segmentation[0], list) else [segmentation]
    )
    points = []
    for polygon in polygons:
        numbers = [to_number(n) for n in polygon] if isinstance(polygon, list) else [None]
        if None in numbers or len(numbers) < 6 or len(numbers) % 2:
            return None
        points += zip(numbers[0::2], numbers[1::2], strict=True)
    left, top = (min(values) for values in zip(*points, strict=True))
    right, bottom = (max(values) for values in zip(*points, strict=True))
    return [left, top, right - left, bottom - top]


def box_around_mask(mask: dict) -> list[float] | None:
    """The same of a run-length encoded mask; a box without area if no pixel is inside."""
    size, counts = mask.get("size"), mask.get("counts")
    sides = [to_whole(side) for side in size] if isinstance(size, list) and len(size) == 2 else []
    if len(sides) != 2 or None in sides or not all(0 < side <= LONGEST_SIDE for side in sides):
        return None
    height, width = sides
    if isinstance(counts, str):
        runs = unpacked(counts)
    else:
        runs = [to_whole(run) for run in counts] if isinstance(counts, list) else None
    if runs is None or None in runs or any(run < 0 for run in runs) or sum(runs) != height * width:
        return None
    ends = np.cumsum(np.array(runs, np.int64))
    starts, ends = ends[0:-1:2], ends[1::2]
    filled = ends > starts
    first, last = starts[filled], ends[filled] - 1
    if not len(first):
        return [0.0, 0.0, 0.0, 0.0]
    left, right = int(first[0] // height), int(last[-1] // height)
    # A run that goes on in the next column touches the bottom of one and the top of the other.
    goes_on = first // height != last // height
    top = 0 if goes_on.any() else int((first % height).min())
    bottom = height - 1 if goes_on.any() else int((last % height).max())
    return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]


def unpacked(text: str) -> list[int] | None:
    """The runs in COCO's packed text, None if it is none.

    Each number is written in digits of five bits, the lowest first, with a sixth bit where more
    follow; from the fourth on it is the difference to the run two places before.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for letter in text:
        digit = ord(letter) - 48
        if not 0 <= digit < 64 or shift > 60:
            return None
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    return runs if shift == 0 else None
