"""The mask head: which part of its box is the object (He et al., "Mask R-CNN", 2017, section 3).

A third branch beside classes and boxes: 14 x 14 cells are cut out for each region, a few
convolutions look at them, a transposed one doubles them, and for each class by itself every one of
the 28 x 28 cells says whether it is the object's. The class is not its business: only the map of
the right class learns, and only that of the detected class is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

import nn
from detector.boxes import as_boxes
from detector.heads.fast_rcnn import levels_of, pool_from_levels
from detector.heads.region_head import HeadTargets
from detector.parts.layers import init_hidden, init_output
from detector.parts.matching import best_box
from detector.settings import Channels, NotNegative, Positive, Range, Settings
from nn import functional as F
from nn.models import Map

OUTPUT_STD = 0.001


@dataclass(frozen=True)
class MaskHeadSettings(Settings):
    """
    Attributes:
        pooled_size: cells along a side of what is cut out; a mask has twice as many.
        sampling_ratio: each is made of sampling_ratio^2 points; 0 for one a cell of the map.
        convolutions, channels: how many 3x3 convolutions look at it, and how wide they are.
        canonical_side: see ``FastRCNNHeadSettings``.
        weight: a factor on the loss.
    """

    pooled_size: Annotated[int, Range(1, 64)] = 14
    sampling_ratio: Annotated[int, Range(0, 64)] = 0
    convolutions: Annotated[int, Range(0, 16)] = 4
    channels: Channels = 256
    canonical_side: Positive = 224.0
    weight: NotNegative = 1.0


class MaskTargets(NamedTuple):
    """Regions with an object, of all images of a batch: rois (P, 5), labels (P,) from 1, and masks
    (P, m, m) bool, the object's mask as it lies in the region."""

    rois: np.ndarray
    labels: np.ndarray
    masks: np.ndarray


class MaskHead(nn.Module):
    """
    Args:
        num_classes: without background.
        maps: that regions are cut from: one, or those of a pyramid, finest first.
        settings: its numbers.
    """

    def __init__(
        self, num_classes: int, maps: Sequence[Map], settings: MaskHeadSettings = MaskHeadSettings()
    ):
        super().__init__()
        self.settings, self.strides = settings, tuple(stride for _, stride in maps)
        self.in_channels = channels = maps[0].channels
        width, layers = settings.channels, []
        for _ in range(settings.convolutions):
            conv = nn.Conv2d(channels, width, 3, padding=1)
            layers += [init_hidden(conv, "he"), nn.ReLU()]
            channels = width
        self.convolutions = nn.Sequential(*layers)
        self.upsample = init_hidden(nn.ConvTranspose2d(channels, width, 2, 2), "he")
        self.masks = init_output(nn.Conv2d(width, num_classes, 1), OUTPUT_STD)

    @property
    def size(self) -> int:
        """m, cells along a side of a mask."""
        return 2 * self.settings.pooled_size

    @property
    def multiply_adds(self) -> int:
        """Of one region."""
        before = [*self.convolutions.parameters(), *self.upsample.parameters()]
        weights = sum(weight.numel() for weight in before if weight.ndim > 1)
        return self.settings.pooled_size**2 * (weights + 4 * self.masks.weight.numel())

    def forward(self, features: tuple[nn.Tensor, ...], rois: np.ndarray) -> nn.Tensor:
        """Logits (K, classes, m, m) of the regions (K, 5)."""
        settings = self.settings
        levels = levels_of(rois[:, 1:], self.strides, settings.canonical_side)
        size, ratio = settings.pooled_size, settings.sampling_ratio
        pooled = pool_from_levels(features, self.strides, rois, levels, size, ratio)
        return self.masks(F.relu(self.upsample(self.convolutions(pooled))))

    def assign(self, examples: HeadTargets, targets: Sequence[dict]) -> MaskTargets:
        """The masks for the examples that hold an object, of pictures whose objects have masks.

        The object's mask is read like a map, by RoI align in m x m cells; one that is at least half
        the object's is its.

        Args:
            examples: of the head.
            targets: of each image, with ``boxes`` (G, 4) and maybe ``masks`` (G, H, W) bool.
        """
        m, parts = self.size, []
        for number, target in enumerate(targets):
            here = (examples.labels > 0) & (examples.rois[:, 0] == number)
            rois, labels = examples.rois[here], examples.labels[here]
            if "masks" not in target or not len(rois):
                continue
            _, matched = best_box(rois[:, 1:], as_boxes(target["boxes"]))
            masks = np.zeros((len(rois), m, m), bool)
            for index in np.unique(matched):
                its = matched == index
                alone = np.pad(rois[its, 1:], ((0, 0), (1, 0)))  # a batch of one
                mask = nn.Tensor(target["masks"][index].astype(rois.dtype)[None, None])
                masks[its] = F.roi_align(mask, alone, m, 1.0, 0, aligned=True).data[:, 0] >= 0.5
            parts.append(MaskTargets(rois, labels, masks))
        none = MaskTargets(examples.rois[:0], examples.labels[:0], np.zeros((0, m, m), bool))
        return MaskTargets(*map(np.concatenate, zip(none, *parts, strict=True)))

    def loss(self, features: tuple[nn.Tensor, ...], targets: MaskTargets) -> dict[str, nn.Tensor]:
        """``mask``: binary cross-entropy of the right class's map, the mean over all cells of all
        regions; 0 without any."""
        logits = self.forward(features, targets.rois)
        own = logits[np.arange(len(targets.labels)), targets.labels - 1]
        total = F.binary_cross_entropy_with_logits(
            own, targets.masks.astype(own.dtype), reduction="sum"
        )
        return {"mask": total / max(targets.masks.size, 1) * self.settings.weight}

    def detect(
        self, features: tuple[nn.Tensor, ...], boxes: np.ndarray, labels: np.ndarray
    ) -> np.ndarray:
        """Masks (R, m, m) in 0..1 of one image's detections: boxes (R, 4), labels (R,)."""
        logits = self.forward(features, np.pad(boxes, ((0, 0), (1, 0))))
        return F.sigmoid(logits[np.arange(len(labels)), labels - 1]).data
