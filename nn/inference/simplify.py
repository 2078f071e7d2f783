"""Fewer and larger steps for the same function: what follows a convolution becomes part of it.

The second step of ``nn.inference.compile``. In evaluation, batch norm is a factor and a shift for
each channel; both go into the weights and the bias of the convolution before it (``fold.py`` has
the formula). A sum of two convolutions becomes one that adds to what the other has left, and a
ReLU the last thing a convolution does before it stores its result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nn.inference.fold import scale_and_shift
from nn.inference.trace import Call, Trace, Value
from nn.ops.activation import ReLU
from nn.ops.arithmetic import Add
from nn.ops.convolution import Conv2d
from nn.ops.normalization import BatchNorm
from nn.ops.pooling import MaxPool2d

# What Winograd's way of convolving must have at least to be worth its additions.
WINOGRAD_CHANNELS = 64
WINOGRAD_PIXELS = 14 * 14


@dataclass(eq=False)
class Convolution:
    """``output`` = relu(weight * input + bias + ``onto``), the last two parts only if wanted.

    ``weight`` (OC, C / groups, KH, KW) and ``bias`` (OC,) belong to this object. ``onto`` is a
    value that nobody needs afterwards: the result takes its place. ``pool``, if there is one, is
    the max pooling of its result that ``output`` stands for.
    """

    input: Value
    output: Value
    weight: np.ndarray
    bias: np.ndarray
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    relu: bool = False
    onto: Value | None = None
    pool: Call | None = None

    @property
    def inputs(self) -> tuple[Value, ...]:
        return (self.input,) if self.onto is None else (self.input, self.onto)

    @property
    def is_depthwise(self) -> bool:
        return self.groups == self.input.shape[1] == len(self.weight)

    @property
    def is_pointwise(self) -> bool:
        return (
            self.groups == 1
            and self.weight.shape[2:] == (1, 1)
            and (self.stride, self.padding) == ((1, 1), (0, 0))
        )

    @property
    def is_sorted(self) -> bool:
        """Whether the input is sorted by phase first: for a stride, if some tap sees each phase."""
        sizes = zip(self.weight.shape[2:], self.stride, strict=True)
        return self.stride != (1, 1) and self.groups == 1 and all(k >= s for k, s in sizes)

    @property
    def is_winograd(self) -> bool:
        """Whether ``nn.kernels.winograd`` does it: 3 x 3, many channels, many pixels."""
        return (
            self.groups == 1
            and self.weight.shape[2:] == (3, 3)
            and (self.stride, self.dilation) == ((1, 1), (1, 1))
            and self.onto is None
            and min(self.weight.shape[:2]) >= WINOGRAD_CHANNELS
            and math.prod(self.output.shape[2:]) >= WINOGRAD_PIXELS
        )

    @property
    def keeps_size(self) -> bool:
        """Stride 1, and as many pixels out as in, each below its own."""
        reach = zip(self.weight.shape[2:], self.padding, self.dilation, strict=True)
        return self.stride == (1, 1) and all((k - 1) * d == 2 * p for k, p, d in reach)


def simplify(trace: Trace) -> list[Convolution | Call]:
    """The calls of ``trace`` with batch norms, sums and ReLUs made part of convolutions."""
    return _Simplifier(trace).steps


class _Simplifier:
    """Goes through the calls once, in order, and keeps or absorbs each."""

    def __init__(self, trace: Trace):
        self.steps: list[Convolution | Call] = []
        # Value -> the convolutions whose plain sum it is: where a factor for it can still go.
        self.summands: dict[Value, tuple[Convolution, ...]] = {}
        self.users: dict[Value, list[Call | None]] = {}
        for call in trace.calls:
            for value in call.inputs:
                if isinstance(value, Value):
                    self.users.setdefault(value, []).append(call)
        for value in trace.outputs:
            if isinstance(value, Value):
                self.users.setdefault(value, []).append(None)
        absorb = {Conv2d: self.convolution, BatchNorm: self.batch_norm, Add: self.add}
        absorb |= {ReLU: self.relu, MaxPool2d: self.max_pool}
        for call in trace.calls:
            if call.operation not in absorb or not absorb[call.operation](call):
                self.steps.append(call)

    def convolution(self, call: Call) -> bool:
        input, *constants = call.inputs
        if not isinstance(input, Value) or any(isinstance(part, Value) for part in constants):
            return False
        weight = constants[0].copy()
        bias = constants[1].copy() if len(constants) > 1 else np.zeros(len(weight), weight.dtype)
        conv = Convolution(input, call.output, weight, bias, **call.options)
        self.steps.append(conv)
        self.summands[call.output] = (conv,)
        return True

    def batch_norm(self, call: Call) -> bool:
        input, weight, bias = call.inputs
        convs = self.only_for(call, input)
        if not convs or call.options["training"]:
            return False
        mean, variance = call.options["running_mean"], call.options["running_var"]
        scale, shift = scale_and_shift(weight, bias, mean, variance, call.options["eps"])
        for conv in convs:
            conv.weight = (conv.weight * scale[:, None, None, None]).astype(conv.weight.dtype)
            conv.bias = (conv.bias * scale).astype(conv.bias.dtype)
        convs[0].bias = (convs[0].bias + shift).astype(convs[0].bias.dtype)
        self.rename(convs[-1], call.output, convs)
        return True

    def add(self, call: Call) -> bool:
        if not all(isinstance(value, Value) for value in call.inputs):
            return False
        first, second = (self.only_for(call, value) for value in call.inputs)
        if len(first) != 1 or len(second) != 1 or first == second:
            return False
        one, other = sorted((first[0], second[0]), key=self.steps.index)
        if one.output.shape != other.output.shape or other.onto is not None:
            return False
        if other.is_depthwise:  # only a product can add to what is there
            return False
        other.onto = one.output
        one.bias, other.bias = one.bias + other.bias, np.zeros_like(other.bias)
        self.rename(other, call.output, (one, other))
        return True

    def relu(self, call: Call) -> bool:
        convs = self.only_for(call, call.inputs[0])
        if not convs:
            return False
        convs[-1].relu = True
        self.rename(convs[-1], call.output, ())
        return True

    def max_pool(self, call: Call) -> bool:
        conv = next((c for c in self.steps if c.output is call.inputs[0]), None)
        if not isinstance(conv, Convolution) or not conv.is_sorted or conv.onto is not None:
            return False
        if conv.pool is not None or self.users[conv.output] != [call]:
            return False
        conv.pool = call
        self.rename(conv, call.output, ())
        return True

    def only_for(self, call: Call, value: Value) -> tuple[Convolution, ...]:
        """The convolutions whose sum is ``value``, if nobody but ``call`` looks at it."""
        return self.summands.get(value, ()) if self.users[value] == [call] else ()

    def rename(self, conv: Convolution, output: Value, summands: tuple) -> None:
        conv.output = output
        self.summands[output] = summands
