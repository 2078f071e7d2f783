"""Boxes in PyTorch: the geometry of the detector without a loop over boxes.

torchvision's compiled ``nms`` and ``ps_roi_align`` cannot be had everywhere; these are the fastest
ways with PyTorch's own operators that we found, and give the same results as ours.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

MAX_LOG_SCALE = math.log(1000 / 16)
NMS_BLOCK = 512


def anchor_grid(sizes, ratios, stride: int, height: int, width: int) -> torch.Tensor:
    """(height * width * A, 4): the anchors of each cell, all sizes of one ratio after another."""
    roots = torch.tensor(ratios, dtype=torch.float64).sqrt()[:, None]
    sizes = torch.tensor(sizes, dtype=torch.float64)[None]
    half = torch.stack([sizes / roots, sizes * roots], 2).reshape(-1, 2) / 2
    y = (torch.arange(height, dtype=torch.float64) + 0.5) * stride
    x = (torch.arange(width, dtype=torch.float64) + 0.5) * stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    centres = torch.stack([x, y], 2)[:, :, None]
    return torch.cat([centres - half, centres + half], 3).reshape(-1, 4).float()


def encode(boxes, anchors, stds):
    """The deltas from ``anchors`` (R, 4) to ``boxes`` (R, 4)."""
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
    anchor_sides = (anchors[:, 2:] - anchors[:, :2]).clamp(min=1e-3)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    anchor_centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    shift = (centres - anchor_centres) / anchor_sides
    return torch.cat([shift, (sides / anchor_sides).log()], 1) / stds


def decode(deltas, anchors, image_size):
    """The boxes that ``deltas`` (R, 4) mean, clipped to the image (h, w)."""
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * sides
    half = sides * deltas[:, 2:].clamp(max=MAX_LOG_SCALE).exp() / 2
    height, width = image_size
    limit = deltas.new_tensor([width, height, width, height])
    return torch.cat([centres - half, centres + half], 1).clamp(min=0).minimum(limit)


def has_area(boxes):
    return (boxes[:, 2:] > boxes[:, :2]).all(1)


def box_iou(a, b):
    """(R, 4) and (G, 4) -> (R, G)."""
    corner1 = torch.maximum(a[:, None, :2], b[None, :, :2])
    corner2 = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    width, height = (corner2 - corner1).clamp(min=0).unbind(2)
    inter = width * height
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    return inter / (area_a[:, None] + area_b - inter)


def nms(boxes, iou_threshold: float, limit: int, labels=None):
    """Which of the boxes (R, 4), best first, stay: ascending indices, at most ``limit``.

    With ``labels`` (R,), boxes of different labels do not suppress each other. In blocks: a block
    is first compared with what stayed before it; inside the block a box stays if no box before it
    that stays overlaps it, which is repeated until nothing changes (it never takes many turns).
    """
    kept = torch.empty(0, dtype=torch.long)
    for start in range(0, len(boxes), NMS_BLOCK):
        block = torch.arange(start, min(start + NMS_BLOCK, len(boxes)))
        if len(kept):
            block = block[~_suppresses(boxes, labels, kept, block, iou_threshold).any(0)]
        inside = _suppresses(boxes, labels, block, block, iou_threshold).triu(1)
        stays = ~inside.any(0)
        while True:
            following = ~(inside & stays[:, None]).any(0)
            if torch.equal(following, stays):
                break
            stays = following
        kept = torch.cat([kept, block[stays]])
        if len(kept) >= limit:
            break
    return kept[:limit]


def _suppresses(boxes, labels, one, other, iou_threshold):
    overlap = box_iou(boxes[one], boxes[other]) > iou_threshold
    return overlap if labels is None else overlap & (labels[one, None] == labels[other])


def ps_roi_align(thin, rois, output_size: int, spatial_scale: float):
    """Position-sensitive RoI align, the mean of 2 x 2 samples: (K, C / size^2, size, size).

    Every value is a sum of 4 samples x 4 neighbours with weights: the sum of a bag of 16 rows of
    a table with a row for each image, pixel and bin. ``embedding_bag`` is made for such sums: 10
    times as fast here as gathering the rows and adding them up.
    """
    N, C, H, W = thin.shape
    K, bins = len(rois), output_size**2
    images, corners = rois[:, 0].int(), rois[:, 1:] * spatial_scale
    rows, row_weights = _neighbours(corners[:, 1], corners[:, 3], output_size, H)
    columns, column_weights = _neighbours(corners[:, 0], corners[:, 2], output_size, W)
    first = (images * (H * W * bins))[:, None, None] + torch.arange(
        bins, dtype=torch.int32
    ).view(output_size, output_size)  # fmt: skip
    places = (rows * (W * bins))[:, :, None, :, None] + (columns * bins)[:, None, :, None, :]
    places = (places + first[..., None, None]).view(K * bins, 16)
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    table = thin.reshape(N, C // bins, bins, H * W).permute(0, 3, 2, 1).reshape(-1, C // bins)
    pooled = F.embedding_bag(
        places, table, mode="sum", per_sample_weights=weights.view(K * bins, 16)
    )
    return pooled.view(K, bins, -1).transpose(1, 2).reshape(K, -1, output_size, output_size)


def _neighbours(low, high, bins: int, limit: int):
    """Of each region and bin, along one axis: 2 samples x 2 neighbours and their weights.

    (K, bins, 4) int32 and float32.
    """
    step = (high - low).clamp(min=0) / (2 * bins)
    points = low[:, None] + step[:, None] * (torch.arange(2 * bins) + 0.5)
    inside = (points >= -1) & (points <= limit)
    points = points.clamp(0, limit - 1)
    below = points.floor()
    share = points - below
    places = torch.stack([below, (below + 1).clamp(max=limit - 1)], 2).int()
    weights = torch.stack([1 - share, share], 2) * (inside[:, :, None] / 2)
    return places.view(len(low), bins, 4), weights.view(len(low), bins, 4)
