"""Boxes: their overlap, their suppression and the numbers a network predicts for them.

Plain geometry on arrays, used by every stage. A set of boxes is an array (R, 4) of corners
``(x1, y1, x2, y2)`` in pixels. Coordinates are continuous: a box over the whole of an image that is
w pixels wide goes from 0 to w, its width is x2 - x1 (no + 1 anywhere), and its centre is the mean
of its corners. float32 unless the input is float64; R may be 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nn.kernels.box_iou import box_iou as box_iou_kernel
from nn.kernels.nms import nms as nms_kernel

# A predicted box is at most 1000 / 16 = 62.5 times as wide or high as its anchor: the exponential
# of an untrained network's output would overflow. (The bound torchvision and Detectron2 use.)
MAX_LOG_SCALE = float(np.log(1000.0 / 16.0))

# Sides shorter than this count as this long when boxes are encoded, so that a logarithm or a
# quotient of a box without area stays finite.
MIN_SIDE = 1e-3

UNIT_STDS = (1.0, 1.0, 1.0, 1.0)


def as_boxes(boxes, name: str = "boxes") -> np.ndarray:
    """An (R, 4) array, float32 unless it was float64; an empty list becomes (0, 4).

    Raises:
        ValueError: the array has another shape.
    """
    boxes = np.asarray(boxes)
    if boxes.size == 0 and boxes.ndim <= 2:
        boxes = boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} must have the shape (R, 4), not {boxes.shape}")
    return boxes if boxes.dtype == np.float64 else boxes.astype(np.float32, copy=False)


def box_area(boxes: np.ndarray) -> np.ndarray:
    """Width times height of each box, (R, 4) -> (R,); 0 for a box turned inside out."""
    boxes = as_boxes(boxes)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of each box of ``a`` with each of ``b``.

    Args:
        a: (R, 4); b: (G, 4).

    Returns:
        (R, G) in [0, 1]. A box without area has IoU 0 with every box, itself included.
    """
    a, b = as_boxes(a, "a"), as_boxes(b, "b")
    dtype = np.result_type(a, b)
    out = np.empty((len(a), len(b)), dtype)
    box_iou_kernel(np.ascontiguousarray(a, dtype), np.ascontiguousarray(b.T, dtype), out)
    return out


def covered_fraction(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """How much of each box lies in its best region: max over regions of intersection / area(box).

    This, not IoU, says whether a box is part of a crowd: the crowd's region is far larger.

    Args:
        boxes: (R, 4); regions: (I, 4).

    Returns:
        (R,) in [0, 1]; 0 for boxes without area and where there is no region.
    """
    boxes, regions = as_boxes(boxes), as_boxes(regions, "regions")
    corner1 = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    corner2 = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    intersection = np.maximum(corner2 - corner1, 0).prod(axis=2).max(axis=1, initial=0)
    area = box_area(boxes)
    return np.divide(intersection, area, out=np.zeros_like(area), where=area > 0)


def nms(
    boxes: np.ndarray, scores: np.ndarray, iou_threshold: float, limit: int | None = None
) -> np.ndarray:
    """Non-maximum suppression: keep the best box, drop what overlaps it, go on with the next.

    Args:
        boxes: (R, 4).
        scores: (R,); of equal scores the lower index comes first.
        iou_threshold: boxes with a greater IoU than this to a kept one are dropped.
        limit: stop after so many kept boxes.

    Returns:
        int64 indices of the kept boxes, best score first.
    """
    return nms_kernel(as_boxes(boxes), np.asarray(scores), iou_threshold, limit)


def batched_nms(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, iou_threshold: float
) -> np.ndarray:
    """``nms`` among the boxes of each label by themselves.

    Args:
        boxes: (R, 4); scores: (R,); labels: (R,) integers.

    Returns:
        int64 indices of the kept boxes of all labels, best score first.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    kept = [np.zeros(0, np.int64)]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        kept.append(members[nms(boxes[members], scores[members], iou_threshold)])
    # Sorted by index first, so that of equal scores the lower index comes first here too.
    indices = np.sort(np.concatenate(kept))
    return indices[np.argsort(-scores[indices], kind="stable")]


def best_scores(scores: np.ndarray, count: int) -> np.ndarray:
    """Indices of the ``count`` highest ``scores`` (all, if there are fewer), best first.

    Of equal scores the lower index comes first; NaN comes last. The same as sorting all of them and
    taking the first, without sorting what is not taken.
    """
    scores = np.asarray(scores)
    candidates = np.arange(len(scores))
    if count < len(scores):
        least = -np.partition(-scores, count - 1)[count - 1] if count else np.inf
        if not np.isnan(least):
            candidates = np.flatnonzero(scores >= least)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:count]


def encode(boxes: np.ndarray, anchors: np.ndarray, stds: Sequence[float] = UNIT_STDS) -> np.ndarray:
    """The four numbers that lead from each anchor to its box (R-CNN, appendix C).

    dx = (x - xa) / wa, dy = (y - ya) / ha, dw = log(w / wa), dh = log(h / ha), with (x, y) the
    centres; then each is divided by its ``stds``.

    Args:
        boxes: (R, 4), the boxes to reach; anchors: (R, 4), where from, row by row.
        stds: what the deltas typically measure; (0.1, 0.1, 0.2, 0.2) in the second stage, so that
            its targets are about as large as the class scores' gradients.

    Returns:
        deltas (R, 4): dx, dy, dw, dh. ``decode`` is the inverse.
    """
    boxes, anchors = as_boxes(boxes), as_boxes(anchors, "anchors")
    if boxes.shape != anchors.shape:
        raise ValueError(f"encode: boxes {boxes.shape} and anchors {anchors.shape} must pair up")
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], MIN_SIDE)
    anchor_sides = np.maximum(anchors[:, 2:] - anchors[:, :2], MIN_SIDE)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    anchor_centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    shift = (centres - anchor_centres) / anchor_sides
    scale = np.log(sides / anchor_sides)
    deltas = np.concatenate([shift, scale], axis=1)
    return deltas / np.asarray(stds, deltas.dtype)


def decode(
    deltas: np.ndarray, anchors: np.ndarray, stds: Sequence[float] = UNIT_STDS
) -> np.ndarray:
    """The boxes that the predicted ``deltas`` mean: the inverse of ``encode``.

    x = xa + dx wa, y = ya + dy ha, w = wa exp(dw), h = ha exp(dh), dw and dh at most
    ``MAX_LOG_SCALE``.

    Args:
        deltas: (R, 4); anchors: (R, 4); stds: as given to ``encode``.

    Returns:
        boxes (R, 4), not clipped to the image.
    """
    deltas, anchors = as_boxes(deltas, "deltas"), as_boxes(anchors, "anchors")
    if deltas.shape != anchors.shape:
        raise ValueError(f"decode: deltas {deltas.shape} and anchors {anchors.shape} must pair up")
    deltas = deltas * np.asarray(stds, deltas.dtype)
    anchor_sides = anchors[:, 2:] - anchors[:, :2]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * anchor_sides
    half_sides = anchor_sides * np.exp(np.minimum(deltas[:, 2:], MAX_LOG_SCALE)) / 2
    return np.concatenate([centres - half_sides, centres + half_sides], axis=1)


def clip(boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """The part of each box inside an image of ``image_size`` (h, w), (R, 4) -> (R, 4)."""
    boxes = as_boxes(boxes)
    height, width = image_size
    return np.clip(boxes, 0, np.asarray([width, height, width, height], boxes.dtype))


def remove_small(boxes: np.ndarray, min_size: float) -> np.ndarray:
    """int64 indices of the boxes whose sides are both longer than ``min_size`` pixels.

    With 0, the boxes that still have an area.
    """
    boxes = as_boxes(boxes)
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    return np.flatnonzero((width > min_size) & (height > min_size))
