"""The step that nearly everything becomes: a convolution and what follows it.

A fully connected layer is a convolution whose window covers the whole map; a batch norm, a ReLU or
a sum that follows no convolution is one that sees a number only, with the weight 1. So every rule
about what can be made part of what is told once, here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nn.inference import rows
from nn.inference.columns import add_columns
from nn.inference.trace import Call, Value
from nn.ops.geometry import Geometry


@dataclass(eq=False)
class Convolution:
    """``output`` = clamp(function(clamp(weight * input + bias, low, high) join ``second``)).

    ``weight`` (OC, C / groups, KH, KW) may be the module's own: it is never written to. ``bias``
    is (OC,).

    Attributes:
        low, high: of the first clamp.
        second, join: another map, to "add" or to "multiply"; or one pixel a plane to "scale" it.
        function, slope: one of ``nn.kernels.program.finish.FUNCTIONS``, and the number it takes.
        last_low, last_high: of the last clamp.
        pool: the max pooling of all this that ``output`` stands for.
    """

    input: Value
    output: Value
    weight: np.ndarray
    bias: np.ndarray
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    low: float = -math.inf
    high: float = math.inf
    second: Value | None = None
    join: str = "alone"
    function: str = "scale and shift"
    slope: float = 1.0
    last_low: float = -math.inf
    last_high: float = math.inf
    pool: Call | None = None

    @classmethod
    def identity(cls, input: Value, output: Value) -> Convolution:
        """What changes nothing, for others to add to."""
        channels = input.shape[1]
        ones = np.ones((channels, 1, 1, 1), input.dtype)
        return cls(input, output, ones, np.zeros(channels, input.dtype), groups=channels)

    @property
    def inputs(self) -> tuple[Value, ...]:
        return (self.input,) if self.second is None else (self.input, self.second)

    @property
    def geometry(self) -> Geometry:
        spacing = self.stride, self.padding, self.dilation
        return Geometry(self.weight.shape, *spacing, groups=self.groups)

    @property
    def is_clamped(self) -> bool:
        return (self.low, self.high) != (-math.inf, math.inf)

    @property
    def goes_on(self) -> bool:
        """Whether anything follows the first clamp."""
        return self.join != "alone" or self.function != "scale and shift"

    # What can become part of it

    def scale(self, scale: np.ndarray, shift: np.ndarray | float) -> None:
        """``scale`` x + ``shift`` (C,) of its result x."""
        self.weight = (self.weight * scale[:, None, None, None]).astype(self.weight.dtype)
        self.bias = (self.bias * scale + shift).astype(self.bias.dtype)

    def clamp(self, low: float, high: float) -> None:
        """min(max(., low), high)"""
        if self.goes_on:
            self.last_low, self.last_high = np.clip((self.last_low, self.last_high), low, high)
        else:
            self.low, self.high = np.clip((self.low, self.high), low, high)

    def can_join(self) -> bool:
        return not self.goes_on and self.pool is None

    def can_apply(self) -> bool:
        """Whether a function of its result can be the last thing it does."""
        is_open = (self.last_low, self.last_high) == (-math.inf, math.inf)
        return self.function == "scale and shift" and is_open and self.pool is None

    # Its rows of the table

    def add_to(self, plan) -> None:
        geometry, source = self.geometry, plan.planes_of(self.input)
        second = None if self.second is None else plan.planes_of(self.second)
        size = source[0].shelf.height, source[0].shelf.width
        target = plan.new_planes(self.output)
        out_size = target[0].shelf.height, target[0].shelf.width
        if geometry.is_winograd(out_size):
            tiles = plan.arena.new_planes(
                rows.tiles_size(out_size), rows.PLACES * len(source), "tiles"
            )
            rows.fill_winograd_input(plan.rows, plan.new_row(source, tiles), self)
            plan.arena.moment += 1
            rows.fill_winograd(plan.rows, plan.new_row(tiles, target, second), self)
            return
        if geometry.reads_by_columns and self.pool is None and not geometry.is_linear(size):
            add_columns(plan, self, source, target, second)
            return
        row = plan.new_row(source, target, second)
        if geometry.is_scale and self.pool is None:
            rows.fill_scale(plan.rows, row, self)
        elif geometry.is_linear(size):
            rows.fill_linear(plan.rows, row, self)
        elif geometry.reads_by_phase:
            rows.fill_strided(plan.rows, row, self)
        elif geometry.is_depthwise:
            rows.fill_depthwise(plan.rows, row, self)
        else:
            rows.fill_product(plan.rows, row, self)
