"""What is cut out of maps for regions, which are boxes (K, 4), in nodes of a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.heads.fast_rcnn import FastRCNNHeadSettings
from detector.heads.mask import MaskHeadSettings
from detector.heads.region_head import RegionHeadSettings
from nn.inference.any_size import NoEquivalentError
from nn.onnx.graph import Graph


def ps_roi_align(
    graph: Graph, settings: RegionHeadSettings, channels: int, stride: int, map_: str, rois: str,
    mode: str = "avg",
) -> str:  # fmt: skip
    """Position-sensitive RoI align: (1, C B B, H, W) and (K, 4) -> (K, C B B).

    The bins become the images of a batch, C channels each, and GridSample takes the points of all
    regions out of them at once. No region reaches beyond the picture, so no point lies beyond the
    border pixels by more than one, and what GridSample calls "border" is what we do there.
    """
    B, C, S = settings.pooled_size, channels, settings.sampling_ratio
    if S == 0:
        raise NoEquivalentError("head.sampling_ratio 0 (as many samples as a region is large)")
    rois = graph.add("Mul", rois, 1 / stride)
    axes = []
    for axis in (0, 1):
        start, end = (graph.slice(rois, axis + side, axis + side + 1, 1) for side in (0, 2))
        length = graph.add("Max", graph.add("Sub", end, start), 0.0)
        places = ((np.arange(B * S) + 0.5) / (B * S)).astype(np.float32)
        points = graph.add("Add", start, graph.add("Mul", length, places))  # (K, B S)
        # From pixels, whose middles are whole numbers, to -1..1 over the whole of the map.
        width = graph.cast(graph.size(map_, 3 - axis), np.float32)
        points = graph.add("Add", graph.add("Mul", points, 2.0), 1.0)
        points = graph.add("Sub", graph.add("Div", points, width), 1.0)
        points = graph.add("Transpose", graph.add("Reshape", points, [-1, B, S]), perm=[1, 0, 2])
        # x is (1, B, K, 1, S, 1), y is (B, 1, K, S, 1, 1).
        axes.append(graph.add("Unsqueeze", points, [0, 3, 5] if axis == 0 else [1, 4, 5]))
    x, y = axes
    grid = graph.add(
        "Concat",
        graph.add("Add", x, graph.add("Mul", y, 0.0)),
        graph.add("Add", graph.add("Mul", x, 0.0), y),
        axis=5,
    )
    grid = graph.add("Reshape", grid, [B * B, -1, S * S, 2])
    maps = graph.add("Reshape", map_, [C, B * B, 0, 0])
    maps = graph.add("Transpose", maps, perm=[1, 0, 2, 3])
    samples = graph.add("GridSample", maps, grid, padding_mode="border", align_corners=0)
    reduce = "ReduceMean" if mode == "avg" else "ReduceMax"
    pooled = graph.add(reduce, samples, [3], keepdims=0)  # (B B, C, K)
    pooled = graph.add("Transpose", pooled, perm=[2, 1, 0])
    return graph.add("Reshape", pooled, [-1, C * B * B])


def roi_align(
    graph: Graph, settings: RegionHeadSettings | MaskHeadSettings, stride: int, map_: str, rois: str
) -> str:
    """RoI align: (1, C, H, W) and (K, 4) -> (K, C, p, p)."""
    zeros = graph.add("Expand", np.int64(0), graph.size(rois, 0))
    size, ratio = settings.pooled_size, settings.sampling_ratio
    return graph.add(
        "RoiAlign", map_, rois, zeros, output_height=size, output_width=size, sampling_ratio=ratio,
        spatial_scale=1 / stride, coordinate_transformation_mode="half_pixel",
    )  # fmt: skip


def roi_align_of_levels(
    graph: Graph, settings: FastRCNNHeadSettings | MaskHeadSettings, strides: Sequence[int],
    maps: Sequence[str], rois: str,
) -> str:  # fmt: skip
    """Each region from the map of its size: ``pool_from_levels``, (K, C, p, p)."""
    if len(maps) == 1:
        return roi_align(graph, settings, strides[0], maps[0], rois)
    levels = levels_of(graph, rois, strides, settings.canonical_side)
    parts, places = [], []
    for number, (map_, stride) in enumerate(zip(maps, strides, strict=True)):
        here = graph.add("Squeeze", graph.add("NonZero", graph.add("Equal", levels, number)), [0])
        parts.append(roi_align(graph, settings, stride, map_, graph.add("Gather", rois, here)))
        places.append(here)
    places = graph.add("Concat", *places, axis=0)
    _, order = graph.add("TopK", places, graph.size(places, 0), outputs=2, axis=0, largest=0)
    return graph.add("Gather", graph.add("Concat", *parts, axis=0), order)


def levels_of(graph: Graph, rois: str, strides: Sequence[int], canonical_side: float) -> str:
    """``heads.fast_rcnn.levels_of``: how many of the coarser maps each region is large enough for.

    From the area on that a square has whose side is canonical_side / 16 cells: no logarithm, which
    runtimes round as they like.
    """
    sides = graph.add("Sub", graph.slice(rois, 2, 4, 1), graph.slice(rois, 0, 2, 1))
    areas = graph.add("ReduceProd", sides, [1], keepdims=1)
    least = (canonical_side / 16 * np.asarray(strides[1:])) ** 2
    enough = graph.add("GreaterOrEqual", areas, least.astype(np.float32))
    return graph.add("ReduceSum", graph.cast(enough, np.int64), [1], keepdims=0)
