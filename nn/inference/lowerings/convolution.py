"""Convolutions, fully connected layers, and the batch norm that follows one."""

from __future__ import annotations

import numpy as np

from nn.inference.convolution import Convolution
from nn.inference.fold import scale_and_shift
from nn.inference.trace import Call, Value
from nn.ops.convolution import Conv2d
from nn.ops.linear import Linear
from nn.ops.normalization import BatchNorm
from nn.ops.shape import Pad, Reshape


def convolution(network, call: Call) -> bool:
    input, *constants = call.inputs
    if any(isinstance(part, Value) for part in constants):
        return False
    weight, options = constants[0], call.options
    bias = constants[1].copy() if len(constants) > 1 else np.zeros(len(weight), weight.dtype)
    if is_border(network, call, before := network.step_for(input)):
        found = without_border(before, call)
        if found is not None:
            window, padding = found
            input, options = before.inputs[0], {**options, "padding": padding}
            weight = np.pad(weight, ((0, 0), (0, 0), *window))
            network.steps.remove(before)
    conv = Convolution(input, call.output, weight, bias, **options)
    network.add(conv)
    network.summands[call.output] = (conv,)
    return True


def is_border(network, call: Call, before) -> bool:
    """Whether ``before`` puts zeros around maps, or takes something off, for ``call`` alone."""
    return (
        isinstance(before, Call)
        and before.operation is Pad
        and network.are_maps(before)
        and network.users[before.output] == [call]
        and before.options["value"] == 0
        and before.options["widths"][:2] == ((0, 0), (0, 0))
    )


def without_border(
    border: Call, call: Call
) -> tuple[list[tuple[int, int]], tuple[int, int]] | None:
    """How ``call`` is done on the map without the border: its window grows by taps that are 0.

    So a border on one side becomes padding on both. (A NaN then reaches a pixel further: 0 times
    NaN is NaN.) Returns how many taps come before and behind in each direction, and the padding;
    None if there is no such window.
    """
    found = []
    options, kernel_size = call.options, call.inputs[1].shape[2:]
    for axis in (0, 1):
        size, out = border.inputs[0].shape[axis + 2], call.output.shape[axis + 2]
        stride, dilation = options["stride"][axis], options["dilation"][axis]
        first = options["padding"][axis] + border.options["widths"][axis + 2][0]
        fitting = [
            ((padding - first, behind), padding)
            for padding in range(max(0, first), max(0, first) + 3)
            for behind in range(3)
            if (size + 2 * padding - kernel_size[axis] - (padding - first) - behind) // stride + 1
            == out
        ]
        if dilation != 1 or not fitting:
            return None
        found.append(min(fitting, key=lambda fit: sum(fit[0])))
    (rows, above), (columns, left) = found
    return [rows, columns], (above, left)


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
