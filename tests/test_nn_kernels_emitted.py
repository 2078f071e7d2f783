"""Emitted functions: what their operators compute, against Python's own."""

from __future__ import annotations

import operator

import numba
import numpy as np
import pytest
from numba import njit

from nn.kernels.machine import simd
from nn.kernels.machine.emitted import Index, Variable, emitted
from nn.kernels.machine.simd import LANES, Vectors, loop, widths

pytestmark = pytest.mark.skipif(
    numba.config.DISABLE_JIT, reason="nothing is emitted without a compiler"
)
PAIRS = [(7, 3), (3, 7), (-8, 2), (5, 5), (0, 4)]


@pytest.mark.parametrize("name", ["add", "sub", "mul", "floordiv"])
def test_arithmetic(name):
    operate = getattr(operator, name)

    @emitted
    def both(builder, a, b, out):
        out[0] = operate(a, b).value
        return operate(a, 3)

    @njit
    def call(a, b, out):
        return both(a, b, out)

    for a, b in PAIRS:
        out = np.zeros(1, np.int64)
        assert call(a, b, out) == int(operate(a, 3) if name != "floordiv" else a / 3)
        assert out[0] == operate(a, b)


@pytest.mark.parametrize("name", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons(name):
    compare = getattr(operator, name)

    @emitted
    def chosen(builder, a, b):
        return a.where(compare(a, b), b * 10)

    @njit
    def call(a, b):
        return chosen(a, b)

    for a, b in PAIRS:
        assert call(a, b) == (a if compare(a, b) else b * 10)


def test_a_function_that_returns_nothing_returns_0_and_true_is_1():
    @emitted
    def write(builder, out, at, flag):
        out[at] = (-flag).value

    @njit
    def call(out):
        return write(out, 1, True)

    out = np.zeros(3, np.int64)
    assert call(out) == 0
    np.testing.assert_array_equal(out, [0, -1, 0])


@pytest.mark.parametrize("count", [0, 1, 5, 6])
def test_loops_and_variables(count):
    @emitted
    def total_by_twos(builder, numbers, count):
        total = Variable(builder, numbers[0].value)
        with loop(count, 2) as i:
            total.set((Index(builder, total.get()) + numbers[i]).value)
        return Index(builder, total.get())

    @njit
    def call(numbers, count):
        return total_by_twos(numbers, count)

    numbers = np.array([3, 1, 4, 1, 5, 9])
    assert call(numbers, count) == 3 + numbers[:count:2].sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_float_arrives_in_the_type_of_the_first_array(dtype):
    @emitted
    def shift(builder, numbers, at, amount):
        numbers[at] = builder.fadd(numbers[at], amount)

    @njit
    def call(numbers, amount):
        shift(numbers, 1, amount)

    numbers = np.array([1, 2, 3], dtype)
    call(numbers, 0.1)
    np.testing.assert_array_equal(
        numbers, np.array([1, 2, 3], dtype) + np.array([0, 0.1, 0], dtype)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_up_to_an_edge(dtype):
    @emitted
    def limit(builder, source, target, count, low, high):
        vector = Vectors(builder, source.element)
        low, high = vector.splat(low), vector.splat(high)
        for width, rest in widths(count, 3):
            for n in range(width):
                left = rest if n == width - 1 else None
                mask = None if left is None else vector.lanes_below(left)
                value = vector.load(source.at(n * LANES), mask)
                vector.store(vector.clamp(value, low, high), target.at(n * LANES), left)

    @njit
    def call(source, target, count, low, high):
        limit(source, target, count, low, high)

    source = np.random.default_rng(0).standard_normal(3 * LANES).astype(dtype)
    source[:3] = np.nan, -np.inf, np.inf
    for count in (0, 1, LANES - 1, LANES, LANES + 1, 3 * LANES):
        for low, high in ((-np.inf, np.inf), (0.0, np.inf), (-0.5, 0.25)):
            target = np.full(3 * LANES + 1, 7, dtype)
            call(source, target, count, low, high)
            expected = np.clip(source, low, high)
            np.testing.assert_array_equal(target[:count], expected[:count])
            assert np.all(target[count:] == 7)


@pytest.mark.parametrize("has_masks", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_a_part_of_a_vector_is_stored_and_nothing_beside_it(dtype, has_masks, monkeypatch):
    monkeypatch.setattr(simd, "HAS_MASKS", has_masks)

    @emitted
    def store(builder, source, target, first, second):
        vector = Vectors(builder, source.element)
        values = [vector.load(source.at(at)) for at in (0, LANES)]
        vector.store_each(values, [target.at(1), target.at(2 * LANES)], [first, second])

    @njit
    def call(source, target, first, second):
        return store(source, target, first, second)

    source = np.arange(1, 2 * LANES + 1).astype(dtype)
    for first, second in [(LANES, LANES), (LANES, 3), (0, LANES), *((n, n) for n in range(-2, 20))]:
        target = np.zeros(4 * LANES, dtype)
        expected = target.copy()
        for start, at, count in [(0, 1, first), (LANES, 2 * LANES, second)]:
            count = max(0, min(count, LANES))
            expected[at : at + count] = source[start : start + count]
        call(source, target, first, second)
        np.testing.assert_array_equal(target, expected)
