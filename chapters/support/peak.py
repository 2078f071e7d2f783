"""The most that one core can compute: multiply-adds whose numbers never leave the registers."""

from __future__ import annotations

import time

import numpy as np
from numba import njit

from nn.kernels.machine.emitted import Variable, emitted
from nn.kernels.machine.simd import LANES, ROWS, VECTORS, Vectors, loop

COUNT = 20_000  # turns of the loop: a fraction of a millisecond, short enough not to be interrupted


@emitted
def _in_registers(builder, numbers, factor, addend, count):
    """``count`` times x = factor * x + addend, of as many vectors as a block of sums has."""
    vector = Vectors(builder, numbers.element)
    factor, addend = vector.splat(factor), vector.splat(addend)
    places = [numbers.at(i * LANES) for i in range(ROWS * VECTORS)]
    kept = [Variable(builder, vector.load(place)) for place in places]
    with loop(count):
        for x in kept:
            x.set(vector.multiply_add(factor, x.get(), addend))
    for place, x in zip(places, kept, strict=True):
        vector.store(x.get(), place)


@njit
def _run(numbers, factor, addend, count):
    _in_registers(numbers, factor, addend, count)


def multiply_adds_per_second(runs: int = 200) -> float:
    """Of one core, in float32: the fastest of so many runs, a tenth of a second in all."""
    numbers = np.linspace(0, 1, LANES * ROWS * VECTORS, dtype=np.float32)
    half, one = np.float32(0.5), np.float32(1)
    _run(numbers, half, one, COUNT)
    fastest = np.inf
    for _ in range(runs):
        begin = time.perf_counter()
        _run(numbers, half, one, COUNT)
        fastest = min(fastest, time.perf_counter() - begin)
    return COUNT * len(numbers) / fastest
