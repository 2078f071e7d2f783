"""What an operation says about the shape of its output is the shape that it puts out."""

import numpy as np
import pytest

from nn.ops import (
    activation,
    arithmetic,
    channel_shuffle,
    convolution,
    dropout,
    elementwise,
    indexing,
    interpolation,
    linear,
    normalization,
    pooling,
    reduction,
    shape,
)

MAP = (2, 4, 9, 7)
LIE = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
WINDOW = {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0), "ceil_mode": True}
STATISTICS = {"running_mean": np.zeros(4), "running_var": np.ones(4), "training": False}
ALIKE = [activation.ReLU, activation.ReLU6, activation.Sigmoid, activation.Tanh, elementwise.Exp]
ALIKE += [elementwise.Log, elementwise.Abs, arithmetic.Negate]
BROADCAST = [arithmetic.Add, arithmetic.Subtract, arithmetic.Multiply, arithmetic.Divide]
CALLS = [
    *((operation, (MAP,), {}) for operation in ALIKE),
    *((operation, (MAP, (4, 1, 7)), {}) for operation in BROADCAST),
    (arithmetic.Power, (MAP,), {"exponent": 2}),
    (activation.Softmax, (MAP,), {"dim": 1}),
    (activation.LogSoftmax, (MAP,), {"dim": 1}),
    (channel_shuffle.ChannelShuffle, (MAP,), {"groups": 2}),
    (channel_shuffle.Interleave, (MAP, MAP), {}),
    (convolution.Conv2d, (MAP, (6, 2, 3, 2), None), LIE),
    (convolution.Conv2d, (MAP, (6, 4, 3, 2), (6,)), {}),
    (dropout.Dropout, (MAP,), {"p": 0.5, "rng": np.random.default_rng(0)}),
    (indexing.Index, (MAP,), {"index": (slice(None), slice(1, 3), 4)}),
    (indexing.Index, (MAP,), {"index": np.array([1, 0, 1])}),
    (interpolation.Interpolate, (MAP,), {"size": (5, 20), "mode": "nearest"}),
    (linear.Linear, ((2, 3, 5), (6, 5), None), {}),
    (linear.MatMul, ((3, 1, 4, 5), (2, 5, 6)), {}),
    (normalization.BatchNorm, (MAP, (4,), (4,)), {**STATISTICS, "momentum": 0.1, "eps": 1e-5}),
    (normalization.GroupNorm, (MAP, (4,), (4,)), {"num_groups": 2, "eps": 1e-5}),
    (pooling.MaxPool2d, (MAP,), {**WINDOW, "dilation": (2, 1)}),
    (pooling.AvgPool2d, (MAP,), WINDOW),
    (pooling.AdaptiveAvgPool2d, (MAP,), {"output_size": (3, 4)}),
    (reduction.Sum, (MAP,), {"dim": None, "keepdim": False}),
    (reduction.Mean, (MAP,), {"dim": (2, 3), "keepdim": True}),
    (reduction.Max, (MAP,), {"dim": 1, "keepdim": False}),
    (shape.Cat, (MAP, (2, 1, 9, 7)), {"dim": -3}),
    (shape.Reshape, (MAP,), {"sizes": (2, -1)}),
    (shape.Transpose, (MAP,), {"axes": (0, 2, 3, 1)}),
]


@pytest.mark.parametrize(("operation", "shapes", "options"), CALLS)
def test_the_shape_is_the_outputs(operation, shapes, options):
    arrays = [None if each is None else np.ones(each, np.float32) for each in shapes]
    instance = operation()
    instance.needs_grad = (False,) * len(arrays)
    expected = instance.forward(*arrays, **options).shape
    assert operation.output_shape(*shapes, **options) == expected
