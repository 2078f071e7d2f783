"""The server's update rules against the formulas in plain Python, and against PyTorch."""

import math

import numpy as np
import pytest

from multitask.core.rules import LARS, Adam, Momentum
from nn import Parameter, optim
from nn.optim import MomentumSGD, contribution, linear_decay


def drive(rule, start, totals):
    weight, state = start.copy(), [np.zeros_like(start) for _ in rule.state]
    for iteration, total in enumerate(totals):
        rule.step(weight, state, total, iteration)
    return weight


@pytest.fixture
def run():
    rng = np.random.default_rng(1)
    start = rng.standard_normal(50).astype(np.float32)
    return start, [rng.standard_normal(50).astype(np.float32) for _ in range(20)]


@pytest.mark.parametrize("weight_decay", [0.0, 1e-4])
def test_momentum_has_the_bits_of_local_training(run, weight_decay):
    start, grads = run
    local = Parameter(start.copy())
    optimizer = MomentumSGD([local], lr=0.1, momentum=0.9, weight_decay=weight_decay)
    rule, weight, state = Momentum(0.9), start.copy(), [np.zeros_like(start)]
    for iteration, grad in enumerate(grads):
        optimizer.lr = 0.1 / (1 + iteration)
        local.grad = grad
        c = contribution(weight, grad, optimizer.lr, weight_decay)
        optimizer.step()
        rule.step(weight, state, c, iteration)
        assert weight.tobytes() == local.data.tobytes()


@pytest.mark.parametrize(
    "rule, optimizer",
    [
        (Adam(0.01, (0.8, 0.99), 1e-6), lambda p: optim.Adam(p, 0.01, (0.8, 0.99), 1e-6)),
        (LARS(2.0, 0.8, 0.01, 0.1), lambda p: optim.LARS(p, 2.0, 0.8, 0.01, 0.1)),
    ],
    ids=["adam", "lars"],
)
def test_adam_and_lars_have_the_bits_of_local_training(run, rule, optimizer):
    start, totals = run
    local = Parameter(start.copy())
    optimizer = optimizer([local])
    for local.grad in totals:
        optimizer.step()
    assert drive(rule, start, totals).tobytes() == local.data.tobytes()


def test_adam_rounds_in_this_order(run):
    """What snapshots and journals of earlier versions were written with: not one bit may change."""
    start, totals = run
    weight, mean, square = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for t, total in enumerate(totals, 1):
        mean *= np.float32(0.9)
        mean += np.float32(1 - 0.9) * total
        square *= np.float32(0.999)
        square += np.float32(1 - 0.999) * np.square(total)
        scale = np.sqrt(square / np.float32(1 - 0.999**t)) + np.float32(1e-8)
        weight -= np.float32(0.01 / (1 - 0.9**t)) * mean / scale
    assert drive(Adam(0.01), start, totals).tobytes() == weight.tobytes()


def test_adam_is_pytorchs(run):
    torch = pytest.importorskip("torch")
    start, totals = run
    weight = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.Adam([weight], lr=0.01, betas=(0.8, 0.99), eps=1e-6)
    for total in totals:
        weight.grad = torch.tensor(total)
        optimizer.step()
    ours = drive(Adam(0.01, (0.8, 0.99), 1e-6), start, totals)
    np.testing.assert_allclose(ours, weight.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_adam_is_its_formula_and_follows_its_schedule(run):
    start, totals = run
    rule = Adam(0.01, schedule=linear_decay(20, end=0.5))
    w, m, u = float(start[0]), 0.0, 0.0
    for t, total in enumerate(totals):
        s, lr = float(total[0]), 0.01 * (1 - 0.5 * t / 20)
        m, u = 0.9 * m + 0.1 * s, 0.999 * u + 0.001 * s * s
        mean, square = m / (1 - 0.9 ** (t + 1)), u / (1 - 0.999 ** (t + 1))
        w -= lr * mean / (math.sqrt(square) + 1e-8)
    assert drive(rule, start, totals)[0] == pytest.approx(w, rel=1e-5)


def test_lars_is_its_algorithm(run):
    start, totals = run
    rule = LARS(2.0, momentum=0.8, weight_decay=0.01, coefficient=0.1, schedule=linear_decay(20))
    w, v = [float(x) for x in start], [0.0] * 50
    for t, total in enumerate(totals):
        long = math.sqrt(sum(x * x for x in w))
        short = math.sqrt(sum(float(x) ** 2 for x in total))
        rate = 2.0 * (1 - t / 20) * 0.1 * long / (short + 0.01 * long)
        v = [0.8 * a + rate * (float(s) + 0.01 * x) for a, s, x in zip(v, total, w, strict=True)]
        w = [x - a for x, a in zip(w, v, strict=True)]
    np.testing.assert_allclose(drive(rule, start, totals), w, rtol=1e-4, atol=1e-5)


def test_lars_moves_weights_that_start_at_zero():
    weight = drive(LARS(0.5), np.zeros(3, np.float32), [np.ones(3, np.float32)])
    np.testing.assert_array_equal(weight, np.full(3, -0.5, np.float32))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Momentum(1.0),
        lambda: Adam(-1.0),
        lambda: Adam(math.nan),
        lambda: LARS(0.1, weight_decay=math.nan),
        lambda: Adam(betas=(0.9, 1.0)),
        lambda: LARS(-0.1),
        lambda: LARS(0.1, momentum=-0.5),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()
