"""Anchors that fit a data set, and how well any anchors fit it.

The thesis's anchors suit COCO at 800 pixels. On other images most of them may match nothing, and
the objects that matter none of them: an object whose best anchor has IoU 0.3 gets a single positive
anchor in training, against dozens for its neighbours. Both functions here look only at the widths
and heights of the boxes, *after* resizing to the network's input, and use no random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.boxes import box_iou

MAX_ITERATIONS = 100


def anchor_shapes(sizes: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
    """Widths and heights of every size in every ratio.

    w = size / sqrt(ratio), h = size sqrt(ratio): the area is size^2 whatever the ratio h / w.

    Returns:
        (len(ratios) * len(sizes), 2) float64: all sizes of the first ratio, then the next ratio.
    """
    roots = np.sqrt(np.asarray(ratios, np.float64))[:, None]
    sizes = np.asarray(sizes, np.float64)[None, :]
    return np.stack([sizes / roots, sizes * roots], axis=2).reshape(-1, 2)


def fit_anchors(widths_heights: np.ndarray, count: int) -> np.ndarray:
    """``count`` anchor shapes that together overlap the boxes best: k-means under IoU.

    The distance is 1 - IoU of concentric boxes (YOLOv2, section 2, 'dimension clusters'); the
    centre of a cluster is its geometric mean. The first centre is the box of median area, each
    further one the box that the centres so far fit worst, so that a few objects of an unusual size
    get an anchor too.

    Args:
        widths_heights: (R, 2) pixels; boxes without area are left out.
        count: how many shapes to return at most (fewer if the boxes have fewer shapes).

    Returns:
        (A, 2) float64 widths and heights, smallest area first.

    Raises:
        ValueError: there is no box with an area.
    """
    shapes = _with_area(widths_heights)
    centres = _spread_apart(shapes, count)
    members = None
    for _ in range(MAX_ITERATIONS):
        nearest = shape_iou(shapes, centres).argmax(axis=1)
        if members is not None and np.array_equal(nearest, members):
            break
        members = nearest
        used = np.unique(members)
        centres = np.stack([np.exp(np.log(shapes[members == k]).mean(axis=0)) for k in used])
        members = np.searchsorted(used, members)
    return centres[np.argsort(centres.prod(axis=1), kind="stable")]


def spread_anchors(
    widths_heights: np.ndarray, num_sizes: int = 5, num_ratios: int = 3
) -> np.ndarray:
    """Anchors like the thesis's, every size in every ratio, over the range of this data set.

    Sizes run in equal factors from the 1 % to the 99 % quantile of sqrt(w h), ratios are quantiles
    of h / w from 10 % to 90 %. A rare size is covered as well as a frequent one.

    Returns:
        (num_ratios * num_sizes, 2) float64 widths and heights, ratio by ratio.

    Raises:
        ValueError: there is no box with an area.
    """
    shapes = _with_area(widths_heights)
    low, high = np.quantile(np.sqrt(shapes.prod(axis=1)), [0.01, 0.99])
    steps = np.linspace(0.1, 0.9, num_ratios) if num_ratios > 1 else [0.5]
    ratios = np.quantile(shapes[:, 1] / shapes[:, 0], steps)
    return anchor_shapes(np.geomspace(low, high, num_sizes), ratios)


def shape_iou(widths_heights: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """IoU of boxes with the same centre, (R, 2) and (A, 2) -> (R, A): how alike two shapes are."""
    return box_iou(_around_origin(widths_heights), _around_origin(shapes))


def best_shape_iou(widths_heights: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """The IoU of each box with the anchor shape that fits it best, (R,).

    The most that matching can reach; on a grid of cells the centres differ as well and less
    remains of a small box (``box_iou(generator.grid(size), boxes).max(0)`` gives that).
    """
    return shape_iou(widths_heights, shapes).max(axis=1)


def _with_area(widths_heights: np.ndarray) -> np.ndarray:
    shapes = np.asarray(widths_heights, np.float64).reshape(-1, 2)
    shapes = shapes[(shapes > 0).all(axis=1)]
    if len(shapes) == 0:
        raise ValueError("anchors cannot be fitted: there is no box with an area")
    return shapes


def _spread_apart(shapes: np.ndarray, count: int) -> np.ndarray:
    """First centres: a typical box, then again and again the box that fits worst so far."""
    middle = np.argsort(shapes.prod(axis=1), kind="stable")[len(shapes) // 2]
    chosen = [middle]
    best = shape_iou(shapes, shapes[[middle]])[:, 0]
    while len(chosen) < count and best.min() < 1:
        chosen.append(int(best.argmin()))
        best = np.maximum(best, shape_iou(shapes, shapes[[chosen[-1]]])[:, 0])
    return shapes[chosen]


def _around_origin(widths_heights: np.ndarray) -> np.ndarray:
    half = np.asarray(widths_heights, np.float64) / 2
    return np.concatenate([-half, half], axis=1)
