"""Max pooling, and the means of windows and of whole maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nn.inference import rows
from nn.inference.lowerings.channels import Reordering
from nn.inference.lowerings.convolution import convolution
from nn.inference.trace import Call, Value
from nn.kernels.program.kinds import NUMBERS
from nn.kernels.program.pooling import MEANS
from nn.ops.convolution import Conv2d
from nn.ops.geometry import Geometry
from nn.ops.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from nn.ops.reduction import Mean


@dataclass(eq=False)
class Pooling:
    """A pooling that is a step of its own; ``fill`` writes its row of the table."""

    input: Value
    output: Value

    @property
    def inputs(self) -> tuple[Value, ...]:
        return (self.input,)

    def add_to(self, plan) -> None:
        source, target = plan.planes_of(self.input), plan.new_planes(self.output)
        self.fill(plan.rows, plan.new_row(source, target))


@dataclass(eq=False)
class MaxPooling(Pooling):
    call: Call

    def fill(self, table, row) -> None:
        row.kind = NUMBERS["max pool"]
        rows.set_pool(row, self.call)
        table.share_planes(row)
        table.need_scratch(rows.line(row))


class GlobalMean(Pooling):
    def fill(self, table, row) -> None:
        row.kind, pixels = NUMBERS["mean"], row.height * row.width
        row.weight = table.constants.place(np.full(pixels, 1 / pixels))
        table.share_outputs(row, MEANS)


@dataclass(eq=False)
class AveragePooling(Pooling):
    """``windows`` as ``nn.ops.pooling`` has them: rows, columns, divisor; ``geometry``, if they all
    have one, is that of a depthwise convolution."""

    windows: tuple[np.ndarray, np.ndarray, np.ndarray]
    geometry: Geometry | None = None

    def fill(self, table, row) -> None:
        row.kind = NUMBERS["average"]
        *ends, divisor = self.windows
        row.offsets = np.concatenate(ends).reshape(-1).tolist()
        row.weight = table.constants.place(1 / divisor)
        table.share_planes(row)
        table.need_scratch(row.width)
        if self.geometry is not None and self.geometry.is_centred:
            row.centred, (row.kernel_height, row.kernel_width) = True, self.geometry.kernel_size
            row.stride_y, row.stride_x = self.geometry.stride
            zero_and_ones = np.arange(1 + math.prod(self.geometry.kernel_size)) > 0
            row.bias = table.constants.place(zero_and_ones)


def max_pool(network, call: Call) -> bool:
    """Part of a strided convolution that is done a few rows at a time, or a step of its own."""
    (value,) = call.inputs
    conv = network.convolution_for(call, value)
    if conv is not None and conv.geometry.reads_by_phase and not conv.goes_on:
        network.rename(conv, call.output)
        conv.pool = call
    else:
        network.add(MaxPooling(value, call.output, call))
    return True


def mean(network, call: Call) -> bool:
    """Of whole maps."""
    if len(call.inputs[0].shape) != 4 or call.options["dim"] not in ((2, 3), (-2, -1)):
        return False
    network.add(GlobalMean(call.inputs[0], call.output))
    return True


def average_pool(network, call: Call) -> bool:
    """With the same divisor everywhere it is a depthwise convolution."""
    (value,), options = call.inputs, call.options
    windows = AvgPool2d.windows(value.shape[2:], **options)
    kernel_size, count = options["kernel_size"], math.prod(options["kernel_size"])
    fits = (windows[2] == count).all()
    if fits and call.output.shape[2:] != (1, 1):
        weight = np.full((value.shape[1], 1, *kernel_size), 1 / count, value.dtype)
        spacing = {"stride": options["stride"], "padding": options["padding"]}
        convolution(
            network,
            Call(Conv2d, (value, weight), {**spacing, "groups": value.shape[1]}, call.output),
        )
    else:
        shape = value.shape[1], 1, *kernel_size
        spacing = options["stride"], options["padding"]
        averages(network, call, windows, Geometry(shape, *spacing, groups=value.shape[1]))
    return True


def adaptive_pool(network, call: Call) -> bool:
    (value,) = call.inputs
    averages(network, call, AdaptiveAvgPool2d.windows(value.shape[2:], **call.options))
    return True


def averages(network, call: Call, windows, geometry: Geometry | None = None) -> None:
    """Means of any windows; of one that is the whole map; or of a pixel each."""
    (value,), divisor = call.inputs, windows[-1]
    if call.output.shape == value.shape and (divisor == 1).all():
        network.add(Reordering((value,), call.output, list))
    elif call.output.shape[2:] == (1, 1) and divisor[0, 0] == math.prod(value.shape[2:]):
        network.add(GlobalMean(value, call.output))
    else:
        network.add(AveragePooling(value, call.output, windows, geometry))


LOWERINGS = {
    MaxPool2d: max_pool,
    Mean: mean,
    AvgPool2d: average_pool,
    AdaptiveAvgPool2d: adaptive_pool,
}
