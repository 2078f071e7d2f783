"""The momentum kernel: equal to its NumPy twin bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn.kernels.momentum import momentum_step, momentum_step_reference

factor = st.floats(0, 1, allow_subnormal=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2000), factor, factor, factor, st.integers(0, 2**32))
def test_kernel_and_twin_have_the_same_bits(dtype, size, lr, momentum, weight_decay, seed):
    rng = np.random.default_rng(seed)
    weight, velocity, grad = (rng.standard_normal((3, size)) * 10.0 ** rng.integers(-8, 8)).astype(
        dtype
    )
    new, expected = np.empty((2, 2, size), dtype)
    momentum_step(weight, velocity, grad, lr, momentum, weight_decay, *new)
    momentum_step_reference(weight, velocity, grad, lr, momentum, weight_decay, *expected)
    np.testing.assert_array_equal(new, expected)


def test_two_steps_by_hand():
    """v = 0.5 v + 0.25 (g + 2 w), w = w - v, in numbers that are exact in binary."""
    weight, velocity = np.array([1.0], "float32"), np.array([4.0], "float32")
    grad = np.array([2.0], "float32")
    momentum_step(weight, velocity, grad, 0.25, 0.5, 2.0, weight, velocity)  # in place
    assert (velocity[0], weight[0]) == (3.0, -2.0)
    momentum_step(weight, velocity, grad, 0.25, 0.5, 2.0, weight, velocity)
    assert (velocity[0], weight[0]) == (1.0, -3.0)


def test_products_are_rounded_before_they_are_added():
    """One third squared minus itself rounded: a fused multiply-add would leave a remainder."""
    third = np.full(64, 1 / 3, "float32")
    product = third * third
    new_weight, new_velocity = np.empty((2, 64), "float32")
    momentum_step(product, third, np.zeros(64, "float32"), 0.0, third[0], 0.0,
                  new_weight, new_velocity)  # fmt: skip
    np.testing.assert_array_equal(new_weight, 0)
