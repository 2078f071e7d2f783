"""Region pooling: a small map for each region of interest.

``rois`` are (K, 5): the image's index in the batch, then x1, y1, x2, y2 in image pixels. They get
no gradient. ``spatial_scale`` is the number of feature map pixels per image pixel, 1 / stride;
``output_size`` is an int or a pair (PH, PW).
"""

from __future__ import annotations

import numpy as np

from nn.functional.arguments import array_of, pair
from nn.ops import region_pooling
from nn.tensor import Tensor, apply


def ps_roi_align(
    input: Tensor,
    rois: Tensor | np.ndarray,
    output_size,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 2,
    mode: str = "avg",
    aligned: bool = False,
) -> Tensor:
    """Position-sensitive RoIAlign: (N, C, H, W) -> (K, C / (PH PW), PH, PW).

    Each bin is the mean ("avg") or maximum ("max") of ``sampling_ratio`` x ``sampling_ratio``
    interpolated values (0: as many as the bin has pixels) of a channel of its own,
    (c PH + ph) PW + pw. ``aligned`` shifts by half a pixel, as torchvision always does.
    """
    return apply(
        region_pooling.PSRoIAlign, input, array_of(rois),
        output_size=pair(output_size), spatial_scale=spatial_scale, sampling_ratio=sampling_ratio,
        mode=mode, aligned=aligned,
    )  # fmt: skip


def ps_roi_pool(
    input: Tensor, rois: Tensor | np.ndarray, output_size, spatial_scale: float = 1.0
) -> Tensor:
    """Position-sensitive RoI pooling: the mean over the whole pixels of each bin."""
    return apply(
        region_pooling.PSRoIPool, input, array_of(rois),
        output_size=pair(output_size), spatial_scale=spatial_scale,
    )  # fmt: skip


def roi_align(
    input: Tensor,
    rois: Tensor | np.ndarray,
    output_size,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """RoIAlign: (N, C, H, W) -> (K, C, PH, PW), the mean of interpolated values in each bin."""
    return apply(
        region_pooling.RoIAlign, input, array_of(rois),
        output_size=pair(output_size), spatial_scale=spatial_scale, sampling_ratio=sampling_ratio,
        aligned=aligned,
    )  # fmt: skip


def roi_pool(
    input: Tensor, rois: Tensor | np.ndarray, output_size, spatial_scale: float = 1.0
) -> Tensor:
    """RoI pooling: (N, C, H, W) -> (K, C, PH, PW), the maximum of each bin's whole pixels."""
    return apply(
        region_pooling.RoIPool, input, array_of(rois),
        output_size=pair(output_size), spatial_scale=spatial_scale,
    )  # fmt: skip
