"""Channel shuffle, the last step of every ShuffleNet block."""

from __future__ import annotations

import math

import numpy as np

from nn.kernels import channel_shuffle
from nn.ops.layout import contiguous
from nn.ops.operation import Operation


class ChannelShuffle(Operation):
    """Channel g (C / groups) + j of (N, C, ...) becomes channel j groups + g.

    Source: Zhang et al., ShuffleNet, 2017, figure 1. Raises ValueError if ``groups`` does not
    divide C.
    """

    def forward(self, input, *, groups):
        if input.ndim < 2 or groups < 1 or input.shape[1] % groups:
            raise ValueError(
                f"channel_shuffle: {groups} groups do not divide the channels of {input.shape}"
            )
        self.groups = groups
        return _shuffle(input, groups)

    def backward(self, grad_output):
        # Reading a table column by column is undone by reading the turned table the same way.
        return _shuffle(grad_output, grad_output.shape[1] // self.groups)


def _shuffle(array: np.ndarray, groups: int) -> np.ndarray:
    planes = contiguous(array).reshape(*array.shape[:2], math.prod(array.shape[2:]))
    out = np.empty_like(planes)
    channel_shuffle.channel_shuffle(planes, groups, out)
    return out.reshape(array.shape)
