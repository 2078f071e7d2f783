"""Formulas of one or two numbers for a stretch of memory, in vectors.

    out[i] = clamp(formula(a[i], b[i], p, q), low, high)

A formula is written twice: for vectors of the processor, and for NumPy. A NaN passes through all.
"""

from __future__ import annotations

import math

from llvmlite import ir

from nn.kernels.machine.emitted import emitted
from nn.kernels.machine.simd import LANES, Vectors, loop


def make_map(formula, of_two: bool = False):
    """Build ``map_elements`` for ``formula(vector, a, b, p, q)``; ``b`` is read if ``of_two``."""

    @emitted
    def map_elements(
        builder, a, a_at, b, b_at, p, q, low, high, out, out_at, count
    ):  # fmt: skip
        """``out[out_at + i]`` for i < ``count``; the arrays flat and of one type, which the numbers
        p, q, low and high take too."""
        vector = Vectors(builder, a.element)
        a, b, out = a.at(a_at), b.at(b_at), out.at(out_at)
        p, q, low, high = (vector.splat(each) for each in (p, q, low, high))

        def part(at, left_over=None):
            mask = None if left_over is None else vector.lanes_below(left_over)
            left = vector.load(a.at(at), mask)
            right = vector.load(b.at(at), mask) if of_two else None
            value = vector.clamp(formula(vector, left, right, p, q), low, high)
            vector.store(value, out.at(at), left_over)

        done = count // LANES * LANES
        with loop(done, LANES) as at:
            part(at)
        with builder.if_then(count > done):
            part(done, count - done)

    return map_elements


def constant(vector, number):
    return ir.Constant(vector.type, [ir.Constant(vector.element, float(number))] * vector.lanes)


def exp(vector, x):
    """e^x = 2^n e^r with n whole and |r| <= ln 2 / 2, where Taylor's series is short.

    Adding 1.5 * 2^M, M the bits of the mantissa, rounds to a whole number and leaves it in the
    lowest bits; moved to where the exponent is, they are the factor 2^n. Accurate to 2 units in the
    last place; results that would not fit are as for the largest or smallest x for which they do.
    """
    build = vector.builder
    bits, mantissa, terms, most = (
        (32, 23, 8, 87.0) if vector.letter == "f32" else (64, 52, 14, 708.0)
    )
    x = vector.clamp(x, constant(vector, -most), constant(vector, most))
    magic = constant(vector, 1.5 * 2**mantissa)
    shifted = vector.multiply_add(x, constant(vector, 1 / math.log(2)), magic)
    n = build.fsub(shifted, magic)
    # ln 2 in two parts: n times the first is exact.
    unit = 2 ** (mantissa // 2 + 1)
    high = round(math.log(2) * unit) / unit
    r = vector.multiply_add(n, constant(vector, -high), x)
    r = vector.multiply_add(n, constant(vector, high - math.log(2)), r)
    series = constant(vector, 1 / math.factorial(terms - 1))
    for k in reversed(range(terms - 1)):
        series = vector.multiply_add(series, r, constant(vector, 1 / math.factorial(k)))
    whole = ir.VectorType(ir.IntType(bits), vector.lanes)
    places = ir.Constant(whole, [mantissa] * vector.lanes)
    exponent = build.shl(build.bitcast(shifted, whole), places)
    return build.bitcast(build.add(build.bitcast(series, whole), exponent), vector.type)


def sigmoid(vector, a, b, p, q):
    one = constant(vector, 1)
    return vector.builder.fdiv(one, vector.builder.fadd(one, exp(vector, vector.builder.fneg(a))))


def silu(vector, a, b, p, q):
    return vector.builder.fmul(a, sigmoid(vector, a, b, p, q))


def hard_swish(vector, a, b, p, q):
    build = vector.builder
    gate = build.fadd(a, constant(vector, 3))
    gate = vector.clamp(gate, vector.zero, constant(vector, 6))
    return build.fmul(build.fmul(a, gate), constant(vector, 1 / 6))


def leaky_relu(vector, a, b, p, q):
    build = vector.builder
    return build.select(build.fcmp_ordered("<", a, vector.zero), build.fmul(a, p), a)


def scale_shift(vector, a, b, p, q):
    return vector.multiply_add(a, p, q)


def add(vector, a, b, p, q):
    return vector.builder.fadd(a, b)


def multiply(vector, a, b, p, q):
    return vector.builder.fmul(a, b)


ELEMENTS = {
    "scale and shift": scale_shift,
    "add": add,
    "multiply": multiply,
    "sigmoid": sigmoid,
    "silu": silu,
    "hard swish": hard_swish,
    "leaky relu": leaky_relu,
}
