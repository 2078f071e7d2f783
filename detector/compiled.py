"""A trained detector made fast for use: the same detections, from a compiled network.

``CompiledDetector(model).predict`` stands for ``model.predict`` wherever many images are looked at
with weights that no longer change: in ``lighthead detect``, ``evaluate`` and every validation.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

import nn
from detector.preprocess import check_image
from detector.two_stage import Maps, TwoStageDetector

# Compiled networks, one for each size of image, take memory; the least recently used is dropped.
MOST_SIZES = 8


class CompiledDetector:
    """
    Args:
        model: is copied: training it further does not change what is found.

    Attributes:
        model: the copy.
    """

    def __init__(self, model: TwoStageDetector):
        self.model = copy.deepcopy(model).eval()
        self._networks: dict[tuple[int, ...], nn.inference.CompiledModule] = {}

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """As ``TwoStageDetector.predict``; the numbers may differ in their last digits."""
        with nn.no_grad():
            return [self.model.detect(check_image(image), self.network) for image in images]

    def network(self, batch: nn.Tensor) -> Maps:
        """The convolutional part, compiled for the batch's shape when it first occurs."""
        compiled = self._networks.pop(batch.shape, None)
        if compiled is None:
            compiled = nn.inference.compile(self.model, batch.shape)
            if len(self._networks) == MOST_SIZES:
                del self._networks[next(iter(self._networks))]
        self._networks[batch.shape] = compiled
        maps = compiled(batch.data)
        arrays = (maps.objectness, maps.deltas, maps.thin)
        return Maps(*map(nn.Tensor, arrays), maps.anchors)
