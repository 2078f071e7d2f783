"""Losses against loops, PyTorch and differences."""

import math

import numpy as np
import pytest
from nn_checks import assert_close, leaves, random, run, torch_run

import nn
from nn import functional as F
from nn.ops.loss import BinaryCrossEntropyWithLogits, CrossEntropy, SmoothL1

REDUCTIONS = ["mean", "sum", "none"]


def labels(*shape, classes=4, ignore=True):
    target = np.random.default_rng(0).integers(0, classes, shape)
    if ignore:
        target.reshape(-1)[1::3] = -100
    return target


def test_cross_entropy_by_hand():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    x = nn.Tensor(np.log(probabilities), requires_grad=True)
    loss = F.cross_entropy(x, np.array([1, 2]))
    assert loss.item() == pytest.approx(-(math.log(0.25) + math.log(0.7)) / 2)
    loss.backward()
    np.testing.assert_allclose(x.grad, (probabilities - [[0, 1, 0], [0, 0, 1]]) / 2)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 7), (2, 4, 3, 2)])
@pytest.mark.parametrize(
    "weighted, smoothing", [(False, 0.0), (True, 0.0), (False, 0.1), (True, 0.3)]
)
def test_cross_entropy_as_pytorch(reduction, shape, weighted, smoothing):
    torch = pytest.importorskip("torch")
    x, target = random(*shape), labels(shape[0], *shape[2:])
    weight = np.array([0.5, 2, 1, 3]) if weighted else None
    options = {"reduction": reduction, "label_smoothing": smoothing}
    expected = torch_run(
        lambda x: torch.nn.functional.cross_entropy(
            x, torch.tensor(target), None if weight is None else torch.tensor(weight), **options
        ),
        x,
    )
    assert_close(run(CrossEntropy, x, target=target, weight=weight, **options), expected, 1e-10)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_as_pytorch(reduction, weighted):
    torch = pytest.importorskip("torch")
    x, target = 3 * random(5, 3), np.random.default_rng(1).random((5, 3))
    options = {}
    if weighted:
        options = {"weight": random(5, 1, seed=3) ** 2, "pos_weight": np.array([1.0, 3, 0.5])}
    expected = torch_run(
        lambda x, t: torch.nn.functional.binary_cross_entropy_with_logits(
            x, t, reduction=reduction, **{k: torch.tensor(v) for k, v in options.items()}
        ),
        x,
        target,
    )
    actual = run(BinaryCrossEntropyWithLogits, x, target, reduction=reduction, **options)
    assert_close(actual, expected, 1e-10)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("beta", [0.0, 1 / 9, 1.0, 2.5])
def test_smooth_l1_as_pytorch(reduction, beta):
    torch = pytest.importorskip("torch")
    x, target = random(5, 4), random(5, 4, seed=1)
    expected = torch_run(
        lambda x, t: torch.nn.functional.smooth_l1_loss(x, t, reduction=reduction, beta=beta),
        x,
        target,
    )
    assert_close(run(SmoothL1, x, target, reduction=reduction, beta=beta), expected, 1e-10)


def test_smooth_l1_by_hand():
    x = nn.Tensor(np.array([0.0, 0.1, -0.5, 3.0]), requires_grad=True)
    loss = F.smooth_l1_loss(x, np.zeros(4), reduction="none", beta=0.5)
    np.testing.assert_allclose(loss.data, [0, 0.01, 0.25, 2.75])
    loss.sum().backward()
    np.testing.assert_allclose(x.grad, [0, 0.2, -1, 1])


def test_gradients():
    target, weight = labels(3, 2, 5), np.array([0.5, 2, 1, 3])
    for reduction in REDUCTIONS:
        for smoothing in (0.0, 0.2):
            nn.gradcheck(
                lambda x, r=reduction, s=smoothing: F.cross_entropy(
                    x, target, weight, reduction=r, label_smoothing=s
                ),
                leaves(random(3, 4, 2, 5)),
            )
        nn.gradcheck(
            lambda x, t, r=reduction: F.binary_cross_entropy_with_logits(
                x, t, reduction=r, pos_weight=np.array([1.0, 3, 0.5])
            ),
            leaves(random(5, 3), random(5, 3, seed=1) ** 2),
        )
        # Differences of 0.3 and more, and none within 0.1 of the seam at 0.7.
        x = np.array([[0.3, -0.4, 0.55], [0.9, -1.5, 2.0]])
        nn.gradcheck(
            lambda x, t, r=reduction: F.smooth_l1_loss(x, t, reduction=r, beta=0.7),
            leaves(x + random(2, 3), random(2, 3)),
        )
        nn.gradcheck(
            lambda x, t, r=reduction: F.smooth_l1_loss(x, t, reduction=r, beta=0.0),
            leaves(x + random(2, 3), random(2, 3)),
        )


def test_float32_stays_float32():
    x = nn.Tensor(random(3, 4, dtype=np.float32), requires_grad=True)
    integers = np.array([[0, 1, 0, 1]] * 3)
    for loss in (
        F.cross_entropy(x, np.array([0, 1, 2]), np.ones(4), label_smoothing=0.1),
        F.binary_cross_entropy_with_logits(x, integers, np.ones(4), pos_weight=np.ones(4)),
        F.smooth_l1_loss(x, integers, beta=0.1),
    ):
        assert loss.dtype == np.float32 and loss.shape == ()


def test_extreme_logits():
    (x,) = leaves(np.array([-1e4, -80.0, 80.0, 1e4]))
    with np.errstate(all="raise", under="ignore"):
        loss = F.binary_cross_entropy_with_logits(x, np.array([1.0, 0, 1, 0]), reduction="none")
        np.testing.assert_allclose(loss.data, [1e4, 0, 0, 1e4], atol=1e-30)
        loss.sum().backward()
        np.testing.assert_allclose(x.grad, [-1, 0, 0, 1], atol=1e-30)
        (x,) = leaves(np.array([[1e4, -1e4]]))
        assert F.cross_entropy(x, np.array([1])).item() == 2e4


def test_the_mean_of_nothing_is_zero():
    (x,) = leaves(np.ones((2, 3)))
    loss = F.cross_entropy(x, np.array([-100, -100]))
    loss.backward()
    assert loss.item() == 0
    np.testing.assert_array_equal(x.grad, 0)
    for loss in (F.smooth_l1_loss, F.binary_cross_entropy_with_logits):
        (x,) = leaves(np.empty((0, 4)))
        result = loss(x, np.empty((0, 4)))
        result.backward()
        assert result.item() == 0 and x.grad.shape == (0, 4)
    assert F.cross_entropy(nn.Tensor(np.empty((0, 3))), np.empty(0, int)).item() == 0


def test_errors():
    x = nn.Tensor(np.zeros((2, 3)))
    for wrong in (3, -1, 7):
        with pytest.raises(ValueError, match=f"label {wrong} is not one of the 3 classes, 0 to 2"):
            F.cross_entropy(x, np.array([0, wrong]))
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(3,\)"):
        F.cross_entropy(x, np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="targets are integers, these are float64"):
        F.cross_entropy(x, np.zeros(2))
    with pytest.raises(ValueError, match=r"weight \(2,\) for 3 classes"):
        F.cross_entropy(x, np.array([0, 1]), np.ones(2))
    with pytest.raises(ValueError, match="reduction is 'mean', 'sum' or 'none', not 'avg'"):
        F.smooth_l1_loss(x, x, reduction="avg")
    with pytest.raises(ValueError, match=r"input \(2, 3\) and target \(3,\) differ"):
        F.smooth_l1_loss(x, np.zeros(3))
    with pytest.raises(ValueError, match="beta must not be negative"):
        F.smooth_l1_loss(x, x, beta=-1.0)
    with pytest.raises(ValueError, match=r"must broadcast to \(2, 3\)"):
        F.binary_cross_entropy_with_logits(x, x, weight=np.ones((5, 1, 1)))
