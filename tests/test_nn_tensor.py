"""The autograd engine: graphs of every shape, broadcasting, and what is an error."""

import gc
import weakref

import numpy as np
import pytest

import nn
from nn import functional as F
from nn.ops.operation import Operation, Part, are_tiles
from nn.tensor import _total, apply


def random(*shape, requires_grad=True, seed=0):
    rng = np.random.default_rng([seed, *shape])
    return nn.Tensor(rng.standard_normal(shape), requires_grad=requires_grad)


def positive(*shape, seed=0):
    return nn.Tensor(np.random.default_rng(seed).uniform(0.5, 2.0, shape), requires_grad=True)


ONE_LINERS = {
    "add broadcast": (lambda a, b: a + b, (random(3, 4), random(4))),
    "add a column": (lambda a, b: a + b, (random(3, 4), random(3, 1))),
    "add to scalar": (lambda a, b: a + b, (random(2, 3), random())),
    "subtract": (lambda a, b: a - b, (random(2, 1, 4), random(3, 1))),
    "multiply": (lambda a, b: a * b, (random(3, 4), random(3, 1, seed=1))),
    "multiply by itself": (lambda a: a * a, (random(5),)),
    "divide": (lambda a, b: a / b, (random(3, 4), positive(4))),
    "reversed": (lambda a: 2.0 / a - a * 3.0 + (1.0 - a), (positive(3, 2),)),
    "negate": (lambda a: -a, (random(3),)),
    "power": (lambda a: a**3 + a**-0.5, (positive(4),)),
    "exp, log, abs": (lambda a: a.exp() + a.log() + (-a).abs(), (positive(4),)),
    "matmul": (lambda a, b: a @ b, (random(3, 4), random(4, 2))),
    "reshape": (lambda a: a.reshape(2, -1) * a.reshape((2, 6)), (random(3, 4),)),
    "flatten": (lambda a: a.flatten(1) ** 2, (random(2, 3, 2),)),
    "permute": (lambda a, b: a.permute(1, 2, 0) * b, (random(2, 3, 4), random(3, 4, 2))),
    "transpose": (lambda a, b: a.transpose(-1, 0) * b, (random(2, 3, 4), random(4, 3, 2))),
    "transpose all": (lambda a, b: a.T * b, (random(2, 3), random(3, 2))),
    "sum of all": (lambda a: a.sum() * a, (random(3, 4),)),
    "sum of one": (lambda a: a.sum(1) ** 2, (random(3, 4),)),
    "sum of two, kept": (lambda a: a.sum((0, 2), keepdim=True) * a, (random(2, 3, 4),)),
    "mean": (lambda a: a.mean() * a.mean(0) * a.mean((0, 1), keepdim=True), (random(3, 4),)),
    "max": (lambda a: a.max(1) * a.max(), (random(3, 4),)),
    "max kept": (lambda a: a.max(0, keepdim=True) * a, (random(3, 4),)),
    "slice": (lambda a: a[1:, ::2] * 3, (random(4, 5),)),
    "row": (lambda a: a[-1] * a[0], (random(4, 5),)),
    "mask": (lambda a: a[np.array([True, False, True])], (random(3, 2),)),
    "repeated index": (lambda a: a[np.array([0, 2, 2, 0, 2])] ** 2, (random(3, 2),)),
    "pairs": (lambda a: a[np.array([0, 1, 1]), np.array([2, 0, 0])] ** 2, (random(2, 3),)),
    "cat": (lambda a, b: F.cat([a, b, a], dim=1) ** 2, (random(2, 3), random(2, 1))),
}


@pytest.mark.parametrize("name", ONE_LINERS)
def test_gradients(name):
    function, inputs = ONE_LINERS[name]
    assert nn.gradcheck(function, inputs)


def test_of_equal_extremes_the_first_gets_the_gradient():
    for name, value in (("max", 2.0), ("min", 1.0)):
        x = nn.Tensor(np.array([[1.0, 2, 2], [2, 1, 1]]), requires_grad=True)
        out = getattr(x, name)((0, 1))
        out.backward()
        assert out.item() == value and x.grad.sum() == 1
        assert x.grad.reshape(-1)[list(x.data.reshape(-1)).index(value)] == 1


def test_a_deviation_of_nothing_has_a_gradient_of_nothing():
    x = nn.Tensor(np.full((2, 3), 7.0), requires_grad=True)
    x.std(1).sum().backward()
    np.testing.assert_array_equal(x.grad, 0)


def test_sizes():
    x = nn.Tensor(np.zeros((2, 3, 4)))
    assert (x.size(), x.size(1), x.size(-1)) == ((2, 3, 4), 3, 4)
    assert (x.dim(), x.ndim, x.numel(), len(x)) == (3, 3, 24, 2)


def test_gradcheck_sees_what_a_sum_of_outputs_cannot():
    class WrongReverse(Operation):
        """Reverses forward but not backward; the sum of its outputs has the right gradient."""

        def forward(self, input):
            return input[::-1]

        def backward(self, grad_output):
            return grad_output

    with pytest.raises(nn.GradientError, match="backward gives .* differences give"):
        nn.gradcheck(lambda a: apply(WrongReverse, a), [random(5)])


def test_gradcheck_refuses_what_it_cannot_check():
    with pytest.raises(ValueError, match="float32, not float64"):
        nn.gradcheck(lambda a: a, [nn.Tensor(np.ones(2, np.float32), requires_grad=True)])
    with pytest.raises(ValueError, match="no input requires a gradient"):
        nn.gradcheck(lambda a: a, [nn.Tensor(np.ones(2))])


def test_gradcheck_refuses_nan():
    with pytest.raises(nn.GradientError):
        nn.gradcheck(lambda a: a * np.nan, [random(2)])


def test_diamond():
    x = nn.Tensor(np.array(3.0), requires_grad=True)
    left, right = x * 2.0, x * x
    (left * right + left).backward()
    assert x.grad == pytest.approx(6 * 9 + 2)


def test_chain_of_2000_nodes_needs_no_recursion():
    x = nn.Tensor(np.array(1.0), requires_grad=True)
    y = x
    for _ in range(2000):
        y = y * 1.001
    y.backward()
    assert x.grad == pytest.approx(1.001**2000)


def test_gradients_accumulate_until_cleared():
    x = nn.Tensor([1.0, 2.0], requires_grad=True)
    for times in (1, 2, 3):
        (x * 3.0).sum().backward()
        np.testing.assert_array_equal(x.grad, np.full(2, 3.0 * times, np.float32))


def test_a_leaf_owns_its_gradient():
    x = nn.Tensor(np.zeros(3), requires_grad=True)
    y = nn.Tensor(np.zeros(3), requires_grad=True)
    (x + y).sum().backward()
    x.grad *= 5
    np.testing.assert_array_equal(y.grad, np.ones(3))


def test_second_backward_is_an_error():
    x = random(3)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="already used"):
        y.backward()


def test_graph_is_freed_by_backward_and_by_forgetting():
    x = random(3)
    middle = x * 2
    alive = weakref.ref(middle)
    loss = (middle * middle).sum()
    del middle
    assert alive() is not None
    loss.backward()
    gc.collect()
    assert alive() is None


def test_no_grad():
    x = random(3)
    with nn.no_grad():
        assert not nn.is_grad_enabled()
        y = x * 2
    assert nn.is_grad_enabled() and not y.requires_grad
    with pytest.raises(RuntimeError, match="does not require"):
        y.sum().backward()


def test_flatten_without_elements():
    assert nn.Tensor(np.zeros((0, 3, 2))).flatten(1).shape == (0, 6)


def test_detach_cuts_the_graph():
    x = nn.Tensor([2.0], requires_grad=True)
    (x * x.detach()).sum().backward()
    np.testing.assert_array_equal(x.grad, [2.0])


def test_backward_needs_a_gradient_of_the_right_shape():
    y = random(3) * 2
    with pytest.raises(RuntimeError, match="one element"):
        y.backward()
    with pytest.raises(ValueError, match=r"\(2,\) for a tensor of shape \(3,\)"):
        y.backward(np.ones(2))


def test_dtypes():
    assert nn.Tensor([1, 2]).dtype == np.float32
    assert nn.Tensor(1.5).dtype == np.float32
    assert nn.Tensor(np.ones(2)).dtype == np.float64
    assert nn.Tensor(np.ones(2, np.float16)).dtype == np.float32
    assert nn.Tensor(np.ones(2, np.int64)).dtype == np.int64
    single = nn.Tensor(np.ones(2, np.float32), requires_grad=True)
    for result in (single * 2, 2 * single, single / 3.0, 1 - single, single**2, single.mean()):
        assert result.dtype == np.float32
    (single * np.ones(2)).sum().backward()
    assert single.grad.dtype == np.float32
    with pytest.raises(ValueError, match="floating point"):
        nn.Tensor(np.ones(2, np.int64), requires_grad=True)
    with pytest.raises(TypeError, match="numbers"):
        nn.Tensor(np.array(["a"]))


def test_arrays_on_the_left():
    x = nn.Tensor(np.ones(3, np.float32), requires_grad=True)
    y = np.arange(3, dtype=np.float32) - x
    assert isinstance(y, nn.Tensor)
    y.backward(np.ones(3, np.float32))
    np.testing.assert_array_equal(x.grad, -np.ones(3))


def test_a_wrong_gradient_shape_is_our_own_error():
    class Wrong(Operation):
        def forward(self, input):
            return input

        def backward(self, grad_output):
            return grad_output[:1]

    with pytest.raises(AssertionError, match="Wrong.backward"):
        apply(Wrong, random(3)).backward(np.ones(3))


def test_slices_hand_back_parts_that_add_up_with_everything_else():
    """Twice the same slice, overlapping ones, one that is not used, and the whole of the array."""
    x = random(3, 6, 2)
    weights = [random(3, 6, 2, seed=seed).detach() for seed in range(4)]

    def function(x):
        left, right, middle = x[:, :3], x[:, 3:], x[:, 1:5]
        x[:, :2]
        total = (left * weights[0][:, :3]).sum() + (right * right * weights[1][:, 3:]).sum()
        total = total + (middle * weights[2][:, 1:5]).sum() + (left * weights[3][:, :3]).sum()
        return total + (x * x).sum()

    nn.gradcheck(function, [x])


def test_a_gradient_that_arrives_whole_is_not_written_to():
    x = random(4)
    grad = random(4, seed=1).data
    kept = grad.copy()
    same = x.reshape(4)
    (same + x).backward(grad)
    np.testing.assert_array_equal(grad, kept)
    np.testing.assert_array_equal(x.grad, 2 * kept)


@pytest.mark.parametrize(
    "indices, covered",
    [
        (np.s_[:, :3], False),
        ([np.s_[:, :3], np.s_[:, 3:]], True),
        ([np.s_[:, -3:], np.s_[:, :3]], True),
        ([np.s_[:, :2], np.s_[:, 4:], np.s_[:, 2:4]], True),
        ([np.s_[:, :3], np.s_[:, 2:]], False),  # channel 2 twice
        ([np.s_[:, :3], np.s_[:, 4:]], False),  # channel 3 never
        ([np.s_[:, :3], np.s_[:, 3:], np.s_[:, 3:]], False),
        ([np.s_[:, 0::2], np.s_[:, 1::2]], False),  # they do, but nobody looks that closely
        ([np.s_[1:, :3], np.s_[:, 3:]], False),
        ([np.s_[::-1, :3], np.s_[:, 3:]], False),
        ([np.s_[:3], np.s_[:, 3:]], False),
    ],
)
def test_parts_that_cover_everything_are_recognised_and_sum_up_either_way(indices, covered):
    indices = indices if isinstance(indices, list) else [indices]
    x = random(3, 6, 2)
    parts = [Part(index, random(*x.data[index].shape, seed=1).data) for index in indices]
    assert are_tiles(parts, x.shape) == covered
    expected = np.zeros(x.shape)
    for part in parts:
        expected[part.index] += part.values
    np.testing.assert_array_equal(_total(parts, x), expected)
