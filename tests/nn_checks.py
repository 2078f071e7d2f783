"""What the tests of every operation share: run it, in two ways, and compare."""

import numpy as np
import pytest

import nn


def random(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def run(operation_class, *arrays, **options):
    """Forward, then backward with a random gradient: [output, gradient of each array]."""
    operation = operation_class()
    operation.needs_grad = (True,) * len(arrays)
    output = operation.forward(*arrays, **options)
    gradients = operation.backward(random(*output.shape, seed=99, dtype=output.dtype))
    return [output, *(gradients if isinstance(gradients, tuple) else (gradients,))]


def assert_close(left, right, tolerance):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        if one is None:
            assert other is None
        else:
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def assert_twin_agrees(operation_class, *arrays, **options):
    """The kernel and its NumPy twin give the same numbers, in float32 and float64."""
    for dtype, tolerance in ((np.float32, 3e-5), (np.float64, 1e-11)):
        cast = [array.astype(dtype) for array in arrays]
        with nn.kernels.twins():
            expected = run(operation_class, *cast, **options)
        assert_close(run(operation_class, *cast, **options), expected, tolerance)


def assert_threads_agree(operation_class, *arrays, **options):
    """One thread and several give the same bits."""
    before = nn.get_num_threads()
    if before < 2:
        pytest.skip("this machine has one core")
    several = run(operation_class, *arrays, **options)
    nn.set_num_threads(1)
    try:
        one = run(operation_class, *arrays, **options)
    finally:
        nn.set_num_threads(before)
    for left, right in zip(several, one, strict=True):
        assert (left is None and right is None) or left.tobytes() == right.tobytes()


def leaves(*arrays):
    return [nn.Tensor(array, requires_grad=True) for array in arrays]


def torch_run(function, *arrays):
    """PyTorch's answer in the form of ``run``: [output, gradient of each array]."""
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    output = function(*tensors)
    grad = random(*output.shape, seed=99, dtype=output.detach().numpy().dtype)
    gradients = torch.autograd.grad(output, tensors, torch.tensor(grad))
    return [output.detach().numpy(), *(gradient.numpy() for gradient in gradients)]
