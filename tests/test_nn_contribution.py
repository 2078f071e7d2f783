"""A momentum step in two halves, as a task site and the parameter server take it: the same bits."""

import numpy as np
import pytest

from nn import kernels
from nn.optim import SMALL, contribution, momentum_step


def awkward(rng, dtype, size):
    """Values over the whole range of exponents, with zeros of both signs and subnormals."""
    values = rng.standard_normal(size) * 10.0 ** rng.integers(-46, 20, size)
    values[::7] = 0.0
    values[::13] = -0.0
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 1e-4])
@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("size", [100, 2 * SMALL])
def test_two_halves_have_the_bits_of_the_whole(dtype, weight_decay, twins, size):
    rng = np.random.default_rng(5)
    weight, velocity = awkward(rng, dtype, size), awkward(rng, dtype, size)
    whole, halves = (weight.copy(), velocity.copy()), (weight.copy(), velocity.copy())
    for _ in range(20):
        grad, lr = awkward(rng, dtype, size), rng.uniform(0.001, 0.1)
        momentum_step(*whole, grad, lr, 0.9, weight_decay, out=whole)
        step = contribution(halves[0], grad, lr, weight_decay, out=np.empty_like(grad))
        if twins:
            with kernels.twins():
                momentum_step(*halves, step, 1.0, 0.9, out=halves)
        else:
            momentum_step(*halves, step, 1.0, 0.9, out=halves)
        for one, other in zip(whole, halves, strict=True):
            assert one.tobytes() == other.tobytes()


def test_without_decay_an_infinite_weight_does_not_spoil_the_step():
    weight, zero = np.array([np.inf], np.float32), np.zeros(1, np.float32)
    assert momentum_step(weight, zero, zero, 1.0)[1][0] == 0.0
    assert contribution(weight, zero, 1.0)[0] == 0.0
