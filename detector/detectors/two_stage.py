"""A two-stage detector put together from its parts, with one way to train and one to predict.

    images -> backbone -> RPN ------> proposals --+
                     \\--> neck ------------------+--> head -> detections

Knows how the parts work together and nothing about how they are made: the backbone, the region
proposal network, the neck and the head arrive as objects. The rivals differ in these:

    row                neck                       head, for each region
    light-head-rcnn    thin map, 490 channels     one fully connected layer
    r-fcn              score maps, 49 a class     a mean
    faster-rcnn        none, or a pyramid         two fully connected layers
    faster-rcnn-c4     none                       the backbone's last stage
    cascade-rcnn       the same                   three such heads, one after the other
    mask-rcnn          the same                   the same, and a mask of every detection
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

import nn
from detector.detectors.detector import Detector, DetectorSettings
from detector.detectors.stages import Stages
from detector.detectors.two_stage_stages import stages_of
from detector.heads.connected_head import CompiledHead, ConnectedHead
from detector.heads.region_head import Features, RegionHead, RegionHeadSettings
from detector.heads.rpn import AnchorTargets, RegionProposalNetwork, RPNSettings
from detector.parts.anchors import AnchorGenerator
from detector.parts.preprocess import resize, scale_boxes
from detector.parts.pyramid_anchors import PyramidAnchors
from nn.models import Network


@dataclass(frozen=True)
class TwoStageSettings(DetectorSettings):
    """
    Attributes:
        rpn, head: see the settings of the parts.
    """

    anchors = "rpn.anchors"

    rpn: RPNSettings = RPNSettings()
    head: RegionHeadSettings = RegionHeadSettings()

    @property
    def finest_stride(self) -> int:
        """Of the maps that the RPN reads."""
        return self.rpn.stride


class Maps(NamedTuple):
    """What the network computes for a whole batch, before any box is looked at.

    objectness (N, M) and deltas (N, M, 4) of the M anchors (M, 4); features (N, C, H, W), what the
    head reads, one map or those of a pyramid; levels: how many of the anchors lie on each map.
    """

    objectness: nn.Tensor
    deltas: nn.Tensor
    features: Features
    anchors: np.ndarray
    levels: tuple[int, ...]


class BatchPlan(NamedTuple):
    """Which anchors and which proposals a batch trains with, and what they should say.

    Plain arrays. With the plan held fixed, the losses are a smooth function of the weights.
    """

    anchors: AnchorTargets
    rois: Any  # what the head's ``examples`` are
    masks: Any = None  # of a detector that has them


class TwoStageDetector(Detector):
    """
    Args:
        num_classes: without background.
        settings: its numbers.
        backbone: images (N, 3, H, W) -> maps by name.
        rpn: the first stage.
        neck: from the backbone's maps to those that the head reads; None if they are the same.
        head: the second stage.
        rpn_maps, head_maps: names of the maps that they read, finest first. A head that reads just
            one is given that name by itself.

    Attributes:
        neck_name: where the neck is kept, and so what its weights are called in a checkpoint.
    """

    neck_name: ClassVar[str] = "neck"

    def __init__(
        self,
        num_classes: int,
        settings: TwoStageSettings,
        backbone: Network,
        rpn: RegionProposalNetwork,
        neck: nn.Module | None,
        head: RegionHead,
        rpn_maps: Sequence[str],
        head_maps: str | Sequence[str],
    ):
        super().__init__()
        self.num_classes, self.settings = num_classes, settings
        self.backbone, self.rpn = backbone, rpn
        setattr(self, self.neck_name, neck)
        self.head, self.rpn_maps, self.head_maps = head, tuple(rpn_maps), head_maps

    def forward(self, batch: nn.Tensor) -> Maps:
        """The convolutional part: normalised images (N, 3, H, W), H and W multiples of 32."""
        maps, neck = self.maps_of(batch), getattr(self, self.neck_name)
        if neck is not None:
            maps = {**maps, **neck(maps)}
        read = [maps[name] for name in self.rpn_maps]
        objectness, deltas = self.rpn(*read)
        anchors = self.rpn.anchor_generator.grids([level.shape[2:] for level in read])
        if isinstance(self.head_maps, str):
            features = maps[self.head_maps]
        else:
            features = tuple(maps[name] for name in self.head_maps)
        return Maps(objectness, deltas, features, np.concatenate(anchors), tuple(map(len, anchors)))

    def maps_of(self, batch: nn.Tensor) -> dict[str, nn.Tensor]:
        """What the backbone makes of the whole picture."""
        return self.backbone.features(batch)

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
        proposals = self.rpn.propose(
            maps.objectness, maps.deltas, maps.anchors, image_sizes, maps.levels
        )
        return BatchPlan(anchors, self.head.examples(maps.features, proposals, targets, rng))

    def losses(self, maps: Maps, plan: BatchPlan) -> dict[str, nn.Tensor]:
        """The losses of a batch, given what to train with."""
        return {
            **self.rpn.loss(maps.objectness, maps.deltas, plan.anchors),
            **self.head.loss(maps.features, plan.rois),
        }

    def detect(
        self,
        image: np.ndarray,
        network: Callable[[nn.Tensor], Maps] | None = None,
        head: Callable[[nn.Tensor, np.ndarray], tuple[nn.Tensor, nn.Tensor]] | None = None,
    ) -> dict[str, np.ndarray]:
        network, head = network or self, head or self.head
        own_size = image.shape[:2]
        size = self.input_size(own_size)
        maps = network(self.to_tensor([resize(image, size)]))
        ((proposals, objectness),) = self.rpn.propose_with_scores(
            maps.objectness, maps.deltas, maps.anchors, [size], maps.levels
        )
        rois = np.concatenate([np.zeros((len(proposals), 1), proposals.dtype), proposals], axis=1)
        found = self.head.detect(*head(maps.features, rois), proposals, size, objectness)
        found = self.look_again(maps, found)
        return {
            **found,
            "boxes": scale_boxes(found["boxes"], size, own_size).astype(np.float32),
            "scores": found["scores"].astype(np.float32),
        }

    def look_again(self, maps: Maps, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What more there is to say of the detections of one image: here nothing."""
        return found

    def stages(self, image: np.ndarray, target: dict | None = None) -> Stages:
        return stages_of(self, image, target)

    @property
    def anchor_generator(self) -> AnchorGenerator | PyramidAnchors:
        return self.rpn.anchor_generator

    def compiled_head(self) -> CompiledHead | None:
        if isinstance(self.head, ConnectedHead):
            return CompiledHead(self.head, self.rpn.settings.test_selector.post_nms)
        return None
