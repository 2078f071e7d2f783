"""What a module computes, written down as a list of operations without computing it.

The first step of ``nn.inference.compile``. The module is run once in evaluation mode, but every
operation that says how large its output is (``output_shape``) only leaves its name and a shape; an
array of zeros that takes no memory stands for the values. So a trace takes milliseconds at any
image size. What a module decides by looking at shapes is thereby decided; it must not look at
values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nn.module import Module, evaluating
from nn.ops import (
    activation,
    channel_shuffle,
    normalization,
    shape,
)
from nn.ops.operation import Operation
from nn.tensor import Tensor, no_grad, recording


@dataclass(eq=False)
class Value:
    """An array that the program will compute, or its input."""

    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(eq=False)
class Call:
    """``output`` = ``operation`` of ``inputs`` (values and constant arrays) with ``options``."""

    operation: type[Operation]
    inputs: tuple[Value | np.ndarray, ...]
    options: dict
    output: Value

    def add_to(self, plan) -> None:
        plan.add_stage(self)

    def with_copies(self) -> Call:
        """The same with arrays of its own, which training the module further does not reach."""

        def copied(part):
            return part.copy() if isinstance(part, np.ndarray) else part

        options = {name: copied(option) for name, option in self.options.items()}
        return replace(self, inputs=tuple(map(copied, self.inputs)), options=options)


@dataclass
class Trace:
    """The calls in order, from ``input`` to ``outputs``.

    ``structure`` rebuilds what the module returned (a tensor, a dict, a tuple, a named tuple) from
    the list of the arrays of ``outputs``.
    """

    input: Value
    calls: list[Call] = field(default_factory=list)
    outputs: list[Value | np.ndarray] = field(default_factory=list)
    structure: Callable = lambda arrays: arrays[0]


def trace(module: Module, input_shape: Sequence[int]) -> Trace:
    """Run ``module`` on an input of ``input_shape`` without values.

    The module is left as it was. Its parameters appear in the calls as they are, not as copies.

    Raises:
        ValueError: the module does not take an input of this shape, or returns no tensor.
    """
    dtype = next((parameter.dtype for parameter in module.parameters()), np.dtype(np.float32))
    value = Value(tuple(int(size) for size in input_shape), dtype)
    result = Trace(value)
    known = {}

    def stand_in(value: Value) -> Tensor:
        tensor = Tensor(np.broadcast_to(np.zeros((), value.dtype), value.shape))
        known[id(tensor)] = (tensor, value)
        return tensor

    def record(operation: type[Operation], tensors: tuple[Tensor, ...], options: dict) -> Tensor:
        # What training does in one pass over memory is written down as the two steps it is.
        if operation is channel_shuffle.Interleave:
            joined = record(shape.Cat, tensors, {"dim": 1})
            return record(channel_shuffle.ChannelShuffle, (joined,), {"groups": 2})
        if operation is normalization.BatchNorm and options["relu"]:
            normal = record(operation, tensors, {**options, "relu": False})
            return record(activation.ReLU, (normal,), {})
        inputs = tuple(
            known[id(tensor)][1] if id(tensor) in known else tensor.data for tensor in tensors
        )
        arrays = [tensor.data for tensor in tensors]
        if not any(isinstance(value, Value) for value in inputs):  # weights alone: known already
            return Tensor(run(operation, arrays, options))
        output = output_of(operation, arrays, options)
        value = Value(output.shape, output.dtype)
        result.calls.append(Call(operation, inputs, options, value))
        return stand_in(value)

    with evaluating(module), no_grad(), recording(record):
        returned = module(stand_in(value))

    def output(tensor: Tensor) -> int:
        result.outputs.append(known[id(tensor)][1] if id(tensor) in known else tensor.data)
        return len(result.outputs) - 1

    result.structure = _structure(returned, output)
    if not any(isinstance(value, Value) for value in result.outputs):
        raise ValueError(f"compile: {type(module).__name__} returns nothing that it computed")
    return result


def output_of(operation: type[Operation], arrays: list[np.ndarray], options: dict) -> np.ndarray:
    """An array of the shape and dtype of the operation's output."""
    if operation.output_shape is not None:
        shape = operation.output_shape(*(array.shape for array in arrays), **options)
        return np.broadcast_to(np.zeros((), np.result_type(*arrays)), shape)
    return np.asarray(run(operation, [np.ascontiguousarray(array) for array in arrays], options))


def run(operation: type[Operation], arrays: list[np.ndarray], options: dict) -> np.ndarray:
    """An operation's output, nothing kept for a backward pass."""
    instance = operation()
    instance.needs_grad = (False,) * len(arrays)
    return instance.forward(*arrays, **options)


def _structure(returned, output: Callable) -> Callable:
    """A function from the list of output arrays to what the module returned, arrays in it."""
    if isinstance(returned, Tensor):
        number = output(returned)
        return lambda arrays: arrays[number]
    if isinstance(returned, dict):
        parts = {name: _structure(part, output) for name, part in returned.items()}
        return lambda arrays: {name: part(arrays) for name, part in parts.items()}
    if isinstance(returned, tuple | list):
        parts = [_structure(part, output) for part in returned]
        make = getattr(type(returned), "_make", type(returned))
        return lambda arrays: make(part(arrays) for part in parts)
    return lambda arrays: returned
