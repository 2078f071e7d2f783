"""The light head: what is in each proposal, and where exactly.

The second stage (thesis section 3.2.3): position-sensitive RoI align cuts 10 channels x 7 x 7 out
of the thin map, one fully connected layer of 2048 looks at them, two more give the class scores and
the box deltas. No dropout, and the classes share one set of four box outputs.

Each step can be run alone: ``forward`` in use; ``assign`` -> ``mine`` -> ``loss`` in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import nn
from detector.boxes import as_boxes, encode
from detector.parts.layers import init_hidden, init_output
from detector.parts.losses import box_losses, class_losses
from detector.parts.ohem import hardest
from detector.parts.sampling import RoISampler
from nn import functional as F

# The official code's; box deltas start closer to 0 than class scores.
BOX_OUTPUT_STD = 0.001


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


class LightHead(nn.Module):
    """
    Args:
        num_classes: without background.
        stride: of the thin map, in pixels.
        pooled_channels, pooled_size: 10 and 7; the thin map has 10 x 7 x 7 channels.
        hidden_channels: 2048.
        pooling_mode, sampling_ratio: see ``nn.functional.ps_roi_align``.
        class_specific_boxes: four deltas for each class instead of four in all.
        stds: what the deltas are divided by.
        sampler: how ``assign`` picks proposals.
        hard_examples: how many per image ``mine`` keeps, None for all.
        init: of the hidden layer, see ``detector.parts.layers``.
        beta: of the smooth L1 loss.
        box_normalizer: divide the box loss by the number of "sampled" or of "positive" examples.
    """

    def __init__(
        self,
        num_classes: int,
        stride: int = 32,
        pooled_channels: int = 10,
        pooled_size: int = 7,
        hidden_channels: int = 2048,
        pooling_mode: str = "avg",
        sampling_ratio: int = 2,
        class_specific_boxes: bool = False,
        stds: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
        sampler: RoISampler = RoISampler(),  # noqa: B008 (it is frozen)
        hard_examples: int | None = 256,
        init: str = "gaussian",
        beta: float = 1.0,
        box_normalizer: str = "sampled",
    ):
        super().__init__()
        pooled = pooled_channels * pooled_size**2
        boxes = 1 + num_classes if class_specific_boxes else 1
        self.hidden = init_hidden(nn.Linear(pooled, hidden_channels), init)
        self.classes = init_output(nn.Linear(hidden_channels, 1 + num_classes))
        self.boxes = init_output(nn.Linear(hidden_channels, 4 * boxes), BOX_OUTPUT_STD)

        self.stride, self.pooled_size = stride, pooled_size
        self.pooling_mode, self.sampling_ratio = pooling_mode, sampling_ratio
        self.class_specific_boxes, self.stds = class_specific_boxes, tuple(stds)
        self.sampler, self.hard_examples = sampler, hard_examples
        self.beta, self.box_normalizer = beta, box_normalizer

    def forward(self, thin: nn.Tensor, rois: np.ndarray) -> tuple[nn.Tensor, nn.Tensor]:
        """Class logits and box deltas of each RoI.

        Args:
            thin: (N, pooled_channels * pooled_size^2, H, W).
            rois: (K, 5) image number and corners in pixels of the network's input.

        Returns:
            logits (K, 1 + C), column 0 is the background; deltas (K, 4), or (K, 1 + C, 4) if they
            are class-specific.
        """
        pooled = self.pool(thin, rois)
        # Sizes in full instead of -1, which says nothing where there are no RoIs.
        hidden = F.relu(self.hidden(pooled.reshape(len(rois), self.hidden.in_features)))
        logits, deltas = self.classes(hidden), self.boxes(hidden)
        if self.class_specific_boxes:
            deltas = deltas.reshape(len(rois), logits.shape[1], 4)
        return logits, deltas

    def pool(self, thin: nn.Tensor, rois: np.ndarray) -> nn.Tensor:
        """What ``forward`` cuts out of the thin map: (K, pooled_channels, size, size)."""
        return F.ps_roi_align(
            thin, rois, self.pooled_size, 1 / self.stride, self.sampling_ratio, self.pooling_mode
        )

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
        parts = []
        for n, (boxes, target) in enumerate(zip(proposals, targets, strict=True)):
            truth = as_boxes(target["boxes"])
            picked = self.sampler(boxes, truth, target["labels"], rng, target.get("ignore"))
            deltas = np.zeros_like(picked.boxes)
            found = picked.labels > 0
            deltas[found] = encode(truth[picked.matched[found]], picked.boxes[found], self.stds)
            number = np.full((len(picked.boxes), 1), n, picked.boxes.dtype)
            rois = np.concatenate([number, picked.boxes], axis=1)
            parts.append(HeadTargets(rois, picked.labels, deltas))
        return HeadTargets(*map(np.concatenate, zip(*parts, strict=True)))

    def mine(self, thin: nn.Tensor, targets: HeadTargets, num_images: int) -> HeadTargets:
        """The hardest examples of the batch: ``hard_examples`` times ``num_images`` of them.

        Runs the head on all of them without building a graph.
        """
        if self.hard_examples is None or len(targets.labels) <= self.hard_examples * num_images:
            return targets
        with nn.no_grad():
            class_loss, box_loss = self._losses(thin, targets)
        losses = class_loss.data + box_loss.data
        return targets.pick(hardest(losses, self.hard_examples * num_images))

    def loss(self, thin: nn.Tensor, targets: HeadTargets) -> dict[str, nn.Tensor]:
        """``head_class`` and ``head_box``, averaged over the examples of the batch."""
        class_loss, box_loss = self._losses(thin, targets)
        labels = targets.labels
        examples = labels if self.box_normalizer == "sampled" else labels[labels > 0]
        return {
            "head_class": class_loss.sum() / max(len(labels), 1),
            "head_box": box_loss.sum() / max(len(examples), 1),
        }

    def _losses(self, thin: nn.Tensor, targets: HeadTargets) -> tuple[nn.Tensor, nn.Tensor]:
        """Class loss and box loss of each example, both (K,); background has no box loss."""
        logits, deltas = self.forward(thin, targets.rois)
        if self.class_specific_boxes:
            deltas = deltas[np.arange(len(targets.labels)), targets.labels]
        is_object = (targets.labels > 0).astype(deltas.dtype)
        box_loss = box_losses(deltas, targets.deltas, self.beta) * is_object
        return class_losses(logits, targets.labels), box_loss
