"""A two-stage detector put together from its parts, with one way to train and one to predict.

    images -> backbone -> RPN ------> proposals --+
                     \\--> thin map --------------+--> head -> detections

Knows how the parts work together and nothing about how they are made: the backbone, the region
proposal network, the thin map and the head arrive as objects (``light_head_rcnn`` makes them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

import nn
from detector.boxes import as_boxes
from detector.heads.light_head import HeadTargets, LightHead
from detector.heads.rpn import AnchorTargets, RegionProposalNetwork
from detector.parts.preprocess import check_image, network_size, resize, scale_boxes, to_batch
from detector.parts.selection import DetectionSelector
from nn import functional as F


class Maps(NamedTuple):
    """What the network computes for a whole batch, before any box is looked at.

    objectness (N, M) and deltas (N, M, 4) of the M anchors (M, 4); thin (N, C, H, W).
    """

    objectness: nn.Tensor
    deltas: nn.Tensor
    thin: nn.Tensor
    anchors: np.ndarray


class Plan(NamedTuple):
    """Which anchors and which proposals a batch trains with, and what they should say.

    Plain arrays. With the plan held fixed, the losses are a smooth function of the weights.
    """

    anchors: AnchorTargets
    rois: HeadTargets


class TwoStageDetector(nn.Module):
    """
    Args:
        backbone: images (N, 3, H, W) -> maps by name, among them "stage3", the RPN's.
        rpn, thin_map, head: see their files.
        select: turns the head's outputs into detections.
        num_classes: without background.
        short_side, max_side: the size at which ``predict`` looks at images.
        image_mean, image_std: of RGB values in 0..1.
        loss_weights: a factor for each of the four losses, by name.
    """

    def __init__(
        self,
        backbone: nn.Module,
        rpn: RegionProposalNetwork,
        thin_map: nn.Module,
        head: LightHead,
        select: DetectionSelector,
        num_classes: int,
        short_side: int = 800,
        max_side: int = 1200,
        image_mean: Sequence[float] = (0.485, 0.456, 0.406),
        image_std: Sequence[float] = (0.229, 0.224, 0.225),
        loss_weights: Mapping[str, float] | None = None,
    ):
        super().__init__()
        self.backbone, self.rpn, self.thin_map, self.head = backbone, rpn, thin_map, head
        self.select, self.num_classes = select, num_classes
        self.short_side, self.max_side = short_side, max_side
        self.image_mean, self.image_std = tuple(image_mean), tuple(image_std)
        self.loss_weights = dict(loss_weights or {})

    def forward(self, batch: nn.Tensor) -> Maps:
        """The convolutional part: normalised images (N, 3, H, W), H and W multiples of 32."""
        features = self.backbone(batch)
        objectness, deltas = self.rpn(features["stage3"])
        anchors = self.rpn.anchor_generator.grid(features["stage3"].shape[2:])
        return Maps(objectness, deltas, self.thin_map(features), anchors)

    def loss(
        self,
        images: Sequence[np.ndarray],
        targets: Sequence[dict],
        rng: np.random.Generator | None = None,
    ) -> dict[str, nn.Tensor]:
        """The four losses of a batch; train with their sum.

        Args:
            images: (H, W, 3) uint8 RGB each, at the size the network should see, of any sizes.
            targets: of each image: ``boxes`` (G, 4) in its pixels, ``labels`` (G,) int64 in
                1..num_classes, optionally ``ignore`` (I, 4) crowd regions. G may be 0.
            rng: picks the anchors and proposals to train with; without one, the picks depend on
                nothing but the arguments.

        Returns:
            ``rpn_objectness``, ``rpn_box``, ``head_class``, ``head_box``, one element each.

        Raises:
            ValueError: no image, images and targets do not pair up, or a label is out of range.
        """
        self._check(images, targets)
        maps = self(self.to_tensor(images))
        sizes = [image.shape[:2] for image in images]
        return self.losses(maps, self.plan(maps, targets, sizes, rng))

    def plan(
        self,
        maps: Maps,
        targets: Sequence[dict],
        image_sizes: Sequence[tuple[int, int]],
        rng: np.random.Generator | None = None,
    ) -> Plan:
        """Everything discrete about a training step: matching, sampling, proposals, mining."""
        rng = np.random.Generator(np.random.Philox(0)) if rng is None else rng
        anchors = self.rpn.assign(maps.anchors, targets, image_sizes, rng)
        proposals = self.rpn.propose(maps.objectness, maps.deltas, maps.anchors, image_sizes)
        rois = self.head.assign(proposals, targets, rng)
        return Plan(anchors, self.head.mine(maps.thin, rois, len(targets)))

    def losses(self, maps: Maps, plan: Plan) -> dict[str, nn.Tensor]:
        """The four losses of a batch, given what to train with."""
        losses = {
            **self.rpn.loss(maps.objectness, maps.deltas, plan.anchors),
            **self.head.loss(maps.thin, plan.rois),
        }
        return {name: loss * self.loss_weights.get(name, 1.0) for name, loss in losses.items()}

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Detect objects.

        Every image is looked at by itself, so what is found in it does not depend on the others.

        Args:
            images: (H, W, 3) uint8 RGB each, of any sizes; the list may be empty.

        Returns:
            for each image a dict, best detection first: ``boxes`` (R, 4) float32 in its own
            pixels, ``scores`` (R,) float32 in 0..1, ``labels`` (R,) int64 in 1..num_classes.
        """
        with nn.evaluating(self), nn.no_grad():
            return [self.detect(check_image(image), self, self.head) for image in images]

    def to_tensor(self, images: Sequence[np.ndarray]) -> nn.Tensor:
        """Normalised and padded to one batch (N, 3, H, W), in the precision of the weights."""
        dtype = next(self.parameters()).dtype
        return nn.Tensor(to_batch(images, self.image_mean, self.image_std, dtype))

    def detect(
        self,
        image: np.ndarray,
        network: Callable[[nn.Tensor], Maps],
        head: Callable[[nn.Tensor, np.ndarray], tuple[nn.Tensor, nn.Tensor]],
    ) -> dict[str, np.ndarray]:
        """What ``predict`` does with one image.

        ``network`` computes the maps and ``head`` looks at the proposals: this module and its
        ``head``, or the same functions compiled.
        """
        own_size = image.shape[:2]
        size = network_size(own_size, self.short_side, self.max_side)
        maps = network(self.to_tensor([resize(image, size)]))
        (proposals,) = self.rpn.propose(maps.objectness, maps.deltas, maps.anchors, [size])
        rois = np.concatenate([np.zeros((len(proposals), 1), proposals.dtype), proposals], axis=1)
        logits, deltas = head(maps.thin, rois)
        found = self.select(F.softmax(logits, 1).data, deltas.data, proposals, size)
        return {
            "boxes": scale_boxes(found["boxes"], size, own_size).astype(np.float32),
            "scores": found["scores"].astype(np.float32),
            "labels": found["labels"],
        }

    def _check(self, images: Sequence, targets: Sequence[dict]) -> None:
        if len(images) == 0 or len(images) != len(targets):
            raise ValueError(
                f"loss: needs at least one image and a target for each, not {len(images)} images "
                f"and {len(targets)} targets"
            )
        for number, target in enumerate(targets):
            boxes, labels = as_boxes(target["boxes"]), np.asarray(target["labels"])
            if labels.shape != boxes.shape[:1]:
                raise ValueError(
                    f"loss: target {number} has {len(boxes)} boxes and labels {labels.shape}"
                )
            if len(labels) and not (1 <= labels.min() and labels.max() <= self.num_classes):
                raise ValueError(
                    f"loss: labels must be 1..{self.num_classes}, target {number} has "
                    f"{labels.min()}..{labels.max()}"
                )
