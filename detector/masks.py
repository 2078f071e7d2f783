"""Masks: which pixels of a picture are the object's.

A detector says for each of m x m cells of a box how sure it is that the cell is the object's,
whatever the size of the picture; ``paste`` makes pixels of that. Files hold masks run-length
encoded as COCO does (https://cocodataset.org/#format-data): column by column, how many pixels are
outside, then inside, then outside again.
"""

from __future__ import annotations

import math

import numpy as np

THRESHOLD = 0.5  # a pixel surer than that is the object's


def paste(mask: np.ndarray, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels of an object.

    The mask is stretched over its box and read at the centre of every pixel, linearly between the
    centres of its cells; outside it is 0 (Detectron2's definition).

    Args:
        mask: (m, m) in 0..1; box: (4,) corners in pixels; size: (H, W) of the picture.

    Returns:
        (H, W) bool.
    """
    x1, y1, x2, y2 = (float(side) for side in box)
    result = np.zeros(size, bool)
    if not (x2 > x1 and y2 > y1):
        return result
    rows, down = _weights(y1, y2, mask.shape[0], size[0])
    columns, across = _weights(x1, x2, mask.shape[1], size[1])
    result[rows, columns] = down @ np.asarray(mask, np.float64) @ across.T > THRESHOLD
    return result


def _weights(start: float, end: float, cells: int, pixels: int) -> tuple[slice, np.ndarray]:
    """Along one axis: which pixels a box reaches, and how much of each cell they read, (P, m)."""
    reach = (end - start) / cells / 2  # beyond the box, where the outermost cells fade out
    first = min(max(0, math.floor(start - reach)), pixels)
    last = max(first, min(pixels, math.ceil(end + reach)))
    places = (np.arange(first, last) + 0.5 - start) / (end - start) * cells - 0.5
    return slice(first, last), np.maximum(1 - np.abs(places[:, None] - np.arange(cells)), 0)


def encode(mask: np.ndarray) -> dict:
    """COCO's ``{"size": [H, W], "counts": text}`` of a mask (H, W) bool."""
    pixels = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    ends = [0] if pixels[:1].any() else []  # the first run is outside
    runs = np.diff(np.concatenate([[0], ends, changes, [len(pixels)]]).astype(np.int64))
    return {"size": list(mask.shape), "counts": packed(runs.tolist())}


def decode(runs: list[int], size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) bool of runs that add up to H W."""
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(size, order="F")


def packed(runs: list[int]) -> str:
    """Runs as COCO's text; ``datasets.segmentation.unpacked`` is the inverse.

    From the fourth on the difference to the run two places before, in digits of five bits, the
    lowest first, a sixth bit where more follow.
    """
    letters = []
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        while True:
            digit, value = value & 31, value >> 5
            is_last = value == (-1 if digit & 16 else 0)
            letters.append(chr(48 + (digit if is_last else digit | 32)))
            if is_last:
                break
    return "".join(letters)
