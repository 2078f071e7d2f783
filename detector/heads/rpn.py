"""The region proposal network: is there an object around this anchor, and where exactly?

The first of the two stages (Faster R-CNN, section 3; thesis section 3.2.3, with 256 channels, half
as many as the paper). A 3x3 convolution looks at every cell of the stride-16 map, two 1x1
convolutions say for each of its A anchors how likely it is an object and how to move it (four
deltas).

Each step can be run alone: ``forward`` -> ``propose`` in use, ``forward`` -> ``assign`` -> ``loss``
in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np

import nn
from detector.boxes import best_scores, encode
from detector.parts.anchors import AnchorSettings
from detector.parts.layers import Init, Norm, init_hidden, init_output, make_norm
from detector.parts.losses import BoxNormalizer, box_losses, objectness_loss
from detector.parts.matching import AnchorMatcher
from detector.parts.proposals import ProposalSelector
from detector.parts.pyramid_anchors import PyramidAnchors
from detector.parts.sampling import AnchorSampler, object_weights
from detector.settings import Channels, NotNegative, Positive, Range, Settings
from nn import functional as F


@dataclass(frozen=True)
class RPNSettings(Settings):
    """
    Attributes:
        stride: of the map it reads; a feature pyramid has strides of its own.
        source: "backbone" (its map of that stride: the papers), or "fused" (the neck's sum of the
            maps of stride 16 and 32, which sees large objects whole; the neck's source must be
            "fused" too).
        channels, norm, init: of the 3x3 convolution, see ``detector.parts.layers``.
        outputs: per anchor, 2 (background and object, with a softmax over the two: the papers) or 1
            (with a sigmoid: the same function from half the weights). Only the difference of the
            two matters, so both leave ``forward`` as one logit.
        prior: the probability of an object that an untrained network gives each anchor; 0.5 is a
            bias of 0.
        anchors, matcher, sampler: how ``assign`` lays, labels and picks anchors.
        train_selector, test_selector: how ``propose`` picks boxes in training and evaluation.
        balance: "anchor", or "object" for equal weight of all objects of an image.
        beta: where the smooth L1 loss turns from quadratic to linear.
        box_normalizer: divide the box loss by the number of "sampled" or of "positive" anchors.
        objectness_weight, box_weight: factors on the two losses.
    """

    stride: Literal[4, 8, 16, 32] = 16
    source: Literal["backbone", "fused"] = "backbone"
    channels: Channels = 256
    norm: Norm = "none"
    init: Init = "gaussian"
    outputs: Literal[1, 2] = 2
    prior: Annotated[float, Range(1e-6, 1 - 1e-6)] = 0.5
    anchors: AnchorSettings = AnchorSettings()
    matcher: AnchorMatcher = AnchorMatcher()
    sampler: AnchorSampler = AnchorSampler()
    train_selector: ProposalSelector = ProposalSelector(12000, 2000)
    test_selector: ProposalSelector = ProposalSelector(6000, 1000)
    balance: Literal["anchor", "object"] = "anchor"
    beta: Positive = 1 / 9
    box_normalizer: BoxNormalizer = "sampled"
    objectness_weight: NotNegative = 1.0
    box_weight: NotNegative = 1.0


class AnchorTargets(NamedTuple):
    """What the sampled anchors of a batch should say.

    With M anchors per image, anchor m of image n has the number n * M + m.

    sampled (S,) int64 numbers; is_object (S,) bool; weights (S,) float32; deltas (P, 4) to the
    matched box for the P anchors ``sampled[is_object]``.
    """

    sampled: np.ndarray
    is_object: np.ndarray
    weights: np.ndarray
    deltas: np.ndarray


class RegionProposalNetwork(nn.Module):
    """
    Args:
        in_channels: of the feature map.
        settings: its numbers.
        strides: of the maps of a pyramid, finest first, which share its weights and its anchors;
            None for one map.
    """

    def __init__(
        self,
        in_channels: int,
        settings: RPNSettings = RPNSettings(),
        strides: Sequence[int] | None = None,
    ):
        super().__init__()
        self.settings = settings
        if strides is None:
            self.anchor_generator = settings.anchors.generator(settings.stride)
        else:
            self.anchor_generator = PyramidAnchors(settings.anchors, strides)
        A, channels = self.anchor_generator.num_anchors_per_cell, settings.channels
        conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=settings.norm == "none")
        self.conv = nn.Sequential(
            init_hidden(conv, settings.init), make_norm(settings.norm, channels), nn.ReLU()
        )
        outputs, prior = settings.outputs, settings.prior
        self.objectness = init_output(nn.Conv2d(channels, outputs * A, 1))
        self.deltas = init_output(nn.Conv2d(channels, 4 * A, 1))
        self.objectness.bias.data[outputs - 1 :: outputs] = math.log(prior / (1 - prior))

    def forward(self, features: nn.Tensor, *coarser: nn.Tensor) -> tuple[nn.Tensor, nn.Tensor]:
        """(N, C, H, W) -> objectness logits (N, M) and deltas (N, M, 4), M = H W A.

        In the order of ``anchor_generator.grid((H, W))``; those of a pyramid one after the other.
        """
        if coarser:
            objectness, deltas = zip(*map(self.forward, (features, *coarser)), strict=True)
            return F.cat(objectness, 1), F.cat(deltas, 1)
        N, _, H, W = features.shape
        A = self.anchor_generator.num_anchors_per_cell
        hidden = self.conv(features)
        objectness = self.objectness(hidden).permute(0, 2, 3, 1).reshape(N, H * W * A, -1)
        if objectness.shape[2] == 2:
            objectness = objectness[:, :, 1] - objectness[:, :, 0]
        deltas = self.deltas(hidden).permute(0, 2, 3, 1).reshape(N, H * W * A, 4)
        return objectness.reshape(N, H * W * A), deltas

    def propose(
        self,
        objectness: nn.Tensor,
        deltas: nn.Tensor,
        anchors: np.ndarray,
        image_sizes: Sequence[tuple[int, int]],
        levels: Sequence[int] | None = None,
    ) -> list[np.ndarray]:
        """The proposals (R, 4) of each image, best first, as arrays outside the graph.

        Args:
            objectness, deltas: from ``forward``.
            anchors: (M, 4).
            image_sizes: (h, w) of each image without padding.
            levels: how many anchors each map of a pyramid has. Each gives its best, and the best of
                those are taken.
        """
        scored = self.propose_with_scores(objectness, deltas, anchors, image_sizes, levels)
        return [boxes for boxes, _ in scored]

    def propose_with_scores(
        self,
        objectness: nn.Tensor,
        deltas: nn.Tensor,
        anchors: np.ndarray,
        image_sizes: Sequence[tuple[int, int]],
        levels: Sequence[int] | None = None,
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """As ``propose``; beside the boxes the probability (R,) that each is an object."""
        settings = self.settings
        select = settings.train_selector if self.training else settings.test_selector
        ends = np.cumsum([len(anchors)] if levels is None else levels)
        proposals = []
        for n, size in enumerate(image_sizes):
            found = [
                select(
                    objectness.data[n, start:end],
                    deltas.data[n, start:end],
                    anchors[start:end],
                    size,
                )
                for start, end in zip([0, *ends], ends, strict=False)
            ]
            boxes, logits = map(np.concatenate, zip(*found, strict=True))
            best = best_scores(logits, select.post_nms)
            proposals.append((boxes[best], F.sigmoid(nn.Tensor(logits[best])).data))
        return proposals

    def assign(
        self,
        anchors: np.ndarray,
        targets: Sequence[dict],
        image_sizes: Sequence[tuple[int, int]],
        rng: np.random.Generator,
    ) -> AnchorTargets:
        """Match and sample the anchors of each image.

        Args:
            anchors: (M, 4).
            targets: of each image, with ``boxes`` (G, 4) and maybe ``ignore`` (I, 4).
            image_sizes: (h, w) of each image without padding.
            rng: decides which anchors are sampled.
        """
        parts = []
        for n, (target, size) in enumerate(zip(targets, image_sizes, strict=True)):
            match = self.settings.matcher(anchors, target["boxes"], size, target.get("ignore"))
            positive, negative = self.settings.sampler(match.labels, rng)
            matched = match.matched[positive]
            weights = np.ones(len(positive) + len(negative), np.float32)
            if self.settings.balance == "object":
                weights[: len(positive)] = object_weights(matched)
            parts.append(
                AnchorTargets(
                    n * len(anchors) + np.concatenate([positive, negative]),
                    np.arange(len(weights)) < len(positive),
                    weights,
                    encode(target["boxes"][matched], anchors[positive]),
                )
            )
        return AnchorTargets(*map(np.concatenate, zip(*parts, strict=True)))

    def loss(
        self, objectness: nn.Tensor, deltas: nn.Tensor, targets: AnchorTargets
    ) -> dict[str, nn.Tensor]:
        """``rpn_objectness`` and ``rpn_box`` of a batch, 0 for the latter without any object."""
        settings = self.settings
        sampled, is_object, weights, _ = targets
        logits = objectness.reshape(-1)[sampled]
        moved = box_losses(deltas.reshape(-1, 4)[sampled[is_object]], targets.deltas, settings.beta)
        moved = (moved * weights[is_object].astype(deltas.dtype)).sum()
        examples = sampled if settings.box_normalizer == "sampled" else targets.deltas
        return {
            "rpn_objectness": objectness_loss(logits, is_object, weights)
            * settings.objectness_weight,
            "rpn_box": moved / max(len(examples), 1) * settings.box_weight,
        }
