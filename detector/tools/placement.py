"""Do the boxes lie where the objects are?

A box that fits looks different from the strip around it; a box that was moved, or made for a
picture of another size, has object and background on both sides of its border. So each box is
compared with itself moved and scaled in many ways. If, over many pictures, the moved boxes stand
out clearly more than those of the annotations, something is wrong with the latter.

How much a box stands out is Otsu's criterion (1979, "A threshold selection method from gray-level
histograms"): of the variance of the colours in the box and in a strip of the same area around it,
the part that the border explains,

    n1 n2 / (n1 + n2) (mean1 - mean2)^2  /  sum of (colour - mean)^2     in 0..1,

n1 and n2 pixels on the two sides, summed over brightness and two colours, each in units of its
standard deviation in the picture. Instead of colours, it may be what a network sees that has learnt
to tell apart other pictures: blurred, but it knows fur from leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

import nn
from detector.datasets import Dataset
from detector.detectors.detector import Detector
from detector.parts.preprocess import network_size, resize, scale_boxes

SIDE = 160  # the shorter side, in pixels, at which the pictures are compared
LEAST_SIDE = 4.0  # of a box there; what is smaller shows nothing
LEAST_INSIDE = 0.7  # of a box, that must lie in the picture
STRIP = 2**0.5  # the strip and the box together are so many times as long and wide as the box
DIRECTIONS = 4  # of what a network sees, those that vary most in a picture
MOST_PICTURES, MOST_BOXES = 200, 100  # of each picture
LEAST_PICTURES = 8  # with so few nothing is said

# How boxes go wrong. Each kind is a list of ways; (a, b) is what ``moved`` makes of it.
SHIFTS = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
FACTORS = (1 / 3, 0.4, 0.5, 0.6, 2 / 3, 1.5, 5 / 3, 2.0, 2.5, 3.0)
KINDS = {
    "moved by their own size": [(x, y) for x in SHIFTS for y in SHIFTS if (x, y) != (0, 0)],
    "moved": [(x / 4, y / 4) for x in SHIFTS for y in SHIFTS if (x, y) != (0, 0)],
    "of another size": [(factor, factor) for factor in FACTORS],
    "of a picture of another size": [(factor, factor) for factor in FACTORS],
}
SHIFTED = ("moved by their own size", "moved")
# By such a part more must boxes stand out, and by so many standard errors, to be called better.
# A smaller box stands out more by itself: a part of an object often does from the rest of it, as a
# nucleus does from its cell. An object with what is around it never does.
BETTER, BETTER_SMALLER, ERRORS = 0.25, 1.0, 4.0


class Placement(NamedTuple):
    """How much the boxes of a split stand out, and what would make them stand out more.

    Attributes:
        pictures, boxes: that were looked at.
        stands_out: of the annotations' boxes, 0..1, the mean over pictures of that over boxes.
        kind: of ``KINDS``, what the boxes are, None where nothing is better than they are.
        way: how the boxes would have to be moved or scaled (see ``moved``).
        better: how much they would stand out then.
    """

    pictures: int
    boxes: int
    stands_out: float
    kind: str | None = None
    way: tuple[float, float] = (0.0, 0.0)
    better: float = 0.0


def moved(boxes: np.ndarray, kind: str, way: tuple[float, float], size: tuple[int, int]):
    """The boxes (R, 4) as they would be without a mistake of that kind, in a picture (h, w)."""
    x, y = way
    if kind == "of a picture of another size":
        return boxes * np.array([x, y, x, y])
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    if kind == "of another size":
        sides = sides * way
    else:
        centres = centres + np.array(way) * (sides if "own" in kind else (size[1], size[0]))
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)


def placement(dataset: Dataset, model: Detector | None = None) -> Placement:
    """Look at up to ``MOST_PICTURES`` pictures of a data set, spread evenly over it.

    Args:
        model: its backbone looks, instead of colours, for boxes that were moved; it is too
            short-sighted for their sizes.
    """
    kinds = KINDS if model is None else SHIFTED
    ways = [(kind, way) for kind in kinds for way in KINDS[kind]]
    rows, count = [], 0  # of each picture: how much boxes stand out as they are, and in each way
    for planes, boxes, size in pictures(dataset, model):
        tried = [boxes, *(moved(boxes, kind, way, size) for kind, way in ways)]
        found = stand_out(integrals(planes), np.concatenate(tried))
        rows.append(found.reshape(len(tried), len(boxes)).mean(axis=1))
        count += len(boxes)
    if len(rows) < LEAST_PICTURES:
        return Placement(len(rows), count, float(np.mean([row[0] for row in rows] or [0.0])))
    rows = np.array(rows)
    mean, gains = rows[:, 0].mean(), rows[:, 1:] - rows[:, :1]
    gain, error = gains.mean(axis=0), gains.std(axis=0, ddof=1) / len(gains) ** 0.5
    is_smaller = np.array([kind not in SHIFTED and way[0] < 1 for kind, way in ways])
    least = np.maximum(np.where(is_smaller, BETTER_SMALLER, BETTER) * mean, ERRORS * error)
    found = Placement(len(rows), count, float(mean))
    if not (gain > least).any():
        return found
    best = int(np.where(gain > least, gain, -1).argmax())
    kind, way = ways[best]
    return found._replace(kind=kind, way=way, better=float(mean + gain[best]))


def pictures(
    dataset: Dataset, model: Detector | None
) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[int, int]]]:
    """Of pictures with boxes, small: planes (C, h, w) to compare, boxes (R, 4) and (h, w)."""
    shown = np.unique(dataset.annotations["image"][~dataset.annotations["crowd"]])
    spread = np.linspace(0, len(shown) - 1, min(MOST_PICTURES, len(shown))).astype(int)
    for index in shown[spread].tolist():
        image, target = dataset.load(index)
        size = network_size(image.shape[:2], SIDE, 4 * SIDE)
        boxes = scale_boxes(target["boxes"], image.shape[:2], size).astype(np.float64)
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2] >= LEAST_SIDE).all(axis=1)][:MOST_BOXES]
        if len(boxes):
            yield colours(image, size) if model is None else sight(image, model), boxes, size


def colours(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Brightness and two differences (YCbCr), (3, h, w) of mean 0 and standard deviation 1."""
    small = np.asarray(Image.fromarray(resize(image, size)).convert("YCbCr"), np.float64)
    planes = small.transpose(2, 0, 1)
    planes = planes - planes.mean(axis=(1, 2), keepdims=True)
    return planes / (planes.std(axis=(1, 2), keepdims=True) + 1.0)


def sight(image: np.ndarray, model: Detector) -> np.ndarray:
    """What the backbone sees: its last map's principal components, (DIRECTIONS, h, w) likewise.

    It looks at the picture twice as large, so that small boxes have a cell of their own.
    """
    size = network_size(image.shape[:2], 2 * SIDE, 8 * SIDE)
    name, (_, stride) = max(model.backbone.maps.items(), key=lambda entry: entry[1].stride)
    with nn.evaluating(model), nn.no_grad():
        cells = model.backbone.features(model.to_tensor([resize(image, size)]))[name].data[0]
    height, width = (-(-side // stride) for side in size)  # without the padding
    rows = cells[:, :height, :width].reshape(len(cells), -1).astype(np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows /= rows.std(axis=1, keepdims=True) + 1e-6
    directions = np.linalg.svd(rows, full_matrices=False)[2][:DIRECTIONS] * rows.shape[1] ** 0.5
    large = width * stride // 2, height * stride // 2
    return np.stack(
        [
            Image.fromarray(plane.astype(np.float32)).resize(large, Image.Resampling.BILINEAR)
            for plane in directions.reshape(-1, height, width)
        ]
    ).astype(np.float64)[:, : size[0] // 2, : size[1] // 2]


def integrals(planes: np.ndarray) -> np.ndarray:
    """Sums over the pixels above and to the left: (1 + 2 C, h + 1, w + 1) of 1, planes, squares."""
    whole = np.concatenate([np.ones_like(planes[:1]), planes, planes**2])
    return np.pad(whole.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))


def stand_out(sums: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How much each box (R, 4) stands out, (R,) in 0..1; 0 where it or its strip is not there."""
    centres, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    inside = totals(sums, centres - halves, centres + halves)
    whole = totals(sums, centres - STRIP * halves, centres + STRIP * halves)
    around = whole - inside
    counts, C = np.maximum(np.stack([inside[0], around[0]]), 1e-9), len(sums) // 2
    means = np.stack([inside[1 : 1 + C], around[1 : 1 + C]]) / counts[:, None]
    between = counts.prod(0) / counts.sum(0) * (means[0] - means[1]) ** 2
    variance = whole[1 + C :] - whole[1 : 1 + C] ** 2 / np.maximum(whole[0], 1)
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(axis=1), 1e-9)
    seen = (inside[0] >= np.maximum(LEAST_INSIDE * area, LEAST_SIDE**2)) & (around[0] > 0)
    return np.where(seen, between.sum(0) / (variance.sum(0) + 1e-3 * whole[0] + 1e-9), 0.0)


def totals(sums: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The sums (1 + 2 C, R) over boxes between two corners (R, 2), cut off at the edge."""
    edge = np.array(sums.shape[:0:-1]) - 1
    (x1, y1), (x2, y2) = (np.clip(np.rint(c), 0, edge).astype(int).T for c in (low, high))
    return sums[:, y2, x2] - sums[:, y1, x2] - sums[:, y2, x1] + sums[:, y1, x1]
