"""A trained detector made fast for use: the same detections, from a compiled network.

``CompiledDetector(model).predict`` stands for ``model.predict`` wherever many images are looked at
with weights that no longer change: in ``lighthead detect``, ``evaluate`` and every validation.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

import nn
from detector.detectors.detector import Detector
from detector.parts.preprocess import check_image
from nn.kernels import one_at_a_time

# Of the compiled networks, one for each size of image, the least recently used is dropped: each
# takes a megabyte besides the weights that all share. Photographs come in some twenty sizes.
MOST_SIZES = 32


class CompiledDetector:
    """
    Args:
        model: is copied: training it further does not change what is found.

    Attributes:
        model: the copy.
    """

    def __init__(self, model: Detector):
        self.model = copy.deepcopy(model).eval()
        self._networks: dict[tuple[int, ...], nn.inference.CompiledModule] = {}
        self.head = self.model.compiled_head()

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """As ``Detector.predict``; the numbers may differ in their last digits.

        Threads may share a detector: their images are looked at one after the other.
        """
        with nn.no_grad():
            return [self._detect(check_image(image)) for image in images]

    def _detect(self, image: np.ndarray) -> dict[str, np.ndarray]:
        with one_at_a_time:  # the networks and the head work in memory of their own
            return self.model.detect(image, self.network, self.head)

    def network(self, batch: nn.Tensor):
        """The convolutional part, compiled for the batch's shape when it first occurs."""
        compiled = self._networks.pop(batch.shape, None)
        if compiled is None:
            like = next(iter(self._networks.values()), None)
            compiled = nn.inference.compile(self.model, batch.shape, like)
            if len(self._networks) == MOST_SIZES:
                del self._networks[next(iter(self._networks))]
        self._networks[batch.shape] = compiled
        return compiled.tensors(batch.data)
