"""A pointwise convolution and the depthwise one behind it, a few channels at a time.

The map between them is the largest of an inverted residual block (MobileNet v2: 96 channels of
112 x 112, 4.8 MB). A depthwise convolution needs no other channels than its own, so the two take
turns: what one has put into the cache, the other finds there, and the whole map never exists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from nn.inference.convolution import Convolution
from nn.inference.rows import WORK, fill_depthwise, fill_product
from nn.inference.trace import Value
from nn.kernels.machine.register_blocks import ROWS

# What is read again for every few channels must be this much smaller than what is spared.
EXPANSION = 4


@dataclass(eq=False)
class Alternation:
    pointwise: Convolution
    depthwise: Convolution

    @property
    def input(self) -> Value:
        return self.pointwise.input

    @property
    def output(self) -> Value:
        return self.depthwise.output

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self.input, *self.depthwise.inputs[1:]

    def add_to(self, plan) -> None:
        source, target = plan.planes_of(self.input), plan.new_planes(self.output)
        joined = [plan.planes_of(value) for value in self.depthwise.inputs[1:]]
        _, channels, *size = self.depthwise.input.shape
        together = ROWS * max(1, WORK // (plan.images * math.prod(size)) // ROWS)
        for first in range(0, channels, together):
            part = slice(first, min(first + together, channels))
            middle = plan.arena.new_planes(tuple(size), part.stop - first)
            fill_product(plan.rows, plan.new_row(source, middle), _part(self.pointwise, part))
            plan.arena.moment += 1
            row = plan.new_row(middle, target[part], *(planes[part] for planes in joined))
            fill_depthwise(plan.rows, row, _part(self.depthwise, part))
            plan.arena.moment += 1


def _part(conv: Convolution, part: slice) -> Convolution:
    """Some of its outputs."""
    weight = conv.weight[part]
    groups = 1 if conv.groups == 1 else len(weight)
    return replace(conv, weight=weight, bias=conv.bias[part], groups=groups)


def alternate(steps: list, outputs: list) -> list:
    """``steps`` with every such pair made one, if the map between them does not fit the cache."""
    readers: dict[Value, list] = {}
    for reader, values in [(None, outputs), *((step, step.inputs) for step in steps)]:
        for value in values:
            if isinstance(value, Value):
                readers.setdefault(value, []).append(reader)
    makers = {step.output: step for step in steps if isinstance(step, Convolution)}
    result = []
    for step in steps:
        before = makers.get(step.inputs[0]) if isinstance(step, Convolution) else None
        if before is not None and readers[before.output] == [step] and _takes_turns(before, step):
            result.remove(before)
            step = Alternation(before, step)
        result.append(step)
    return result


def _takes_turns(before: Convolution, step: Convolution) -> bool:
    is_pair = before.geometry.is_pointwise and step.geometry.is_depthwise
    is_plain = before.second is None and before.pool is None and step.pool is None
    between, read = (math.prod(value.shape) for value in (before.output, before.input))
    return is_pair and is_plain and between > 2 * WORK and between >= EXPANSION * read
