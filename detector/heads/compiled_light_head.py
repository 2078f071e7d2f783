"""The light head made fast: its fully connected layers compiled, over all regions at once."""

from __future__ import annotations

import numpy as np

import nn
from detector.heads.light_head import LightHead


class CompiledLightHead:
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
        if self._head.settings.class_specific_boxes:
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
