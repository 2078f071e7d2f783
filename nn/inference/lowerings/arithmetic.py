"""Sums and products: of two maps, of a map and a number for each of its planes or channels."""

from __future__ import annotations

import numpy as np

from nn.inference.trace import Call, Value
from nn.ops.arithmetic import Add, Multiply


def add(network, call: Call) -> bool:
    a, b = call.inputs
    if isinstance(b, Value):
        return a.shape == b.shape and network.join(call, "add", a, b)
    shift = per_channel(b, call)
    if shift is None:
        return False
    network.scale(call, a, np.ones_like(shift), shift)
    return True


def multiply(network, call: Call) -> bool:
    a, b = call.inputs
    if not isinstance(b, Value):
        scale = per_channel(b, call)
        if scale is None:
            return False
        network.scale(call, a, scale, np.zeros_like(scale))
        return True
    if a.shape == b.shape:
        return network.join(call, "multiply", a, b)
    maps, numbers = sorted((a, b), key=lambda value: value.shape == call.output.shape)[::-1]
    if maps.shape != call.output.shape or numbers.shape != (*maps.shape[:2], 1, 1):
        return False
    conv = network.convolution_for(call, maps)
    if conv is None or not conv.can_join() or network.position(numbers) > network.position(maps):
        conv = network.new_identity(call, maps)
    network.rename(conv, call.output)
    conv.second, conv.join = numbers, "scale"
    return True


def per_channel(constant: np.ndarray, call: Call) -> np.ndarray | None:
    """(C,) of a constant that broadcasts along the channels of the call's map only, else None."""
    value = call.inputs[0]
    shape = (1,) * (len(value.shape) - constant.ndim) + constant.shape
    lies_along = len(shape) == len(value.shape) and shape[1] in (1, value.shape[1])
    if not lies_along or any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    return np.broadcast_to(constant.reshape(-1), value.shape[1:2])


LOWERINGS = {Add: add, Multiply: multiply}
