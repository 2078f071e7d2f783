"""Modules: parts found by assignment, state in and out, modes, optimisers, checkpoints."""

import math

import numpy as np
import pytest

import nn
from nn import optim
from nn.kernels.sum_of_squares import sum_of_squares


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.rest = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.register_buffer("count", np.zeros(2, np.float32))

    def forward(self, x):
        return self.rest(self.first(x))


def test_names_keep_the_order_of_assignment():
    names = ["first.weight", "first.bias", "rest.1.weight"]
    assert [name for name, _ in Net().named_parameters()] == names
    assert list(Net().state_dict()) == ["count", *names]


def test_reassigning_keeps_one_entry():
    net = Net()
    net.first = nn.Linear(3, 4, bias=False)
    assert [name for name, _ in net.named_parameters()] == ["first.weight", "rest.1.weight"]
    net.first = None
    assert net.first is None and len(list(net.parameters())) == 1


def test_shared_parameters_count_once():
    net = nn.Module()
    net.a = nn.Linear(2, 2)
    net.b = net.a
    assert len(list(net.parameters())) == 2
    assert "b.weight" in net.state_dict()


def test_assigning_before_init_is_explained():
    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match="super"):
        Early()


def test_state_round_trip_and_seed():
    nn.manual_seed(1)
    one = Net()
    nn.manual_seed(1)
    same = Net()
    other = Net()
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(array, same.state_dict()[name])
    other.load_state_dict({k: v.copy() for k, v in one.state_dict().items()})
    np.testing.assert_array_equal(other.first.weight.data, one.first.weight.data)


def test_load_names_everything_that_does_not_fit():
    state = Net().state_dict()
    del state["first.bias"]
    state["first.weight"] = np.zeros((4, 5), np.float32)
    state["extra"] = np.zeros(1)
    net = Net()
    before = net.rest[1].weight.data.copy()
    state["rest.1.weight"] = before + 1
    with pytest.raises(ValueError) as error:
        net.load_state_dict(state)
    for part in ("(4, 5) given, (4, 3) expected", "missing: first.bias", "unexpected: extra"):
        assert part in str(error.value)
    np.testing.assert_array_equal(net.rest[1].weight.data, before)
    del state["first.weight"]
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert missing == ["first.weight", "first.bias"] and unexpected == ["extra"]


def test_train_eval_reach_every_module():
    net = Net()
    net.eval()
    assert not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())


def test_evaluating_restores_every_modules_own_mode():
    net = Net()
    net.rest.eval()
    modes = [module.training for module in net.modules()]
    with pytest.raises(KeyError), nn.evaluating(net):
        assert not any(module.training for module in net.modules())
        raise KeyError
    assert [module.training for module in net.modules()] == modes


def test_repr_shows_the_tree():
    assert "(1): Linear(4, 2)" in repr(Net())


def test_forward_hook_sees_inputs_and_output():
    net, seen = Net(), []
    undo = net.first.register_forward_hook(lambda m, i, o: seen.append((i[0].shape, o.shape)))
    net(nn.Tensor(np.ones((5, 3), np.float32)))
    undo()
    net(nn.Tensor(np.ones((5, 3), np.float32)))
    assert seen == [((5, 3), (5, 4))]


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


def test_momentum_step_is_pure_unless_told_where_to_write():
    weight, velocity, grad = np.ones((3, 2, 2), np.float32)
    new_weight, new_velocity = optim.momentum_step(weight, velocity, grad, 0.5, 0.5)
    np.testing.assert_array_equal(weight, np.ones((2, 2)))
    np.testing.assert_array_equal(new_velocity, np.full((2, 2), 1.0))
    np.testing.assert_array_equal(new_weight, np.zeros((2, 2)))
    optim.momentum_step(weight, velocity, grad, 0.5, 0.5, out=(weight, velocity))
    np.testing.assert_array_equal(weight, new_weight)
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


def test_optimizer_resumes_with_the_same_bits():
    def train(steps, state=None, weight=None):
        parameter = nn.Parameter(np.ones(4, np.float32) if weight is None else weight.copy())
        optimizer = optim.MomentumSGD([parameter], lr=0.1)
        if state is not None:
            optimizer.load_state_dict(state)
        for _ in range(steps):
            optimizer.zero_grad()
            (parameter * parameter).sum().backward()
            optimizer.step()
        return parameter.data, optimizer.state_dict()

    whole, _ = train(6)
    half, state = train(3)
    resumed, _ = train(3, state, half)
    np.testing.assert_array_equal(whole, resumed)


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
