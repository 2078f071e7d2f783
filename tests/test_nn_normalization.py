"""Batch norm and group norm against loops, PyTorch, differences and their own twins."""

import math

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
from nn.ops.normalization import BatchNorm, GroupNorm

TRAINING = {"running_mean": None, "running_var": None, "training": True, "momentum": 0.1}


def inputs(*shape, dtype=np.float64):
    channels = shape[1]
    return (
        (3 * random(*shape) + 2).astype(dtype),
        random(channels, seed=1, dtype=dtype),
        random(channels, seed=2, dtype=dtype),
    )


def test_training_is_the_formula_written_as_loops():
    x, weight, bias = inputs(3, 2, 2, 5)
    out = run(BatchNorm, x, weight, bias, eps=0.01, **TRAINING)[0]
    for c in range(2):
        values = [x[n, c, i, j] for n in range(3) for i in range(2) for j in range(5)]
        mean = sum(values) / 30
        variance = sum((value - mean) ** 2 for value in values) / 30
        for n, i, j in np.ndindex(3, 2, 5):
            xhat = (x[n, c, i, j] - mean) / math.sqrt(variance + 0.01)
            assert out[n, c, i, j] == pytest.approx(weight[c] * xhat + bias[c], abs=1e-12)


def test_running_statistics_follow_the_batch_with_the_unbiased_variance():
    x, weight, bias = inputs(2, 3, 4)
    mean, variance = np.full(3, 5.0), np.full(3, 7.0)
    F.batch_norm(nn.Tensor(x), mean, variance, weight, bias, training=True, momentum=0.25)
    values = x.transpose(1, 0, 2).reshape(3, -1)
    np.testing.assert_allclose(mean, 0.75 * 5 + 0.25 * values.mean(1))
    np.testing.assert_allclose(variance, 0.75 * 7 + 0.25 * values.var(1, ddof=1))


def test_evaluation_uses_the_running_statistics_and_leaves_them_alone():
    x, weight, bias = inputs(2, 3, 4)
    mean, variance = random(3, seed=3), random(3, seed=4) ** 2
    kept = mean.copy(), variance.copy()
    out = F.batch_norm(nn.Tensor(x), mean, variance, weight, bias).data
    for c in range(3):
        expected = (x[:, c] - mean[c]) / math.sqrt(variance[c] + 1e-5) * weight[c] + bias[c]
        np.testing.assert_allclose(out[:, c], expected)
    np.testing.assert_array_equal((mean, variance), kept)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 7), (3, 4, 5, 6)])
def test_as_pytorch(training, shape):
    torch = pytest.importorskip("torch")
    arrays = inputs(*shape, dtype=np.float32)
    options = {"training": training, "momentum": 0.3, "eps": 1e-3}
    ours = random(shape[1], seed=5, dtype=np.float32), np.full(shape[1], 2, np.float32)
    theirs = [torch.tensor(array) for array in ours]
    expected = torch_run(
        lambda x, w, b: torch.nn.functional.batch_norm(x, *theirs, w, b, **options), *arrays
    )
    actual = run(BatchNorm, *arrays, running_mean=ours[0], running_var=ours[1], **options)
    assert_close(actual, expected, 2e-5)
    assert_close(ours, [tensor.numpy() for tensor in theirs], 1e-6)


def test_gradients():
    x, weight, bias = leaves(*inputs(3, 4, 5, 2))
    statistics = np.zeros(4), np.full(4, 2.0)
    for training in (True, False):
        nn.gradcheck(
            lambda *each, t=training: F.batch_norm(each[0], *statistics, *each[1:], training=t),
            [x, weight, bias],
        )
    nn.gradcheck(lambda x: F.batch_norm(x, *statistics, training=False), [x])
    nn.gradcheck(lambda *each: F.group_norm(each[0], 2, *each[1:]), [x, weight, bias])


def test_frozen_parameters_change_nothing_for_the_input():
    x, weight, bias = inputs(2, 3, 4, 4)
    options = dict(running_mean=random(3), running_var=random(3) ** 2, training=False)
    options |= {"momentum": 0.1, "eps": 1e-5}
    everything = run(BatchNorm, x, weight, bias, **options)
    operation = BatchNorm()
    operation.needs_grad = (True, False, False)
    operation.forward(x, weight, bias, **options)
    assert operation.planes is None, "a frozen batch norm should not keep its input"
    grad_input, *rest = operation.backward(random(*x.shape, seed=99))
    assert_close([grad_input], everything[1:2], 1e-12)
    assert rest == [None, None]


@pytest.mark.parametrize("size", [1, 5, 63, 64, 65, 150])
def test_twins(size):
    x, weight, bias = inputs(3, 5, size)
    assert_twin_agrees(BatchNorm, x, weight, bias, eps=1e-5, **TRAINING)
    evaluation = dict(running_mean=random(5), running_var=random(5) ** 2, training=False)
    assert_twin_agrees(BatchNorm, x, weight, bias, eps=1e-5, momentum=0.1, **evaluation)


def test_threads():
    arrays = inputs(5, 7, 13, 11, dtype=np.float32)
    assert_threads_agree(BatchNorm, *arrays, eps=1e-5, **TRAINING)
    assert_threads_agree(GroupNorm, *arrays, num_groups=7, eps=1e-5)


def test_a_large_mean_does_not_drown_the_variance():
    x = (random(4, 2, 50, 50) + 4096).astype(np.float32)
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    out = run(BatchNorm, x, ones, zeros, eps=0.0, **TRAINING)[0]
    exact = x.astype(np.float64)
    exact = (exact - exact.mean((0, 2, 3), keepdims=True)) / exact.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(out, exact, atol=1e-3)
    assert abs(out.std() - 1) < 1e-4


def test_gradients_that_are_views():
    x, weight, bias = leaves(*inputs(2, 3, 4, 4))
    out = F.batch_norm(x, None, None, weight, bias, training=True)
    out.permute(0, 2, 3, 1).sum(dim=0).sum().backward()
    np.testing.assert_allclose(bias.grad, 32)
    np.testing.assert_allclose(x.grad, 0, atol=1e-12)


def test_group_norm_is_the_formula_written_as_loops():
    x, weight, bias = inputs(2, 6, 3, 2)
    out = F.group_norm(nn.Tensor(x), 3, weight, bias, eps=0.02).data
    for n, g in np.ndindex(2, 3):
        group = x[n, 2 * g : 2 * g + 2]
        for c in (2 * g, 2 * g + 1):
            xhat = (x[n, c] - group.mean()) / math.sqrt(group.var() + 0.02)
            np.testing.assert_allclose(out[n, c], weight[c] * xhat + bias[c])


@pytest.mark.parametrize("shape, groups", [((3, 4), 2), ((2, 6, 5), 3), ((2, 4, 3, 5), 1)])
def test_group_norm_as_pytorch(shape, groups):
    torch = pytest.importorskip("torch")
    arrays = inputs(*shape, dtype=np.float32)
    expected = torch_run(lambda x, w, b: torch.nn.functional.group_norm(x, groups, w, b), *arrays)
    assert_close(run(GroupNorm, *arrays, num_groups=groups, eps=1e-5), expected, 2e-5)


def test_group_norm_twin():
    assert_twin_agrees(GroupNorm, *inputs(3, 6, 7, 5), num_groups=2, eps=1e-5)


def test_no_images():
    x = np.empty((0, 3, 2, 2), np.float32)
    statistics = np.zeros(3), np.ones(3)
    assert F.batch_norm(nn.Tensor(x), *statistics).shape == (0, 3, 2, 2)
    assert F.group_norm(nn.Tensor(x), 3).shape == (0, 3, 2, 2)


def test_errors_show_the_shapes():
    x = nn.Tensor(np.zeros((2, 3, 4), np.float32))
    with pytest.raises(ValueError, match=r"weight \(2,\) does not fit the 3 channels"):
        F.batch_norm(x, None, None, np.ones(2), training=True)
    with pytest.raises(ValueError, match=r"more than one value per channel, got \(1, 3\)"):
        F.batch_norm(nn.Tensor(np.zeros((1, 3))), None, None, training=True)
    with pytest.raises(ValueError, match="needs running_mean"):
        F.batch_norm(x, None, None)
    with pytest.raises(ValueError, match="2 groups do not divide 3 channels"):
        F.group_norm(x, 2)


def test_with_relu_is_batch_norm_then_relu_both_ways():
    x, weight, bias = inputs(3, 5, 4, 6, dtype=np.float32)
    statistics = random(5, seed=5, dtype=np.float32), np.full(5, 2, np.float32)
    for training in (True, False):
        results = []
        for relu in (True, False):
            tensors = leaves(x, weight, bias)
            copies = [array.copy() for array in statistics]
            out = F.batch_norm(tensors[0], *copies, *tensors[1:], training=training, relu=relu)
            out = out if relu else F.relu(out)
            out.backward(random(*out.shape, seed=99, dtype=np.float32))
            results.append([out.data, *(tensor.grad for tensor in tensors), *copies])
        assert (results[0][0] == 0).any() and (results[0][0] > 0).any()
        assert_close(*results, 1e-6)


def test_with_relu_gradients_twins_and_threads():
    arrays = inputs(3, 5, 7, 3)
    options = dict(eps=1e-5, relu=True, **TRAINING)
    nn.gradcheck(
        lambda *each: F.batch_norm(each[0], None, None, *each[1:], training=True, relu=True),
        leaves(*arrays),
    )
    assert_twin_agrees(BatchNorm, *arrays, **options)
    assert_threads_agree(BatchNorm, *(array.astype(np.float32) for array in arrays), **options)


def test_a_nan_passes_the_floor_of_the_relu():
    x, weight, bias = inputs(2, 3, 4, 4)
    x[0, 1, 2, 3] = np.nan
    out, grad_input, *_ = run(BatchNorm, x, weight, bias, eps=1e-5, relu=True, **TRAINING)
    for array in (out, grad_input):
        np.testing.assert_array_equal(np.isnan(array).all((0, 2, 3)), [False, True, False])


def test_sequential_fuses_batch_norm_and_relu_unless_a_hook_wants_to_see_between():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ReLU6())
    images = nn.Tensor(random(2, 3, 6, 6, dtype=np.float32))
    fused = model(images)
    assert type(fused.node.inputs[0].node.operation) is BatchNorm
    seen = []
    hook = model[1].register_forward_hook(lambda *call: seen.append(call[2].data.min()))
    plain = model(images)
    hook.remove()
    assert len(seen) == 1 and seen[0] < 0
    np.testing.assert_allclose(fused.data, plain.data, atol=1e-6)


def test_l2_norm_gives_every_pixel_the_length_of_its_weight():
    x = nn.Tensor(np.float64([[3, 0], [4, 0]]).reshape(1, 2, 1, 2))
    np.testing.assert_allclose(nn.L2Norm(2)(x).data.ravel(), [12, 0, 16, 0])
