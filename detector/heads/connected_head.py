"""Heads of fully connected layers: some hidden ones on each region, then classes and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import nn
from detector.heads.region_head import Features, RegionHead, RegionHeadSettings
from detector.parts.layers import Init, init_hidden, init_output
from detector.settings import Channels
from nn import functional as F

# The official code's; box deltas start closer to 0 than class scores.
BOX_OUTPUT_STD = 0.001


@dataclass(frozen=True)
class ConnectedHeadSettings(RegionHeadSettings):
    """
    Attributes:
        hidden_channels: of each hidden layer.
        init: of the hidden layers, see ``detector.parts.layers``.
    """

    hidden_channels: Channels = 1024
    init: Init = "gaussian"


class ConnectedHead(RegionHead):
    """
    Args:
        num_classes: without background.
        in_features: of a pooled region, C x p x p.
        hidden: names of the hidden layers.
        settings: its numbers.
    """

    settings: ConnectedHeadSettings

    def __init__(
        self,
        num_classes: int,
        in_features: int,
        hidden: Sequence[str],
        settings: ConnectedHeadSettings,
    ):
        super().__init__()
        self.settings, self._hidden, channels = settings, tuple(hidden), settings.hidden_channels
        for name in hidden:
            setattr(self, name, init_hidden(nn.Linear(in_features, channels), settings.init))
            in_features = channels
        boxes = 1 + num_classes if settings.class_specific_boxes else 1
        self.classes = init_output(nn.Linear(channels, 1 + num_classes))
        self.boxes = init_output(nn.Linear(channels, 4 * boxes), BOX_OUTPUT_STD)

    @property
    def hidden_layers(self) -> list[nn.Linear]:
        return [getattr(self, name) for name in self._hidden]

    def forward(self, features: Features, rois: np.ndarray) -> tuple[nn.Tensor, nn.Tensor]:
        pooled = self.pool(features, rois)
        # Sizes in full instead of -1, which says nothing where there are no RoIs.
        hidden = pooled.reshape(len(rois), self.hidden_layers[0].in_features)
        for layer in self.hidden_layers:
            hidden = F.relu(layer(hidden))
        logits, deltas = self.classes(hidden), self.boxes(hidden)
        if self.settings.class_specific_boxes:
            deltas = deltas.reshape(len(rois), logits.shape[1], 4)
        return logits, deltas


class CompiledHead:
    """Such a head made fast: its fully connected layers compiled, over all regions at once.

    The regions are the pixels of a map with one row; on it, fully connected layers are pointwise
    convolutions. The map is made for the most regions there can be.
    """

    def __init__(self, head: ConnectedHead, most: int):
        self._head, self._classes = head, head.classes.out_features
        outputs = nn.Linear(head.classes.in_features, self._classes + head.boxes.out_features)
        outputs.weight.data = np.concatenate([head.classes.weight.data, head.boxes.weight.data])
        outputs.bias.data = np.concatenate([head.classes.bias.data, head.boxes.bias.data])
        hidden = [part for layer in head.hidden_layers for part in (_pointwise(layer), nn.ReLU())]
        layers = nn.Sequential(*hidden, _pointwise(outputs))
        first = head.hidden_layers[0]
        self._map = np.zeros((1, first.in_features, 1, most), first.weight.dtype)
        self._layers = nn.inference.compile(layers, self._map.shape)

    def __call__(self, features: Features, rois: np.ndarray) -> tuple[nn.Tensor, nn.Tensor]:
        """As ``ConnectedHead.forward``."""
        pooled = self._head.pool(features, rois).data
        logits, deltas = self.connected(pooled.reshape(len(rois), self._map.shape[1]))
        if self._head.settings.class_specific_boxes:
            deltas = deltas.reshape(len(rois), self._classes, 4)
        return nn.Tensor(logits), nn.Tensor(deltas)

    def connected(self, pooled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The fully connected layers: features (K, C p p) -> logits and deltas, a row a region."""
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
