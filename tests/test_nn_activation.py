"""Activations against PyTorch, differences, their twins, and at the ends of the number range."""

import numpy as np
import pytest
from nn_checks import (
    assert_close,
    assert_threads_agree,
    assert_twin_agrees,
    leaves,
    random,
    run,
    torch_run,
)

import nn
from nn import functional as F
from nn.ops import activation

# Away from the kinks at 0 and 6.
VALUES = np.array([-9.0, -2.5, -0.3, 0.4, 1.7, 5.5, 6.5, 11.0]).repeat(7).reshape(2, 4, 7)


@pytest.mark.parametrize("name", ["relu", "relu6", "sigmoid", "tanh"])
def test_as_pytorch(name):
    torch = pytest.importorskip("torch")
    operation = {
        "relu": activation.ReLU,
        "relu6": activation.ReLU6,
        "sigmoid": activation.Sigmoid,
        "tanh": activation.Tanh,
    }[name]
    x = VALUES.astype(np.float32)
    assert_close(run(operation, x), torch_run(getattr(torch.nn.functional, name), x), 1e-6)
    assert run(operation, x)[0].dtype == np.float32


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_as_pytorch(name, dim):
    torch = pytest.importorskip("torch")
    operation = {"softmax": activation.Softmax, "log_softmax": activation.LogSoftmax}[name]
    x = random(3, 5, 4, dtype=np.float32)
    expected = torch_run(lambda x: getattr(torch, name)(x, dim), x)
    assert_close(run(operation, x, dim=dim), expected, 2e-6)


def test_values_by_hand():
    x = nn.Tensor(np.array([-1.0, 0.0, 2.0, 6.0, 7.0]))
    np.testing.assert_array_equal(F.relu(x).data, [0, 0, 2, 6, 7])
    np.testing.assert_array_equal(F.relu6(x).data, [0, 0, 2, 6, 6])
    np.testing.assert_allclose(F.sigmoid(x).data, 1 / (1 + np.exp(-x.data)))
    np.testing.assert_allclose(
        F.softmax(nn.Tensor(np.log([1.0, 2, 5])), 0).data, [0.125, 0.25, 0.625]
    )


def test_gradients():
    (x,) = leaves(VALUES)
    for function in (F.relu, F.relu6, F.sigmoid, F.tanh):
        nn.gradcheck(function, [x])
    for dim in (0, 1, 2):
        nn.gradcheck(lambda x, d=dim: F.softmax(x, d), leaves(random(3, 4, 5)))
        nn.gradcheck(lambda x, d=dim: F.log_softmax(x, d), leaves(random(3, 4, 5)))


def test_at_the_kinks_the_gradient_is_zero():
    (x,) = leaves(np.array([0.0, -0.0, 6.0]))
    F.relu6(x).sum().backward()
    np.testing.assert_array_equal(x.grad, 0)
    (x,) = leaves(np.array([0.0, 6.0]))
    F.relu(x).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 1])


@pytest.mark.parametrize("use_twins", [False, True])
def test_nan_passes_through_both_ways(use_twins):
    def check():
        (x,) = leaves(np.array([np.nan, -1, 1]))
        out = F.relu(x)
        np.testing.assert_array_equal(out.data, [np.nan, 0, 1])
        out.backward(np.array([2.0, 3, np.nan]))
        np.testing.assert_array_equal(x.grad, [2, 0, np.nan])

    if use_twins:
        with nn.kernels.twins():
            check()
    else:
        check()


def test_extreme_logits_neither_overflow_nor_vanish():
    with np.errstate(all="raise", under="ignore"):
        x = nn.Tensor(np.array([-1e4, -60, 0, 60, 1e4], np.float32))
        probability = F.sigmoid(x).data
        np.testing.assert_allclose(probability, [0, np.exp(np.float32(-60)), 0.5, 1, 1], rtol=1e-6)
        np.testing.assert_allclose(F.softmax(x, 0).data, [0, 0, 0, 0, 1])
        np.testing.assert_allclose(F.log_softmax(x, 0).data, [-2e4, -10060, -1e4, -9940, 0])


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 3, 7, 5), (0, 3)])
def test_twins(shape):
    x = 5 * random(*shape)
    for operation in (activation.ReLU, activation.ReLU6):
        assert_twin_agrees(operation, np.asarray(x))


def test_threads():
    assert_threads_agree(activation.ReLU, random(3, 5, 17, 19, dtype=np.float32))
