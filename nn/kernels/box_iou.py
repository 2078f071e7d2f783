"""Intersection over union of every box with every other box.

R boxes against G others, boxes ``(x1, y1, x2, y2)`` with continuous coordinates::

    intersection = max(min(x2, x2') - max(x1, x1'), 0) * max(min(y2, y2') - max(y1, y1'), 0)
    iou = intersection / (area + area' - intersection)        0 where the union has no area

This small formula has a kernel because 18,000 boxes against 50 take it 0.3 ms, and NumPy with its
temporaries 15. Waking a second thread would cost more than it saves, so it runs on one.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.machine.jit import kernel


def box_iou_reference(boxes: np.ndarray, others: np.ndarray, out: np.ndarray) -> None:
    """``out[r, g]`` = IoU of ``boxes[r]`` (R, 4) and the column ``others[:, g]`` (4, G)."""
    x1, y1, x2, y2 = (boxes[:, k, None] for k in range(4))
    area = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    other_area = np.maximum(others[2] - others[0], 0) * np.maximum(others[3] - others[1], 0)
    width = np.minimum(x2, others[2]) - np.maximum(x1, others[0])
    height = np.minimum(y2, others[3]) - np.maximum(y1, others[1])
    intersection = np.maximum(width, 0) * np.maximum(height, 0)
    union = area + other_area - intersection
    out[:] = 0
    np.divide(intersection, union, out=out, where=union > 0)


@kernel(twin=box_iou_reference, parallel=False)
def box_iou(boxes, others, out):
    R, G = out.shape
    zero = boxes.dtype.type(0)
    other_area = np.empty(G, boxes.dtype)
    for g in range(G):
        width = max(others[2, g] - others[0, g], zero)
        other_area[g] = width * max(others[3, g] - others[1, g], zero)
    for r in range(R):
        x1, y1, x2, y2 = boxes[r, 0], boxes[r, 1], boxes[r, 2], boxes[r, 3]
        area = max(x2 - x1, zero) * max(y2 - y1, zero)
        # One row of `others` per coordinate: this loop reads straight through memory and becomes
        # vector code.
        for g in range(G):
            width = max(min(x2, others[2, g]) - max(x1, others[0, g]), zero)
            height = max(min(y2, others[3, g]) - max(y1, others[1, g]), zero)
            intersection = width * height
            union = area + other_area[g] - intersection
            out[r, g] = intersection / union if union > zero else zero
