"""A single-stage detector put together from its parts, with one way to train and one to predict.

    images -> backbone -> neck -> maps -> head -> detections

There is nothing between the maps and the detections: no proposals and no pooling, so that all of
the network is convolutions, and it runs once for a picture. (``two_stage`` is the other way.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import nn
from detector.detectors.detector import Detector, DetectorSettings
from detector.parts.preprocess import resize, scale_boxes
from nn.models import Network


class OneStageDetector(Detector):
    """
    Args:
        num_classes: without background.
        settings: its numbers.
        backbone: images (N, 3, H, W) -> maps by name.
        neck: from those to the maps that the head reads, in order.
        head: from their list to answers. It has ``assign``, ``loss`` and ``detect``.
    """

    def __init__(
        self,
        num_classes: int,
        settings: DetectorSettings,
        backbone: Network,
        neck: nn.Module,
        head: nn.Module,
    ):
        super().__init__()
        self.num_classes, self.settings = num_classes, settings
        self.backbone, self.neck, self.head = backbone, neck, head

    def forward(self, batch: nn.Tensor) -> Any:
        """The head's answers for normalised images (N, 3, H, W), H and W multiples of 32."""
        maps = self.neck(self.backbone.features(batch))
        return self.head(list(maps.values()), batch.shape[2:])

    def loss(
        self,
        images: Sequence[np.ndarray],
        targets: Sequence[dict],
        rng: np.random.Generator | None = None,
    ) -> dict[str, nn.Tensor]:
        """The head's losses; see ``Detector``. ``rng`` decides about dropout, if there is any."""
        self.check_batch(images, targets)
        with nn.init.fork_stream():
            nn.manual_seed(0 if rng is None else int(rng.integers(2**63)))
            answers = self(self.to_tensor(images))
        return self.head.loss(answers, self.head.assign(answers, targets))

    def detect(
        self,
        image: np.ndarray,
        network: Callable[[nn.Tensor], Any] | None = None,
        head: None = None,
    ) -> dict[str, np.ndarray]:
        own_size = image.shape[:2]
        size = self.input_size(own_size)
        found = self.head.detect((network or self)(self.to_tensor([resize(image, size)])), size)
        return {
            "boxes": scale_boxes(found["boxes"], size, own_size).astype(np.float32),
            "scores": found["scores"].astype(np.float32),
            "labels": found["labels"],
        }

    @property
    def anchor_generator(self):
        return self.head.anchor_generator
