"""One picture looked at stage by stage by a two-stage detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import nn
from detector.boxes import best_scores, clip, decode
from detector.detectors.stages import Stages
from detector.parts.preprocess import resize, scale_boxes
from nn import functional as F

if TYPE_CHECKING:
    from detector.detectors.two_stage import Maps, TwoStageDetector


def stages_of(model: TwoStageDetector, image: np.ndarray, target: dict | None = None) -> Stages:
    """See ``Detector.stages``."""
    own_size, settings = image.shape[:2], model.rpn.settings
    size = model.input_size(own_size)
    target = target or {"boxes": np.zeros((0, 4), np.float32)}
    truth = scale_boxes(target["boxes"], own_size, size)
    ignore = target.get("ignore")
    ignore = None if ignore is None else scale_boxes(ignore, own_size, size)
    with nn.evaluating(model), nn.no_grad():
        maps = model(model.to_tensor([resize(image, size)]))
        ((proposals, suspected),) = model.rpn.propose_with_scores(
            maps.objectness, maps.deltas, maps.anchors, [size], maps.levels
        )
        rois = np.pad(np.concatenate([proposals, truth]), ((0, 0), (1, 0)))  # all of image 0
        logits, deltas = model.head(maps.features, rois)
        pooled = model.head.pool(maps.features, rois[: len(proposals)])
        probabilities, P = F.softmax(logits, 1).data, len(proposals)
        surest = 1 + probabilities[:P, 1:].argmax(axis=1)
        chosen = deltas.data[np.arange(P), surest] if deltas.ndim == 3 else deltas.data[:P]
        scores = model.head.scores(logits[:P], suspected)[:, 1:].max(axis=1)
        found = model.head.detect(logits[:P], deltas[:P], proposals, size, suspected)
    return Stages(
        size=size,
        anchors=maps.anchors,
        levels=maps.levels,
        anchor_labels=settings.matcher(maps.anchors, truth, size, ignore).labels,
        objectness=F.sigmoid(maps.objectness).data[0],
        moved=clip(decode(maps.deltas.data[0], maps.anchors), size),
        best=best_of_each(maps, settings.test_selector.pre_nms),
        proposals=proposals,
        suspected=suspected,
        pooled=pooled.data,
        probabilities=probabilities[:P],
        scores=scores,
        answers=clip(decode(chosen, proposals, model.head.settings.stds), size),
        exact=probabilities[P:],
        found=found,
    )


def best_of_each(maps: Maps, count: int) -> np.ndarray:
    """The ``count`` best anchors of each map, the best of all first."""
    objectness, ends = maps.objectness.data[0], np.cumsum(maps.levels)
    best = [
        start + best_scores(objectness[start:end], count)
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    found = np.concatenate(best)
    return found[np.argsort(-objectness[found], kind="stable")]
