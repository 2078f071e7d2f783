"""A cascade of heads: each starts from the boxes of the one before and is stricter about them.

What differs from ``fast_rcnn``: there are three such heads. A head that learns from boxes of IoU
0.5 cannot tell a box of 0.6 from one of 0.9, and one that learns from 0.7 alone finds too few
examples among the proposals. But what the first head returns is better than what it was given, and
so there are enough for a stricter second, and so on (Cai and Vasconcelos, "Cascade R-CNN", 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

import nn
from detector.boxes import clip, decode, encode
from detector.heads.fast_rcnn import FastRCNNHead, FastRCNNHeadSettings
from detector.heads.region_head import Features, HeadTargets, RegionHead
from detector.settings import Fraction
from nn import functional as F
from nn.models import Map


@dataclass(frozen=True)
class CascadeHeadSettings(FastRCNNHeadSettings):
    """
    Attributes:
        foreground_ious: of each head, instead of ``sampler.foreground_iou``. The ``stds`` are those
            of the first; what is left to mend gets smaller, a half for the second, a third for the
            third.
    """

    foreground_ious: tuple[Fraction, ...] = (0.5, 0.6, 0.7)
    class_specific_boxes: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= len(self.foreground_ious) <= 8:
            raise ValueError(f"a cascade has from 1 to 8 heads, not {len(self.foreground_ious)}")
        if self.class_specific_boxes:
            raise ValueError("class_specific_boxes must be false: the next head needs one box")

    def stage(self, number: int) -> FastRCNNHeadSettings:
        """The settings of one head, from 0. All but the first take every example they are given."""
        values = {name: getattr(self, name) for name in FastRCNNHeadSettings.__dataclass_fields__}
        sampler = replace(self.sampler, foreground_iou=self.foreground_ious[number])
        if number > 0:
            sampler = replace(sampler, count=-1, add_truth=False)
        stds = tuple(std / (number + 1) for std in self.stds)
        return FastRCNNHeadSettings(**{**values, "sampler": sampler, "stds": stds})


class CascadeHead(RegionHead):
    """
    Args:
        num_classes: without background.
        maps: see ``FastRCNNHead``.
        settings: its numbers.
    """

    settings: CascadeHeadSettings

    def __init__(
        self,
        num_classes: int,
        maps: Sequence[Map],
        settings: CascadeHeadSettings = CascadeHeadSettings(),
    ):
        super().__init__()
        self.settings, count = settings, len(settings.foreground_ious)
        self.stages = nn.ModuleList(
            [Stage(num_classes, maps, settings.stage(k), 1 / count) for k in range(count)]
        )

    def forward(
        self, features: Features, rois: np.ndarray, stages: Sequence[Callable] | None = None
    ) -> tuple[nn.Tensor, nn.Tensor]:
        """The mean opinion of all heads, and the way from the RoIs to the last one's boxes.

        Without a gradient. Arguments and returns as of ``RegionHead.forward``; ``stages`` stand for
        the heads: the same compiled.
        """
        probabilities, boxes = [], rois[:, 1:]
        with nn.no_grad():
            for stage, look in zip(self.stages, stages or self.stages, strict=True):
                logits, deltas = look(features, np.concatenate([rois[:, :1], boxes], axis=1))
                probabilities.append(F.softmax(logits, 1).data)
                boxes = stage.moved(features, deltas, boxes)
        mean = np.maximum(np.mean(probabilities, axis=0), np.finfo(boxes.dtype).tiny)
        # Their softmax is the mean again.
        return nn.Tensor(np.log(mean)), nn.Tensor(encode(boxes, rois[:, 1:], self.settings.stds))

    def pool(self, features: Features, rois: np.ndarray) -> nn.Tensor:
        return self.stages[0].pool(features, rois)

    def examples(
        self,
        features: Features,
        proposals: Sequence[np.ndarray],
        targets: Sequence[dict],
        rng: np.random.Generator,
    ) -> list[HeadTargets]:
        """Of each head: those of the first, then where it and its successors move them."""
        result, boxes = [], proposals
        for stage in self.stages:
            picked = stage.examples(features, boxes, targets, rng)
            result.append(picked)
            with nn.no_grad():
                _, deltas = stage(features, picked.rois)
            moved = stage.moved(features, deltas, picked.rois[:, 1:])
            boxes = [moved[picked.rois[:, 0] == number] for number in range(len(targets))]
        return result

    def loss(self, features: Features, targets: Sequence[HeadTargets]) -> dict[str, nn.Tensor]:
        """``head_class`` and ``head_box``, the sums of those of all heads."""
        losses = [
            stage.loss(features, picked) for stage, picked in zip(self.stages, targets, strict=True)
        ]
        return {name: sum(loss[name] for loss in losses) for name in losses[0]}


class Stage(FastRCNNHead):
    """One head of a cascade; ``share`` of its gradient goes on into the maps, which all of them
    read."""

    def __init__(
        self, num_classes: int, maps: Sequence[Map], settings: FastRCNNHeadSettings, share: float
    ):
        super().__init__(num_classes, maps, settings)
        self._share = share

    def pool(self, features: tuple[nn.Tensor, ...], rois: np.ndarray) -> nn.Tensor:
        pooled = super().pool(features, rois)
        if not self.training:
            return pooled
        return pooled * self._share + pooled.detach() * (1 - self._share)

    def moved(self, features: Features, deltas: nn.Tensor, boxes: np.ndarray) -> np.ndarray:
        """The boxes (K, 4) where the deltas lead, inside the maps."""
        size = tuple(side * self.strides[0] for side in features[0].shape[2:])
        return clip(decode(deltas.data, boxes, self.settings.stds), size)
