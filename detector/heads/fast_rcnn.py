"""The heavy head: two fully connected layers on each region (Fast R-CNN, Girshick 2015, section 2).

What differs from ``light_head``: the map is not thinned. RoI align cuts all its channels for every
region, 256 x 7 x 7 of a feature pyramid, and two hidden layers look at them: 14.3 million
multiply-adds a region where the light head has 1.2. Of a pyramid each region is cut from the map
that suits its size (Lin et al. 2017, equation 1). The original pooled the maximum of whole pixels;
RoI align (He et al. 2017, section 3) interpolates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import nn
from detector.heads.connected_head import ConnectedHead, ConnectedHeadSettings
from detector.parts.sampling import RoISampler
from detector.settings import Positive
from nn import functional as F
from nn.models import Map


@dataclass(frozen=True)
class FastRCNNHeadSettings(ConnectedHeadSettings):
    """Defaults as in Detectron2: 512 examples a picture, a quarter of them objects.

    Attributes:
        canonical_side: of a region that is cut from the map of stride 16, in pixels. 224 is the
            side of the pictures that backbones are trained on.
    """

    canonical_side: Positive = 224.0
    class_specific_boxes: bool = True
    sampler: RoISampler = RoISampler(count=512)


class FastRCNNHead(ConnectedHead):
    """
    Args:
        num_classes: without background.
        maps: that regions are cut from: one, or those of a pyramid, finest first.
        settings: its numbers.
    """

    settings: FastRCNNHeadSettings

    def __init__(
        self,
        num_classes: int,
        maps: Sequence[Map],
        settings: FastRCNNHeadSettings = FastRCNNHeadSettings(),
    ):
        in_features = maps[0].channels * settings.pooled_size**2
        super().__init__(num_classes, in_features, ("fc6", "fc7"), settings)
        self.strides = tuple(stride for _, stride in maps)

    def pool(self, features: tuple[nn.Tensor, ...], rois: np.ndarray) -> nn.Tensor:
        """Out of the maps (N, C, H, W): (K, C, p, p)."""
        settings = self.settings
        levels = levels_of(rois[:, 1:], self.strides, settings.canonical_side)
        size, ratio = settings.pooled_size, settings.sampling_ratio
        return pool_from_levels(features, self.strides, rois, levels, size, ratio)


def pool_from_levels(
    features: tuple[nn.Tensor, ...], strides: Sequence[int],
    rois: np.ndarray, levels: np.ndarray, size: int, ratio: int,
) -> nn.Tensor:  # fmt: skip
    """RoI align of each region from its map: (K, C, size, size).

    Args:
        features: (N, C, H, W) each, of these strides.
        rois, levels: (K, 5) in pixels, and (K,) the number of the map for each.
        size, ratio: bins and samples along each axis.
    """
    parts, places = [], []
    for number, (level, stride) in enumerate(zip(features, strides, strict=True)):
        here = np.flatnonzero(levels == number)
        if len(here) or not places:  # without any region one empty part says the shape
            parts.append(F.roi_align(level, rois[here], size, 1 / stride, ratio, aligned=True))
            places.append(here)
    if len(parts) == 1:
        return parts[0]
    return F.cat(parts)[np.argsort(np.concatenate(places))]


def levels_of(boxes: np.ndarray, strides: Sequence[int], canonical_side: float) -> np.ndarray:
    """The number of the map for each box (K, 4): log2(sqrt(w h) / side) from that of stride 16 on.

    Returns:
        (K,) int64 in 0 .. len(strides) - 1, rounded down.
    """
    sides = np.sqrt(np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1, dtype=np.float64))
    wanted = np.floor(np.log2(sides / canonical_side + 1e-8)) + np.log2(16)
    return np.clip(wanted - np.log2(strides[0]), 0, len(strides) - 1).astype(np.int64)
