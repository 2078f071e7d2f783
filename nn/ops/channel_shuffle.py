"""Channel shuffle, the last step of every ShuffleNet block, alone and with what comes before it."""

from __future__ import annotations

import math

import numpy as np

from nn.kernels import channel_shuffle
from nn.ops.layout import assign, contiguous
from nn.ops.operation import Operation, same_shape


class ChannelShuffle(Operation):
    """Channel g (C / groups) + j of (N, C, ...) becomes channel j groups + g.

    Source: Zhang et al., ShuffleNet, 2017, figure 1. Raises ValueError if ``groups`` does not
    divide C.
    """

    output_shape = staticmethod(same_shape)

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


class Interleave(Operation):
    """The channels of two arrays (N, C, ...) by turns: the first of each, the second of each, ...

    The same as to concatenate them and to shuffle the channels in 2 groups, but every element moves
    only once, and backward not at all. Raises ValueError if the shapes differ.
    """

    @staticmethod
    def output_shape(left, right):
        return left[0], 2 * left[1], *left[2:]

    def forward(self, left, right):
        if left.shape != right.shape or left.ndim < 2:
            raise ValueError(
                f"interleave: {left.shape} and {right.shape} should be one (N, C, ...)"
            )
        images, channels, *size = left.shape
        out = np.empty((images, 2 * channels, *size), np.result_type(left, right))
        assign(out[:, 0::2], left)
        assign(out[:, 1::2], right)
        return out

    def backward(self, grad_output):
        return grad_output[:, 0::2], grad_output[:, 1::2]


def _shuffle(array: np.ndarray, groups: int) -> np.ndarray:
    planes = contiguous(array).reshape(*array.shape[:2], math.prod(array.shape[2:]))
    out = np.empty_like(planes)
    channel_shuffle.channel_shuffle(planes, groups, out)
    return out.reshape(array.shape)
