"""Fewer and larger steps for the same function: what follows a convolution becomes part of it.

The second step of ``nn.inference.compile``. In evaluation, batch norm is a factor and a shift for
each channel; both go into the weights and the bias of the convolution before it (``fold.py`` has
the formula). A sum, a product or an activation becomes the last thing that a step does before it
stores its result. How, each operation's lowering says (``lowerings``); here is what they ask.
"""

from __future__ import annotations

import numpy as np

from nn.inference.alternation import alternate
from nn.inference.convolution import Convolution
from nn.inference.lowerings import LOWERINGS
from nn.inference.lowerings.channels import Reordering
from nn.inference.plan import is_map
from nn.inference.trace import Call, Trace, Value


class Network:
    """The calls of a trace, lowered one by one, in order.

    Attributes:
        steps: all so far; a ``Call`` is one without a lowering. Each has ``inputs``, ``output``
            and ``add_to``.
    """

    def __init__(self, trace: Trace):
        self.trace = trace
        self.steps: list = []
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
        for call in trace.calls:
            lower = LOWERINGS.get(call.operation)
            if lower is None or not self.are_maps(call) or not lower(self, call):
                self.steps.append(call)
        self.steps = alternate(self.steps, trace.outputs)

    def are_maps(self, call: Call) -> bool:
        """Whether all values of a call are maps of this batch and of one type."""
        values = [value for value in call.inputs if isinstance(value, Value)]
        first, images = call.inputs[0], self.trace.input.shape[0]
        return isinstance(first, Value) and all(
            is_map(value, images) and value.dtype == self.trace.input.dtype
            for value in (*values, call.output)
        )

    # The steps so far

    def add(self, step) -> None:
        self.steps.append(step)

    def position(self, value: Value) -> int:
        """The number of the step that computes ``value``; -1 for the input."""
        return next((i for i, step in enumerate(self.steps) if step.output is value), -1)

    def step_for(self, value: Value):
        """The step that computes ``value``; None for the input."""
        return next((step for step in self.steps if step.output is value), None)

    def convolution_for(self, call: Call, value: Value) -> Convolution | None:
        """The one that computes ``value``, if nobody but ``call`` looks at it."""
        step = self.step_for(value)
        found = isinstance(step, Convolution) and step.pool is None and self.users[value] == [call]
        return step if found else None

    def rename(self, conv: Convolution, output: Value) -> None:
        """``conv`` gives ``output`` from now on: it has become more than a sum."""
        self.summands.pop(conv.output, None)
        conv.output = output

    # What lowerings do

    def new_identity(self, call: Call, value: Value) -> Convolution:
        """A step that gives ``value`` as the output of ``call``, for others to add to."""
        conv = Convolution.identity(value, call.output)
        self.add(conv)
        return conv

    def scale(self, call: Call, value: Value, scale: np.ndarray, shift: np.ndarray) -> Convolution:
        """scale x + shift (C,) of ``value`` as the output of ``call``."""
        convs = self.summands.get(value, ()) if self.users[value] == [call] else ()
        if not convs:
            convs = (self.new_identity(call, value),)
        for conv in convs:
            conv.scale(scale, shift if conv is convs[0] else 0)
        self.rename(convs[-1], call.output)
        self.summands[call.output] = convs
        return convs[-1]

    def last_for(self, call: Call, value: Value) -> Convolution:
        """The convolution that gives ``value`` to ``call`` alone, with the call's output now."""
        conv = self.convolution_for(call, value)
        if conv is None:
            return self.new_identity(call, value)
        self.rename(conv, call.output)
        return conv

    def parts_for(self, call: Call, value: Value) -> list[Convolution]:
        """The convolutions whose planes, put together, are ``value``, with the call's output now;
        none if anybody else looks at one, or not all are convolutions."""
        step = self.step_for(value)
        if not isinstance(step, Reordering) or self.users[value] != [call]:
            return []
        parts = [self.step_for(part) for part in step.inputs if len(self.users[part]) == 1]
        if len(parts) < len(step.inputs) or not all(
            isinstance(part, Convolution) and part.pool is None for part in parts
        ):
            return []
        step.output = call.output
        return parts

    def apply(self, call: Call, value: Value, function: str, slope: float = 1.0) -> None:
        """A function of ``value`` as the output of ``call``."""
        conv = self.convolution_for(call, value)
        if conv is None or not conv.can_apply():
            conv = self.new_identity(call, value)
        self.rename(conv, call.output)
        conv.function, conv.slope = function, slope

    def join(self, call: Call, how: str, a: Value, b: Value) -> bool:
        """``a`` and ``b`` added or multiplied as the output of ``call``.

        The later of them does it, since it finds the other ready; or, if it cannot, the earlier
        one, which then waits for the later.
        """
        first, second = sorted((a, b), key=self.position)
        for own, other in ((second, first), (first, second)):
            conv = self.convolution_for(call, own)
            if conv is not None and conv.can_join() and own is not other:
                break
        else:
            conv, other = self.new_identity(call, second), first
        if self.position(other) > self.position(conv.output):
            self.steps.remove(conv)
            self.steps.append(conv)
        sums = self.summands.get(other, ()), self.summands.get(conv.output, ())
        self.rename(conv, call.output)
        conv.second, conv.join = other, how
        if how == "add" and all(sums) and self.users[other] == [call]:
            self.summands[call.output] = (*sums[0], *sums[1])
        return True
