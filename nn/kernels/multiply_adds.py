"""The speed limit of all products: multiply-adds of what lies in registers, and nothing else.

    sums += a b, again and again

As many sums as a block of ``machine.register_blocks`` holds: each takes part in one multiply-add a
turn and waits for it until the next. Nothing is loaded or stored meanwhile.
"""

from __future__ import annotations

from numba import prange

from nn.kernels.machine.emitted import Variable, emitted
from nn.kernels.machine.jit import kernel
from nn.kernels.machine.simd import LANES, ROWS, VECTORS, Vectors, loop

SUMS = ROWS * VECTORS


@emitted
def add_products(builder, sums, at, a, b, turns):
    """sums[at : at + SUMS * LANES] += a b, ``turns`` times."""
    vector = Vectors(builder, sums.element)
    sums, a, b = sums.at(at), vector.load(a), vector.load(b)
    held = [Variable(builder, vector.zero) for _ in range(SUMS)]
    for i, total in enumerate(held):
        total.set(vector.load(sums.at(i * LANES)))
    with loop(turns):
        for total in held:
            total.set(vector.multiply_add(a, b, total.get()))
    for i, total in enumerate(held):
        vector.store(total.get(), sums.at(i * LANES))


def multiply_adds_reference(a, b, turns, sums):
    for _ in range(turns):
        sums += a * b


@kernel(twin=multiply_adds_reference)
def multiply_adds(a, b, turns, sums):
    """Add a b to each row of ``sums`` (parts, SUMS, LANES) ``turns`` times.

    ``a`` and ``b`` (LANES,). The parts are independent: one for each thread.
    """
    flat = sums.reshape(-1)
    for part in prange(sums.shape[0]):
        add_products(flat, part * SUMS * LANES, a, b, turns)
