"""Convolutions, fully connected layers, and the batch norm that follows one."""

from __future__ import annotations

import numpy as np

from nn.inference.convolution import Convolution
from nn.inference.fold import scale_and_shift
from nn.inference.trace import Call, Value
from nn.ops.convolution import Conv2d
from nn.ops.linear import Linear
from nn.ops.normalization import BatchNorm
from nn.ops.shape import Reshape


def convolution(network, call: Call) -> bool:
    input, *constants = call.inputs
    if any(isinstance(part, Value) for part in constants):
        return False
    weight = constants[0].copy()
    bias = constants[1].copy() if len(constants) > 1 else np.zeros(len(weight), weight.dtype)
    conv = Convolution(input, call.output, weight, bias, **call.options)
    network.add(conv)
    network.summands[call.output] = (conv,)
    return True


MOST_ROWS = 64  # more rows of a fully connected layer are a matrix product of their own


def linear(network, call: Call) -> bool:
    """A window as large as the map: that before a flattening, else of one pixel."""
    input, weight, *bias = call.inputs
    if len(input.shape) != 2 or input.shape[0] > MOST_ROWS or isinstance(weight, Value):
        return False
    size = (1, 1)
    flattening = network.step_for(input)
    if isinstance(flattening, Call) and flattening.operation is Reshape:
        source = flattening.inputs[0]
        if network.are_maps(flattening) and len(source.shape) == 4:
            input, size = source, source.shape[2:]
            if network.users[flattening.output] == [call]:
                network.steps.remove(flattening)
    window = weight.reshape(*weight.shape[:1], -1, *size)
    return convolution(network, Call(Conv2d, (input, window, *bias), {}, call.output))


def batch_norm(network, call: Call) -> bool:
    input, weight, bias = call.inputs
    if call.options["training"] or any(isinstance(part, Value) for part in (weight, bias)):
        return False
    mean, variance = call.options["running_mean"], call.options["running_var"]
    network.scale(call, input, *scale_and_shift(weight, bias, mean, variance, call.options["eps"]))
    return True


LOWERINGS = {Conv2d: convolution, Linear: linear, BatchNorm: batch_norm}
