"""A trained detector made fast for use: the same detections, from a compiled network.

``CompiledDetector(model).predict`` stands for ``model.predict`` wherever many images are looked at
with weights that no longer change: in ``lighthead detect``, ``evaluate`` and every validation.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

import nn
from detector.detectors.two_stage import Maps, TwoStageDetector
from detector.heads.light_head import LightHead
from detector.parts.preprocess import check_image

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
        self.head = CompiledHead(self.model.head, self.model.rpn.test_selector.post_nms)

    def predict(self, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """As ``TwoStageDetector.predict``; the numbers may differ in their last digits."""
        with nn.no_grad():
            return [
                self.model.detect(check_image(image), self.network, self.head) for image in images
            ]

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


class CompiledHead:
    """The light head, its fully connected layers compiled.

    The regions are the pixels of a map with one row and 490 channels; on it, fully connected layers
    are pointwise convolutions. The map is made for the most regions there can be.
    """

    def __init__(self, head: LightHead, most: int):
        self._head, self._classes = head, head.classes.out_features
        outputs = nn.Linear(head.classes.in_features, self._classes + head.boxes.out_features)
        outputs.weight.data = np.concatenate([head.classes.weight.data, head.boxes.weight.data])
        outputs.bias.data = np.concatenate([head.classes.bias.data, head.boxes.bias.data])
        layers = nn.Sequential(_pointwise(head.hidden), nn.ReLU(), _pointwise(outputs))
        self._map = np.zeros((1, head.hidden.in_features, 1, most), head.hidden.weight.dtype)
        self._layers = nn.inference.compile(layers, self._map.shape)

    def __call__(self, thin: nn.Tensor, rois: np.ndarray) -> tuple[nn.Tensor, nn.Tensor]:
        """As ``LightHead.forward``."""
        pooled = self._head.pool(thin, rois).data
        logits, deltas = self.connected(pooled.reshape(len(rois), self._map.shape[1]))
        if self._head.class_specific_boxes:
            deltas = deltas.reshape(len(rois), self._classes, 4)
        return nn.Tensor(logits), nn.Tensor(deltas)

    def connected(self, pooled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The fully connected layers: features (K, 490) -> logits and deltas, a row a region."""
        self._map[0, :, 0, : len(pooled)] = pooled.T
        outputs = self._layers(self._map)[0, :, 0, : len(pooled)]
        logits, deltas = outputs[: self._classes].T, outputs[self._classes :].T
        return np.ascontiguousarray(logits), np.ascontiguousarray(deltas)


def _pointwise(linear: nn.Linear) -> nn.Conv2d:
    """The convolution that does at every pixel what ``linear`` does to a row."""
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.weight.data = linear.weight.data[:, :, None, None]
    conv.bias.data = linear.bias.data
    return conv
