"""A two-stage detector put together from its parts, with one way to train and one to predict.

    images -> backbone -> RPN ------> proposals --+
                     \\--> thin map --------------+--> head -> detections

Knows how the parts work together and nothing about how they are made: the backbone, the region
proposal network, the neck and the head arrive as objects (``light_head_rcnn`` makes them).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

import nn
from detector.boxes import best_scores, clip, decode
from detector.detectors.detector import Detector, DetectorSettings
from detector.detectors.stages import Stages
from detector.heads.compiled_light_head import CompiledLightHead
from detector.heads.light_head import HeadTargets, LightHead
from detector.heads.rpn import AnchorTargets, RegionProposalNetwork, RPNSettings
from detector.parts.anchors import AnchorGenerator
from detector.parts.preprocess import network_size, resize, scale_boxes
from nn import functional as F
from nn.models import Network, map_of_stride


class Maps(NamedTuple):
    """What the network computes for a whole batch, before any box is looked at.

    objectness (N, M) and deltas (N, M, 4) of the M anchors (M, 4); thin (N, C, H, W).
    """

    objectness: nn.Tensor
    deltas: nn.Tensor
    thin: nn.Tensor
    anchors: np.ndarray


class BatchPlan(NamedTuple):
    """Which anchors and which proposals a batch trains with, and what they should say.

    Plain arrays. With the plan held fixed, the losses are a smooth function of the weights.
    """

    anchors: AnchorTargets
    rois: HeadTargets


def rpn_map(settings: RPNSettings, backbone: Network, neck: nn.Module) -> str:
    """The name of the map that the RPN reads.

    Raises:
        ValueError: there is none of that stride, or the neck does not fuse.
    """
    if settings.source == "backbone":
        return map_of_stride(backbone.maps, settings.stride)
    if neck.maps.get("fused", (0, 0))[1] != settings.stride:
        raise ValueError("rpn.source 'fused' needs thin_map.source 'fused' and rpn.stride 16")
    return "fused"


class TwoStageDetector(Detector):
    """
    Args:
        num_classes: without background.
        settings: its numbers.
        backbone: images (N, 3, H, W) -> maps by name.
        rpn: the first stage; it reads the backbone's map of its stride, or the neck's "fused".
        neck: from the backbone's maps to the one that the head reads.
        head: the second stage.
    """

    def __init__(
        self,
        num_classes: int,
        settings: DetectorSettings,
        backbone: Network,
        rpn: RegionProposalNetwork,
        neck: nn.Module,
        head: LightHead,
    ):
        super().__init__()
        self.num_classes, self.settings = num_classes, settings
        self.backbone, self.rpn, self.thin_map, self.head = backbone, rpn, neck, head
        self.rpn_map = rpn_map(rpn.settings, backbone, neck)

    def forward(self, batch: nn.Tensor) -> Maps:
        """The convolutional part: normalised images (N, 3, H, W), H and W multiples of 32."""
        features = self.backbone.features(batch)
        maps = {**features, **self.thin_map(features)}
        objectness, deltas = self.rpn(maps[self.rpn_map])
        anchors = self.rpn.anchor_generator.grid(maps[self.rpn_map].shape[2:])
        return Maps(objectness, deltas, maps["thin"], anchors)

    def loss(
        self,
        images: Sequence[np.ndarray],
        targets: Sequence[dict],
        rng: np.random.Generator | None = None,
    ) -> dict[str, nn.Tensor]:
        """``rpn_objectness``, ``rpn_box``, ``head_class`` and ``head_box``; see ``Detector``."""
        self.check_batch(images, targets)
        maps = self(self.to_tensor(images))
        sizes = [image.shape[:2] for image in images]
        return self.losses(maps, self.plan(maps, targets, sizes, rng))

    def plan(
        self,
        maps: Maps,
        targets: Sequence[dict],
        image_sizes: Sequence[tuple[int, int]],
        rng: np.random.Generator | None = None,
    ) -> BatchPlan:
        """Everything discrete about a training step: matching, sampling, proposals, mining."""
        rng = np.random.Generator(np.random.Philox(0)) if rng is None else rng
        anchors = self.rpn.assign(maps.anchors, targets, image_sizes, rng)
        proposals = self.rpn.propose(maps.objectness, maps.deltas, maps.anchors, image_sizes)
        rois = self.head.assign(proposals, targets, rng)
        return BatchPlan(anchors, self.head.mine(maps.thin, rois, len(targets)))

    def losses(self, maps: Maps, plan: BatchPlan) -> dict[str, nn.Tensor]:
        """The four losses of a batch, given what to train with."""
        return {
            **self.rpn.loss(maps.objectness, maps.deltas, plan.anchors),
            **self.head.loss(maps.thin, plan.rois),
        }

    def detect(
        self,
        image: np.ndarray,
        network: Callable[[nn.Tensor], Maps] | None = None,
        head: Callable[[nn.Tensor, np.ndarray], tuple[nn.Tensor, nn.Tensor]] | None = None,
    ) -> dict[str, np.ndarray]:
        network, head = network or self, head or self.head
        own_size = image.shape[:2]
        size = network_size(own_size, self.image.short_side, self.image.max_side)
        maps = network(self.to_tensor([resize(image, size)]))
        ((proposals, objectness),) = self.rpn.propose_with_scores(
            maps.objectness, maps.deltas, maps.anchors, [size]
        )
        rois = np.concatenate([np.zeros((len(proposals), 1), proposals.dtype), proposals], axis=1)
        found = self.head.detect(*head(maps.thin, rois), proposals, size, objectness)
        return {
            "boxes": scale_boxes(found["boxes"], size, own_size).astype(np.float32),
            "scores": found["scores"].astype(np.float32),
            "labels": found["labels"],
        }

    def stages(self, image: np.ndarray, target: dict | None = None) -> Stages:
        own_size, settings = image.shape[:2], self.rpn.settings
        size = network_size(own_size, self.image.short_side, self.image.max_side)
        target = target or {"boxes": np.zeros((0, 4), np.float32)}
        truth = scale_boxes(target["boxes"], own_size, size)
        ignore = target.get("ignore")
        ignore = None if ignore is None else scale_boxes(ignore, own_size, size)
        with nn.evaluating(self), nn.no_grad():
            maps = self(self.to_tensor([resize(image, size)]))
            ((proposals, suspected),) = self.rpn.propose_with_scores(
                maps.objectness, maps.deltas, maps.anchors, [size]
            )
            rois = np.pad(np.concatenate([proposals, truth]), ((0, 0), (1, 0)))  # all of image 0
            logits, deltas = self.head(maps.thin, rois)
            pooled = self.head.pool(maps.thin, rois[: len(proposals)])
            probabilities, P = F.softmax(logits, 1).data, len(proposals)
            surest = 1 + probabilities[:P, 1:].argmax(axis=1)
            chosen = deltas.data[np.arange(P), surest] if deltas.ndim == 3 else deltas.data[:P]
            scores = self.head.scores(logits[:P], suspected)[:, 1:].max(axis=1)
            found = self.head.detect(logits[:P], deltas[:P], proposals, size, suspected)
        return Stages(
            size=size,
            anchors=maps.anchors,
            anchor_labels=settings.matcher(maps.anchors, truth, size, ignore).labels,
            objectness=F.sigmoid(maps.objectness).data[0],
            moved=clip(decode(maps.deltas.data[0], maps.anchors), size),
            best=best_scores(maps.objectness.data[0], settings.test_selector.pre_nms),
            proposals=proposals,
            suspected=suspected,
            pooled=pooled.data,
            probabilities=probabilities[:P],
            scores=scores,
            answers=clip(decode(chosen, proposals, self.head.settings.stds), size),
            exact=probabilities[P:],
            found=found,
        )

    @property
    def anchor_generator(self) -> AnchorGenerator:
        return self.rpn.anchor_generator

    def compiled_head(self) -> CompiledLightHead:
        return CompiledLightHead(self.head, self.rpn.settings.test_selector.post_nms)
