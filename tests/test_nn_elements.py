"""Activation functions in vectors, against their formulas in double precision."""

import math

import numba
import numpy as np
import pytest

from nn.kernels.program.finish import FUNCTIONS, apply_function

FORMULAS = {
    "scale and shift": lambda x: 0.3 * x,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "hard swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "leaky relu": lambda x: x if x > 0 else 0.3 * x,
}


@numba.njit
def run(which, x, low, high, out):
    apply_function(which, x, 0, x, 0, 0.3, 0.0, low, high, out, 0, x.size)


def applied(name, x, low=-np.inf, high=np.inf):
    out = np.full(x.size + 1, 7, x.dtype)
    run(list(FUNCTIONS).index(name), x, low, high, out)
    assert out[-1] == 7  # nothing beyond the end is written
    return out[:-1]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 2e-15)])
def test_every_function_is_its_formula(name, dtype, rtol):
    near = np.linspace(-20, 20, 4001)
    x = np.concatenate([near, [-85, 85, 1e-30, 0, -1e-30]]).astype(dtype)
    expected = np.array([FORMULAS[name](float(number)) for number in x])
    np.testing.assert_allclose(applied(name, x), expected, rtol=rtol, atol=1e-37)
    slope = dtype(0.3)
    np.testing.assert_allclose(FUNCTIONS[name](x, slope), expected, rtol=1e-6, atol=1e-37)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("size", [1, 15, 16, 17, 40])
def test_a_nan_passes_and_what_is_beyond_the_limits_does_not(name, size):
    x = np.random.default_rng(0).uniform(-9, 9, size).astype(np.float32)
    x[-1] = np.nan
    actual = applied(name, x, -1.0, 2.0)
    expected = np.clip([FORMULAS[name](float(number)) for number in x[:-1]], -1, 2)
    np.testing.assert_allclose(actual[:-1], expected, rtol=1e-6)
    assert np.isnan(actual[-1])


def test_what_is_too_large_does_not_overflow():
    x = np.array([-1e30, -200, 200, 1e30], np.float32)
    np.testing.assert_allclose(applied("sigmoid", x), [0, 0, 1, 1], atol=1e-37)
    np.testing.assert_allclose(applied("silu", x)[2:], x[2:])
