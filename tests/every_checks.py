"""What every row of the tables of operations and layers has to pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from nn_checks import leaves, random

import nn
from nn.tensor import Tensor, recording


def spread(*shape):
    """Distinct values from -8 to 8 in random order, none of them near 0, 3 or 6."""
    count = math.prod(shape)
    values = (np.arange(count) + 0.37) * (16 / max(count, 1)) - 8
    return np.random.default_rng(count).permutation(values).reshape(shape)


def positive(*shape):
    return np.abs(spread(*shape)) / 4 + 0.3


@dataclass
class Row:
    """One way to call a function.

    Attributes:
        arrays: from the number of images to the arrays that get a gradient, the images first.
        args, options: what follows them; arrays in there get no gradient.
        ours, theirs: the functions, if they are not those of the name in ``nn.functional`` and in
            PyTorch; ``theirs`` False where PyTorch has none.
        empty: what comes out for no images, if it is not what PyTorch says; ValueError if that.
        nan_gradient: whether the gradients are NaN where PyTorch's are, if the input has a NaN.
    """

    arrays: Callable = lambda N: [spread(N, 4, 5, 6)]
    args: tuple = ()
    options: dict = field(default_factory=dict)
    ours: Callable | None = None
    theirs: Callable | bool | None = None
    empty: float | type | None = None
    nan_gradient: bool = True


def outputs_of(result) -> list:
    return list(result) if isinstance(result, tuple | list) else [result]


def run(function, arrays, args, options) -> list[np.ndarray]:
    """Outputs, then the gradient of each array."""
    tensors = leaves(*arrays)
    outputs = outputs_of(function(*tensors, *args, **options))
    total = sum(((out * weight_of(out)).sum() for out in outputs), nn.Tensor(0.0))
    total.backward()
    return [out.data for out in outputs] + [tensor.grad for tensor in tensors]


def torch_run(function, arrays, args, options, backward=True) -> list[np.ndarray]:
    import torch

    def theirs(value):
        return torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value

    tensors = [theirs(array).requires_grad_() for array in arrays]
    args = [theirs(value) for value in args]
    options = {name: theirs(value) for name, value in options.items()}
    outputs = outputs_of(function(*tensors, *args, **options))
    values = [out.detach().numpy() for out in outputs]
    if not backward:
        return values
    sum((out * torch.tensor(weight_of(out))).sum() for out in outputs).backward()
    return values + [tensor.grad.numpy() for tensor in tensors]


def weight_of(output) -> np.ndarray:
    shape = tuple(output.shape)
    dtype = np.float32 if "float32" in str(output.dtype) else np.float64
    return random(*shape, seed=99, dtype=dtype) if shape else dtype(1.5)


def check_gradients(ours, row: Row):
    nn.gradcheck(lambda *x: ours(*x, *row.args, **row.options), leaves(*row.arrays(2)))


def check_torch(ours, theirs, row: Row):
    pytest.importorskip("torch")
    expected = torch_run(theirs, row.arrays(2), row.args, row.options)
    for own, other in zip(run(ours, row.arrays(2), row.args, row.options), expected, strict=True):
        assert own.shape == other.shape
        np.testing.assert_allclose(own, other, rtol=1e-7, atol=1e-9)


def check_no_images(ours, theirs, row: Row):
    arrays = row.arrays(0)
    if row.empty is ValueError:
        with pytest.raises(ValueError, match="^[^\n]*$"):
            run(ours, arrays, row.args, row.options)
        return
    found = run(ours, arrays, row.args, row.options)
    for array, grad in zip(arrays, found[-len(arrays) :], strict=True):
        assert grad.shape == array.shape and not grad.any()
    if row.empty is not None:
        assert found[0] == row.empty
    elif theirs:
        pytest.importorskip("torch")
        expected = torch_run(theirs, arrays, row.args, row.options, backward=False)
        for own, other in zip(found, expected, strict=False):
            assert own.shape == other.shape


def check_nan(ours, theirs, row: Row):
    """A NaN spoils what depends on it, forward and backward, and nothing else."""
    arrays = row.arrays(2)
    if not theirs:
        arrays[0][...] = np.nan
        assert np.isnan(run(ours, arrays, row.args, row.options)[0]).any()
        return
    pytest.importorskip("torch")
    arrays[0].reshape(-1)[arrays[0].size // 3] = np.nan
    found = run(ours, arrays, row.args, row.options)
    expected = torch_run(theirs, arrays, row.args, row.options)
    count = len(found) if row.nan_gradient else len(found) - len(arrays)
    for own, other in zip(found[:count], expected[:count], strict=True):
        np.testing.assert_array_equal(np.isnan(own), np.isnan(other))


def check_types_and_shapes(ours, row: Row):
    """float32 stays; an operation that foretells the shape of its output foretells it right."""
    arrays = [array.astype(np.float32) for array in row.arrays(2)]
    for array in run(ours, arrays, row.args, row.options):
        assert array.dtype == np.float32

    def record(operation, tensors, options):
        call = operation()
        call.needs_grad = (False,) * len(tensors)
        output = Tensor(call.forward(*(tensor.data for tensor in tensors), **options))
        if operation.output_shape is not None:
            shapes = [tensor.shape for tensor in tensors]
            assert tuple(operation.output_shape(*shapes, **options)) == output.shape
        return output

    with recording(record):
        ours(*leaves(*arrays), *row.args, **row.options)


def check(what: str, ours, theirs, row: Row):
    if what == "gradients":
        check_gradients(ours, row)
    elif what == "torch":
        if not theirs:
            pytest.skip("PyTorch has no such function")
        check_torch(ours, theirs, row)
    elif what == "no images":
        check_no_images(ours, theirs, row)
    elif what == "nan":
        check_nan(ours, theirs, row)
    elif what == "types and shapes":
        check_types_and_shapes(ours, row)


CHECKS = ["gradients", "torch", "no images", "nan", "types and shapes"]
