"""Initial values: PyTorch's distributions, and the bits that networks have always started with."""

import hashlib
import math

import numpy as np
import pytest

import nn
from nn import init

SHAPE = (96, 64, 3, 3)


def drawn(name, *args, **options) -> np.ndarray:
    nn.manual_seed(0)
    return getattr(init, name)(nn.Parameter(np.empty(SHAPE, np.float32)), *args, **options).data


CASES = [
    ("kaiming_uniform_", (), {}),
    ("kaiming_uniform_", (math.sqrt(5),), {}),
    ("kaiming_uniform_", (), {"mode": "fan_out", "nonlinearity": "relu"}),
    ("kaiming_normal_", (), {}),
    ("kaiming_normal_", (0.3, "fan_out"), {}),
    ("kaiming_normal_", (), {"nonlinearity": "linear"}),
    ("xavier_uniform_", (), {}),
    ("xavier_uniform_", (1.7,), {}),
    ("xavier_normal_", (0.5,), {}),
    ("trunc_normal_", (), {}),
    ("trunc_normal_", (0.1, 0.5, -0.2, 0.3), {}),
    ("normal_", (0.3, 0.1), {}),
    ("uniform_", (-0.3, 0.1), {}),
]


@pytest.mark.parametrize("name, args, options", CASES)
def test_distributions_are_pytorchs(name, args, options):
    """55,296 numbers from each: the same mean, deviation and ends."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = getattr(torch.nn.init, name)(torch.empty(SHAPE), *args, **options).numpy()
    ours = drawn(name, *args, **options)
    spread = float(theirs.std())
    assert ours.dtype == np.float32
    assert abs(ours.mean() - theirs.mean()) < 0.03 * spread
    assert abs(ours.std() / spread - 1) < 0.02
    if name not in ("normal_", "kaiming_normal_", "xavier_normal_"):
        assert ours.min() == pytest.approx(theirs.min(), abs=0.01 * spread)
        assert ours.max() == pytest.approx(theirs.max(), abs=0.01 * spread)


@pytest.mark.parametrize("name", ["linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu"])
def test_gains_are_pytorchs(name):
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)


def test_layers_start_as_pytorchs():
    """U(-b, b) with b = 1 / sqrt(fan_in), which is kaiming_uniform_ with the slope sqrt(5)."""
    torch = pytest.importorskip("torch")
    for name, args in (
        ("Linear", (50, 400)),
        ("Conv2d", (20, 300, 3, 1, 0, 1, 4)),
        ("ConvTranspose2d", (200, 40, 3, 1, 0, 0, 4)),
    ):
        ours, theirs = getattr(nn, name)(*args), getattr(torch.nn, name)(*args)
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            bound = abs(other.detach().numpy()).max()
            assert np.abs(own.data).max() == pytest.approx(bound, rel=0.1)


def test_mistakes_get_one_line():
    for name, args in (
        ("kaiming_normal_", (0.0, "fan")),
        ("kaiming_normal_", (0.0, "fan_in", "step")),
        ("trunc_normal_", (0.0, 1.0, 7.0, 9.0)),
        ("trunc_normal_", (0.0, 1.0, 2.0, -2.0)),
    ):
        with pytest.raises(ValueError, match="^[^\n]*$"):
            drawn(name, *args)


def digest(model) -> str:
    bits = hashlib.sha256()
    for name, array in model.state_dict().items():
        bits.update(name.encode() + array.tobytes())
    return bits.hexdigest()


def test_networks_start_with_the_bits_they_always_had():
    """A training that is repeated from its seed must not become another one."""
    from detector import LightHeadRCNN

    nn.manual_seed(7)
    network = nn.models.shufflenet_v2(0.5, num_classes=10)
    nn.manual_seed(3)
    detector = LightHeadRCNN(num_classes=4)
    assert digest(network) == "4736fab554dc8a6654d25826718f6ed9c9ff72edd9f5d6c8c1e4831f56057649"
    assert digest(detector) == "0d89b22656886ed7639c391e0822c805f78800f6dba6564a9f2a31880155e283"


def test_what_is_drawn_in_a_fork_was_not_drawn():
    first = drawn("normal_")
    nn.manual_seed(0)
    with init.fork_stream():
        init.normal_(nn.Parameter(np.empty(SHAPE, np.float32)))
        nn.manual_seed(5)
    assert (init.normal_(nn.Parameter(np.empty(SHAPE, np.float32))).data == first).all()
