"""Non-maximum suppression: of boxes that overlap, only the one with the highest score stays.

Greedy: the best box stays, every box that overlaps it too much goes, and so on with the best of the
rest. torchvision.ops.nms.

    IoU(a, b) = |a intersected with b| / (|a| + |b| - |a intersected with b|)

Arrays: boxes (R, 4) float32 ``(x1, y1, x2, y2)``; scores (R,). An IoU that is exactly the threshold
does not suppress; of equal scores the lower index counts as the better one; both as in torchvision.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.machine.jit import device, kernel
from nn.kernels.machine.parts import ceil_div

# Boxes compared before looking at the answer: enough for vector instructions (3 times faster than
# one by one), few enough to stop early, since most boxes go because of one of the first that stay.
BLOCK = 64


def nms(
    boxes: np.ndarray, scores: np.ndarray, iou_threshold: float, limit: int | None = None
) -> np.ndarray:
    """The indices of the boxes that stay, best score first.

    Args:
        boxes: (R, 4) float32, continuous coordinates (the width is x2 - x1).
        scores: (R,). A NaN counts as the worst score.
        iou_threshold: 0 to 1; a box goes if its IoU with a better one is greater than this.
        limit: stop after this many boxes; all by default.

    Returns:
        (K,) int64 indices into ``boxes``. A box with a NaN coordinate overlaps nothing and stays.
    """
    boxes = np.asarray(boxes, np.float32)
    scores = np.asarray(scores)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"nms: boxes (R, 4) and scores (R,) expected, got {boxes.shape} and {scores.shape}"
        )
    order = np.argsort(-scores, kind="stable")
    limit = len(boxes) if limit is None else min(max(limit, 0), len(boxes))
    # The largest float32 that is not above the threshold: comparing with it in float32 gives what
    # comparing with the threshold in float64 would give.
    threshold = np.float32(iou_threshold)
    if float(threshold) > iou_threshold:
        threshold = np.nextafter(threshold, np.float32(-np.inf))
    kept = np.empty(limit, np.int64)
    count = np.zeros(1, np.int64)
    greedy_nms(np.ascontiguousarray(boxes[order].T), threshold, kept, count)
    return order[kept[: count[0]]]


def greedy_nms_reference(corners, iou_threshold, kept, count):
    x1, y1, x2, y2 = corners
    areas = (x2 - x1) * (y2 - y1)
    candidates = np.arange(corners.shape[1])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        while candidates.size and count[0] < kept.size:
            best, rest = candidates[0], candidates[1:]
            kept[count[0]] = best
            count[0] += 1
            width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
            height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
            inter = np.maximum(width, 0) * np.maximum(height, 0)
            iou = inter / (areas[best] + areas[rest] - inter)
            candidates = rest[~(iou > iou_threshold)]


@device
def _overlaps_any(x1, y1, x2, y2, area, block, iou_threshold):
    """1 if the box overlaps one of the BLOCK boxes of ``block`` (5, BLOCK) too much, else 0."""
    zero = block.dtype.type(0)
    left, top, right, bottom, areas = block[0], block[1], block[2], block[3], block[4]
    answer = 0
    for k in range(BLOCK):
        width = max(min(x2, right[k]) - max(x1, left[k]), zero)
        height = max(min(y2, bottom[k]) - max(y1, top[k]), zero)
        inter = width * height
        answer |= np.int32(inter / (area + areas[k] - inter) > iou_threshold)
    return answer


@kernel(twin=greedy_nms_reference, parallel=False)
def greedy_nms(corners, iou_threshold, kept, count):
    """Corners (4, R) of boxes by falling score -> kept (limit,), count (1,).

    Each box is compared with those that stayed before it, which lie side by side in memory as
    x1, y1, x2, y2, area. Places not yet taken hold NaN, which overlaps nothing.
    """
    blocks = ceil_div(kept.size, BLOCK)
    stayed = np.full((blocks, 5, BLOCK), np.nan, corners.dtype)
    total = 0
    for candidate in range(corners.shape[1]):
        if total == kept.size:
            break
        x1, y1 = corners[0, candidate], corners[1, candidate]
        x2, y2 = corners[2, candidate], corners[3, candidate]
        area = (x2 - x1) * (y2 - y1)
        suppressed = 0
        for block in range(ceil_div(total, BLOCK)):
            suppressed = _overlaps_any(x1, y1, x2, y2, area, stayed[block], iou_threshold)
            if suppressed:
                break
        if not suppressed:
            place = stayed[total // BLOCK]
            k = total % BLOCK
            place[0, k], place[1, k], place[2, k], place[3, k] = x1, y1, x2, y2
            place[4, k] = area
            kept[total] = candidate
            total += 1
    count[0] = total
