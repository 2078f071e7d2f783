"""Linear and MatMul: values and gradients against NumPy's own product, and their errors."""

import numpy as np
import pytest

from nn.ops.linear import Linear, MatMul


def run(operation, arrays, grad_output, needs_grad=None):
    operation.needs_grad = needs_grad or (True,) * len(arrays)
    return operation.forward(*arrays), operation.backward(grad_output)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-3), ("float64", 1e-11)])
@pytest.mark.parametrize("rows, IN, OUT", [(0, 5, 3), (1, 1, 1), (7, 49, 81), (130, 33, 100)])
def test_linear(rows, IN, OUT, dtype, tolerance):
    rng = np.random.default_rng(rows)
    shapes = (rows, IN), (OUT, IN), (OUT,), (rows, OUT)
    x, weight, bias, grad = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    out, grads = run(Linear(), (x, weight, bias), grad)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, x @ weight.T + bias, atol=tolerance)
    for actual, expected in zip(grads, (grad @ weight, grad.T @ x, grad.sum(0)), strict=True):
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, atol=tolerance)


def test_linear_of_many_axes_without_bias_and_only_the_gradients_asked_for():
    rng = np.random.default_rng(0)
    x, weight, grad = (
        rng.standard_normal((2, 3, 5)),
        rng.standard_normal((4, 5)),
        np.ones((2, 3, 4)),
    )
    out, (grad_x, grad_weight) = run(Linear(), (x, weight), grad, needs_grad=(True, False))
    np.testing.assert_allclose(out, x @ weight.T)
    np.testing.assert_allclose(grad_x, np.broadcast_to(weight.sum(0), x.shape))
    assert grad_weight is None


def test_transposed_input_is_copied_not_misread():
    x = np.arange(12.0).reshape(3, 4).T
    weight = np.arange(6.0).reshape(2, 3)[:, ::-1]
    out, grads = run(Linear(), (x, weight), np.ones((2, 4)).T)
    np.testing.assert_allclose(out, x @ weight.T)
    np.testing.assert_allclose(grads[1], np.ones((4, 2)).T @ x)


@pytest.mark.parametrize(
    "a, b", [((3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 1))]
)
def test_matmul(a, b):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(a), rng.standard_normal(b)
    grad = rng.standard_normal((a @ b).shape)
    out, (grad_a, grad_b) = run(MatMul(), (a, b), grad)
    np.testing.assert_allclose(out, a @ b)
    # For an argument that was broadcast: one gradient per copy, which the engine adds up.
    np.testing.assert_allclose(grad_a, grad @ b.swapaxes(-1, -2))
    np.testing.assert_allclose(grad_b, a.swapaxes(-1, -2) @ grad)


@pytest.mark.parametrize(
    "operation, shapes",
    [
        (Linear, ((3, 4), (5, 6))),
        (Linear, ((3, 4), (5, 4), (4,))),
        (MatMul, ((3, 4), (5, 6))),
        (MatMul, ((4,), (4, 6))),
    ],
)
def test_shapes_that_do_not_go_together_are_named(operation, shapes):
    with pytest.raises(ValueError) as error:
        run(operation(), [np.zeros(shape) for shape in shapes], None)
    assert str(shapes[-1]) in str(error.value) and str(shapes[-2]) in str(error.value)
