"""What all heads of a second stage have in common: their examples, their losses, their detections.

A head looks at regions of interest. It says which class each holds, background included, and how
to move its box; *how* it looks is all that light, heavy and position-sensitive heads differ in
(``light_head``, ``fast_rcnn``, ``r_fcn``).

Each step can be run alone: ``forward`` in use; ``assign`` -> ``mine`` -> ``loss`` in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

import nn
from detector.boxes import as_boxes, encode
from detector.parts.losses import BoxNormalizer, box_losses, class_losses
from detector.parts.ohem import hardest
from detector.parts.sampling import RoISampler
from detector.parts.selection import DetectionSelector
from detector.settings import Count, Fraction, NotNegative, Positive, Range, Settings
from nn import functional as F

# One map, or those of a pyramid, finest first: what regions are cut out of.
Features = nn.Tensor | tuple[nn.Tensor, ...]


@dataclass(frozen=True)
class RegionHeadSettings(Settings):
    """
    Attributes:
        pooled_size: p, a region is cut into p x p bins.
        sampling_ratio: each bin is made of sampling_ratio^2 points; 0 for one a cell of the map.
        class_specific_boxes: False for 4 box outputs, True for 4 for each class.
        stds: what typical box deltas measure; they are divided by it.
        sampler: how ``assign`` picks proposals.
        hard_examples: how many per image ``mine`` keeps; None turns online hard example mining off.
        beta: where the smooth L1 loss turns from quadratic to linear.
        box_normalizer: divide the box loss by the number of "sampled" or of "positive" examples.
        class_weight, box_weight: factors on the two losses. (The official code of the light head
            has 2 for the box.)
        objectness_share: a in the score of a detection, p^(1 - a) objectness^a. The head learns
            from the RPN's best proposals only, so its p is the probability of a class *given* that
            the RPN took the region for an object. 0 is p alone (the papers). 0.5 ranks by the
            product, and its root keeps the scores where they were.
        selector: how ``detect`` picks detections.
    """

    pooled_size: Annotated[int, Range(1, 64)] = 7
    sampling_ratio: Annotated[int, Range(0, 64)] = 2
    class_specific_boxes: bool = False
    stds: tuple[Positive, Positive, Positive, Positive] = (0.1, 0.1, 0.2, 0.2)
    sampler: RoISampler = RoISampler()
    hard_examples: Count | None = None
    beta: Positive = 1.0
    box_normalizer: BoxNormalizer = "sampled"
    class_weight: NotNegative = 1.0
    box_weight: NotNegative = 1.0
    objectness_share: Fraction = 0.0
    selector: DetectionSelector = DetectionSelector()


class HeadTargets(NamedTuple):
    """Examples for the head, of all images of a batch.

    rois (K, 5): image number, x1, y1, x2, y2; labels (K,) int64, 0 = background; deltas (K, 4),
    divided by the head's stds, 0 for background.
    """

    rois: np.ndarray
    labels: np.ndarray
    deltas: np.ndarray

    def pick(self, indices: np.ndarray) -> HeadTargets:
        """Only the examples with these numbers."""
        return HeadTargets(*(field[indices] for field in self))


class RegionHead(nn.Module):
    """
    Attributes:
        settings: its numbers.
    """

    settings: RegionHeadSettings

    @property
    def multiply_adds(self) -> int:
        """Of one region."""
        return sum(weight.numel() for weight in self.parameters() if weight.ndim > 1)

    def forward(self, features: Features, rois: np.ndarray) -> tuple[nn.Tensor, nn.Tensor]:
        """Class logits and box deltas of each RoI.

        Args:
            features: of a batch, (N, C, H, W) each.
            rois: (K, 5) image number and corners in pixels of the network's input.

        Returns:
            logits (K, 1 + C), column 0 is the background; deltas (K, 4), or (K, 1 + C, 4) if they
            are class-specific.
        """
        raise NotImplementedError

    def pool(self, features: Features, rois: np.ndarray) -> nn.Tensor:
        """What ``forward`` cuts out of the features: (K, C, size, size)."""
        raise NotImplementedError

    def examples(
        self,
        features: Features,
        proposals: Sequence[np.ndarray],
        targets: Sequence[dict],
        rng: np.random.Generator,
    ) -> HeadTargets:
        """What a batch trains with: ``assign``, then ``mine``."""
        return self.mine(features, self.assign(proposals, targets, rng), len(targets))

    def assign(
        self,
        proposals: Sequence[np.ndarray],
        targets: Sequence[dict],
        rng: np.random.Generator,
    ) -> HeadTargets:
        """Label the proposals of each image, ground-truth boxes among them, and pick from them.

        Args:
            proposals: (P, 4) of each image.
            targets: of each image, with ``boxes`` (G, 4), ``labels`` (G,) and maybe ``ignore``.
            rng: decides which are picked, if there are too many.
        """
        settings, parts = self.settings, []
        for n, (boxes, target) in enumerate(zip(proposals, targets, strict=True)):
            truth = as_boxes(target["boxes"])
            picked = settings.sampler(boxes, truth, target["labels"], rng, target.get("ignore"))
            deltas = np.zeros_like(picked.boxes)
            found = picked.labels > 0
            deltas[found] = encode(truth[picked.matched[found]], picked.boxes[found], settings.stds)
            number = np.full((len(picked.boxes), 1), n, picked.boxes.dtype)
            rois = np.concatenate([number, picked.boxes], axis=1)
            parts.append(HeadTargets(rois, picked.labels, deltas))
        return HeadTargets(*map(np.concatenate, zip(*parts, strict=True)))

    def mine(self, features: Features, targets: HeadTargets, num_images: int) -> HeadTargets:
        """The hardest examples of the batch: ``hard_examples`` times ``num_images`` of them.

        Runs the head on all of them without building a graph.
        """
        keep = self.settings.hard_examples
        if keep is None or len(targets.labels) <= keep * num_images:
            return targets
        with nn.no_grad():
            class_loss, box_loss = self._losses(features, targets)
        losses = class_loss.data + box_loss.data
        return targets.pick(hardest(losses, keep * num_images))

    def loss(self, features: Features, targets: HeadTargets) -> dict[str, nn.Tensor]:
        """``head_class`` and ``head_box``, averaged over the examples of the batch."""
        class_loss, box_loss = self._losses(features, targets)
        settings, labels = self.settings, targets.labels
        examples = labels if settings.box_normalizer == "sampled" else labels[labels > 0]
        return {
            "head_class": class_loss.sum() / max(len(labels), 1) * settings.class_weight,
            "head_box": box_loss.sum() / max(len(examples), 1) * settings.box_weight,
        }

    def detect(
        self,
        logits: nn.Tensor,
        deltas: nn.Tensor,
        proposals: np.ndarray,
        image_size: tuple[int, int],
        objectness: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """The detections of one image, best first; see ``DetectionSelector``.

        Args:
            logits, deltas: what ``forward`` says of its proposals (K, 4).
            image_size: (h, w) in pixels, without padding.
            objectness: (K,) probabilities, what the RPN says of the proposals; None is 1.
        """
        scores = self.scores(logits, objectness)
        return self.settings.selector(
            scores, deltas.data, proposals, image_size, self.settings.stds
        )

    def scores(self, logits: nn.Tensor, objectness: np.ndarray | None = None) -> np.ndarray:
        """What ``detect`` ranks by, (K, 1 + C); see ``objectness_share``."""
        probabilities, share = F.softmax(logits, 1).data, self.settings.objectness_share
        if share and objectness is not None:
            probabilities = probabilities ** (1 - share) * objectness[:, None] ** share
        return probabilities

    def _losses(self, features: Features, targets: HeadTargets) -> tuple[nn.Tensor, nn.Tensor]:
        """Class loss and box loss of each example, both (K,); background has no box loss."""
        logits, deltas = self.forward(features, targets.rois)
        if self.settings.class_specific_boxes:
            deltas = deltas[np.arange(len(targets.labels)), targets.labels]
        is_object = (targets.labels > 0).astype(deltas.dtype)
        box_loss = box_losses(deltas, targets.deltas, self.settings.beta) * is_object
        return class_losses(logits, targets.labels), box_loss
