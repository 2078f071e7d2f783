"""What only reorders planes and so becomes nothing at all: no channel is ever copied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nn.inference.trace import Call, Value
from nn.ops.channel_shuffle import ChannelShuffle
from nn.ops.indexing import Index
from nn.ops.shape import Cat, Reshape


@dataclass(eq=False)
class Reordering:
    """``output`` consists of planes of ``inputs``: ``order`` picks from the lists of theirs."""

    inputs: tuple[Value, ...]
    output: Value
    order: Callable

    def add_to(self, plan) -> None:
        plan.planes[self.output] = self.order(*(plan.planes_of(value) for value in self.inputs))


def index(network, call: Call) -> bool:
    """A slice of channels, or those with the numbers of an array."""
    parts = call.options["index"]
    if not isinstance(parts, tuple) or len(parts) != 2 or 0 in call.output.shape:
        return False
    images, channels = parts
    if not isinstance(images, slice) or images != slice(None):
        return False
    if isinstance(channels, np.ndarray) and channels.ndim == 1 and channels.dtype.kind == "i":
        numbers = channels.tolist()
    elif isinstance(channels, slice):
        numbers = list(range(*channels.indices(call.inputs[0].shape[1])))
    else:
        return False
    network.add(Reordering(call.inputs, call.output, lambda planes: [planes[i] for i in numbers]))
    return True


def cat(network, call: Call) -> bool:
    """One list after the other."""
    dims = 1, 1 - len(call.output.shape)
    if call.options["dim"] not in dims or not all(isinstance(v, Value) for v in call.inputs):
        return False

    def join(*lists):
        return [plane for planes in lists for plane in planes]

    network.add(Reordering(call.inputs, call.output, join))
    return True


def shuffle(network, call: Call) -> bool:
    each = call.output.shape[1] // call.options["groups"]

    def turn(planes):
        return [plane for j in range(each) for plane in planes[j::each]]

    network.add(Reordering(call.inputs, call.output, turn))
    return True


def reshape(network, call: Call) -> bool:
    """(N, C, 1, 1) to (N, C) and back: both are planes of one pixel."""
    before, after = ((*value.shape, 1, 1)[:4] for value in (call.inputs[0], call.output))
    if before != after:
        return False
    network.add(Reordering(call.inputs, call.output, list))
    return True


LOWERINGS = {Index: index, Cat: cat, ChannelShuffle: shuffle, Reshape: reshape}
