"""Optimisers against their formulas in plain Python and against PyTorch; schedules; clipping."""

import math

import numpy as np
import pytest

import nn
from nn import kernels, optim
from nn.kernels.sum_of_squares import sum_of_squares
from nn.optim import SMALL, contribution, momentum_step


def momentum_loop(weight, grads, lrs, beta, decay):
    """Equation 3-2 on Python floats, one number at a time."""
    velocity = [0.0] * len(weight)
    weight = [float(w) for w in weight]
    for grad, lr in zip(grads, lrs, strict=True):
        for i in range(len(weight)):
            velocity[i] = beta * velocity[i] + lr * (float(grad[i]) + decay * weight[i])
            weight[i] -= velocity[i]
    return weight


def test_momentum_is_equation_3_2_with_the_learning_rate_inside():
    rng = np.random.default_rng(0)
    start = rng.standard_normal(7)
    parameter = nn.Parameter(start.copy())
    optimizer = optim.MomentumSGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.01)
    grads, lrs = rng.standard_normal((5, 7)), [0.1, 0.1, 0.01, 0.3, 0.3]
    for grad, lr in zip(grads, lrs, strict=True):
        optimizer.lr = lr
        parameter.grad = grad
        optimizer.step()
    expected = momentum_loop(start, grads, lrs, 0.9, 0.01)
    np.testing.assert_allclose(parameter.data, expected, rtol=1e-12)


def test_momentum_step_wants_arrays_of_one_shape():
    weight, velocity = np.ones((2, 2, 2), np.float32)
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(3,\)"):
        optim.momentum_step(weight, velocity, np.ones(3, np.float32), 0.1)


def test_groups_and_frozen_parameters():
    slow, fast, frozen = (nn.Parameter(np.zeros(1, np.float32)) for _ in range(3))
    frozen.requires_grad = False
    optimizer = optim.MomentumSGD(
        [{"params": [slow, frozen], "lr_scale": 0.5}, {"params": [fast]}], lr=1.0, momentum=0.0
    )
    for parameter in (slow, fast, frozen):
        parameter.grad = np.ones(1, np.float32)
    optimizer.step()
    assert [p.item() for p in (slow, fast, frozen)] == [-0.5, -1.0, 0.0]


def test_a_group_may_say_its_learning_rate_as_in_pytorch():
    slow, fast = (nn.Parameter(np.zeros(1, np.float32)) for _ in range(2))
    optimizer = optim.MomentumSGD(
        [{"params": [slow], "lr": 0.25, "weight_decay": 0.0}, {"params": [fast]}], lr=1.0
    )
    for parameter in (slow, fast):
        parameter.grad = np.ones(1, np.float32)
    optimizer.step()
    assert (slow.item(), fast.item()) == (-0.25, -1.0)


@pytest.mark.parametrize("name", ["MomentumSGD", "LARS", "Adam", "AdamW", "RMSprop"])
def test_optimizer_resumes_with_the_same_bits(name, tmp_path):
    def train(steps, state=None, weight=None):
        parameter = nn.Parameter(np.ones(4, np.float32) if weight is None else weight.copy())
        optimizer = getattr(optim, name)([parameter], lr=0.1, weight_decay=0.01)
        if state is not None:
            optimizer.load_state_dict(state)
        for _ in range(steps):
            optimizer.zero_grad()
            (parameter * parameter).sum().backward()
            optimizer.step()
        return parameter.data, optimizer.state_dict()

    whole, _ = train(6)
    half, state = train(3)
    nn.checkpoint.save(tmp_path / "state", state)
    resumed, _ = train(3, nn.checkpoint.load(tmp_path / "state"), half)
    np.testing.assert_array_equal(whole, resumed)
    for other in ({}, {key: [np.zeros(3)] for key in state}):
        with pytest.raises(ValueError, match=f"{name}: this state belongs to other parameters"):
            train(1, other)


def test_schedules():
    assert [round(optim.warmup(3)(t), 6) for t in range(5)] == [0.333333, 0.555556, 0.777778, 1, 1]
    decay = optim.step_decay([2, 4])
    assert [round(decay(t), 6) for t in range(6)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    cosine = optim.cosine_decay(10)
    assert (cosine(0), cosine(99)) == (1.0, 0.0) and cosine(5) == pytest.approx(0.5)
    assert optim.linear_decay(10)(5) == 0.5
    assert optim.product(decay, lambda t: 3.0)(3) == pytest.approx(0.3)


def test_clip_grad_norm():
    parameters = [nn.Parameter(np.zeros(1, np.float32)) for _ in range(2)]
    parameters[0].grad, parameters[1].grad = np.float32([3.0]), np.float32([4.0])
    assert optim.clip_grad_norm(parameters, 10.0) == 5.0
    assert parameters[0].grad == 3.0
    optim.clip_grad_norm(parameters, 1.0)
    assert parameters[0].grad == pytest.approx(0.6) and parameters[1].grad == pytest.approx(0.8)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 1000, 4097])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sum_of_squares_is_exact_in_float64(size, dtype):
    values = np.random.default_rng(size).standard_normal(size).astype(dtype)
    sums = np.empty(2)
    sum_of_squares(values, sums)
    exact = [math.fsum(values.tolist()), math.fsum(float(v) ** 2 for v in values)]
    np.testing.assert_allclose(sums, exact, rtol=1e-12, atol=1e-12)


# Ours, PyTorch's of the same name, and settings that both take.
AS_PYTORCH = [
    ("Adam", {}),
    ("Adam", dict(lr=0.03, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.1)),
    ("AdamW", {}),
    ("AdamW", dict(lr=0.03, betas=(0.8, 0.99), weight_decay=0.2)),
    ("RMSprop", {}),
    ("RMSprop", dict(lr=0.02, alpha=0.9, eps=1e-3, weight_decay=0.1, momentum=0.9)),
]


@pytest.mark.parametrize("name, settings", AS_PYTORCH)
def test_as_pytorch(name, settings):
    """Fifteen steps; the second parameter gets a gradient in every other step only."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 4), (5,))]
    ours = [nn.Parameter(start.copy()) for start in starts]
    theirs = [torch.nn.Parameter(torch.tensor(start)) for start in starts]
    optimizer = getattr(optim, name)(ours, **settings)
    other = getattr(torch.optim, name)(theirs, **settings)
    for step in range(15):
        for index, (own, their) in enumerate(zip(ours, theirs, strict=True)):
            grad = rng.standard_normal(own.shape).astype(np.float32)
            leaves_out = index == 1 and step % 2 == 0
            own.grad = None if leaves_out else grad
            their.grad = None if leaves_out else torch.tensor(grad)
        optimizer.step()
        other.step()
    for own, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own.data, their.detach().numpy(), rtol=2e-5, atol=1e-6)


def test_lars_is_its_algorithm():
    rng = np.random.default_rng(1)
    start, grads = rng.standard_normal(9), rng.standard_normal((6, 9))
    parameter = nn.Parameter(start.copy())
    optimizer = optim.LARS([parameter], lr=2.0, momentum=0.8, weight_decay=0.01, coefficient=0.1)
    w, v = start.tolist(), [0.0] * 9
    for grad in grads:
        parameter.grad = grad
        optimizer.step()
        long, short = (math.sqrt(sum(x * x for x in values)) for values in (w, grad.tolist()))
        rate = 2.0 * 0.1 * long / (short + 0.01 * long)
        v = [0.8 * a + rate * (s + 0.01 * x) for a, s, x in zip(v, grad, w, strict=True)]
        w = [x - a for x, a in zip(w, v, strict=True)]
    np.testing.assert_allclose(parameter.data, w, rtol=1e-12)


STEPS = {
    optim.momentum_step: 1,
    optim.lars_step: 1,
    optim.adam_step: 2,
    optim.rmsprop_step: 2,
}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_step_is_pure_unless_told_where_to_write(step):
    rng = np.random.default_rng(2)
    weight, *state, grad = np.abs(rng.standard_normal((STEPS[step] + 2, 3, 2))).astype(np.float32)
    count = (4,) if step is optim.adam_step else ()
    before = [array.copy() for array in (weight, *state, grad)]
    new = step(weight, *state, grad, *count, 0.5, weight_decay=0.1)
    for array, kept in zip((weight, *state, grad), before, strict=True):
        np.testing.assert_array_equal(array, kept)
    step(weight, *state, grad, *count, 0.5, weight_decay=0.1, out=(weight, *state))
    for array, expected in zip((weight, *state), new, strict=True):
        assert array.dtype == np.float32 and array.tobytes() == expected.tobytes()
    assert (weight != before[0]).any()


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.MomentumSGD(p, -1.0),
        lambda p: optim.MomentumSGD(p, math.nan),
        lambda p: optim.MomentumSGD(p, 0.1, momentum=1.0),
        lambda p: optim.MomentumSGD(p, 0.1, weight_decay=-1),
        lambda p: optim.Adam(p, betas=(0.9, 1.0)),
        lambda p: optim.AdamW(p, eps=0),
        lambda p: optim.LARS(p, 0.1, coefficient=math.nan),
        lambda p: optim.RMSprop(p, alpha=1.5),
        lambda p: optim.Adam([{"params": p, "lr": 0.1}], lr=0.0),
        lambda p: optim.Adam([{"params": p, "momentum": 0.1}]),
        lambda p: optim.Adam([]),
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(make):
    with pytest.raises(ValueError, match="must be|above 0|no parameters|settings") as error:
        make([nn.Parameter(np.zeros(1, np.float32))])
    assert "\n" not in str(error.value)


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
