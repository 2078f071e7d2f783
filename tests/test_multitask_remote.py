"""``RemoteMomentum`` in the place of ``MomentumSGD``: one training loop that knows neither."""

import numpy as np
import pytest

import nn
from multitask import Adam, LocalServer, Momentum, ParameterServer, RemoteMomentum, Task, errors
from multitask.site.task import TaskSite
from nn.optim import MomentumSGD, clip_grad_norm


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        nn.manual_seed(3)
        self.first = nn.Linear(4, 5)
        self.second = nn.Linear(5, 2)
        self.unused = nn.Linear(3, 3)
        self.frozen = nn.Linear(5, 5)
        for parameter in self.frozen.parameters():
            parameter.requires_grad = False

    def forward(self, x):
        return self.second(self.frozen(nn.functional.relu(self.first(x))))


def train(network, optimizer, iterations=20):
    """What a user's loop may do with an optimiser."""
    assert optimizer.momentum == 0.8
    rng = np.random.default_rng(5)
    for iteration in range(iterations):
        optimizer.lr = 0.1 / (1 + iteration)
        x = nn.Tensor(rng.standard_normal((6, 4)).astype(np.float32))
        optimizer.zero_grad()
        assert all(p.grad is None for group in optimizer.groups for p in group["params"])
        (network(x) ** 2).mean().backward()
        clip_grad_norm((p for group in optimizer.groups for p in group["params"]), 0.5)
        optimizer.step()
        if iteration == 10:
            state = {name: array.copy() for name, array in network.state_dict().items()}
            checkpoint = state, optimizer.state_dict()
            for parameter in network.parameters():
                parameter.data += 1
            network.load_state_dict(checkpoint[0])
            optimizer.load_state_dict(checkpoint[1])
    return b"".join(network.state_dict()[name].tobytes() for name in sorted(network.state_dict()))


def groups(network, pick):
    named = list(network.named_parameters())
    weights = [pair for pair in named if pair[0].endswith("weight")]
    biases = [pair for pair in named if pair[0].endswith("bias")]
    return [
        {"params": pick(weights)},
        {"params": pick(biases), "lr_scale": 2.0, "weight_decay": 0.0},
    ]


def test_the_same_loop_gives_the_same_bits():
    ours, theirs = Network(), Network()
    local = MomentumSGD(groups(ours, lambda pairs: [p for _, p in pairs]), 0.1, 0.8, 1e-3)
    expected = train(ours, local)
    with ParameterServer(1, rule=Momentum(0.8)) as server:
        remote = RemoteMomentum(
            groups(theirs, dict), 0.1, weight_decay=1e-3, task="a", server=server.address
        )
        for left, right in zip(local.groups, remote.groups, strict=True):
            assert left.keys() <= right.keys() and len(left["params"]) == len(right["params"])
        assert train(theirs, remote) == expected
        remote.finish()


def test_a_checkpoint_does_not_overrule_the_server():
    network, server = Network(), LocalServer(1)
    optimizer = RemoteMomentum(network.named_parameters(), 0.1, task="a", server=server)
    old = {name: array.copy() for name, array in network.state_dict().items()}
    network.first.weight.grad = np.ones_like(network.first.weight.data)
    optimizer.step()
    learned = network.first.weight.data.copy()
    network.load_state_dict(old)
    optimizer.load_state_dict({"iteration": 0})
    np.testing.assert_array_equal(network.first.weight.data, learned)
    assert optimizer.iteration == 1


def test_parameters_without_names_are_refused():
    with pytest.raises(ValueError, match="model.named_parameters()"):
        RemoteMomentum(Network().parameters(), 0.1, task="a", server=LocalServer(1))
    with pytest.raises(errors.RegistrationError, match="registers no parameter"):
        RemoteMomentum([], 0.1, task="a", server=LocalServer(1))


def test_momentum_is_none_where_the_rule_has_none():
    server = LocalServer(1, Adam(0.1))
    optimizer = RemoteMomentum(Network().named_parameters(), 1.0, task="a", server=server)
    assert optimizer.momentum is None


def test_numbers_of_numpy_can_be_reported():
    told = []
    with ParameterServer(1, report=told.append) as server:
        optimizer = RemoteMomentum(
            Network().named_parameters(), np.float32(0.5), task="a", server=server.address
        )
        optimizer.step({"loss": np.float32(0.25), "images": np.int64(3), "x": np.float64("nan")})
        optimizer.finish()
    report = next(event["report"] for event in told if event["event"] == "commit")
    assert (report["loss"], report["images"], report["lr"]) == (0.25, 3, 0.5) and "x" not in report


def square(network, iteration):
    return (network(nn.Tensor(np.ones((2, 4), np.float32))) ** 2).mean()


def test_a_token_may_be_text():
    token = "a token of some length"
    with ParameterServer(1, token=token) as server:
        with pytest.raises(errors.AuthenticationError):
            TaskSite(
                Task("a", Network, square, 0.1), server.address, token="another of that length"
            )
        TaskSite(Task("a", Network, square, 0.1), server.address, token=token.encode()).run(2)
