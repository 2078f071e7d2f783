"""Depthwise 3x3 convolution against its twins and PyTorch, at every kind of border."""

import numpy as np
import pytest
from nn_checks import assert_close, assert_threads_agree, assert_twin_agrees, random, run, torch_run

import nn
from nn.kernels.machine.simd import LANES
from nn.kernels.stencil import ROWS
from nn.ops.convolution import Conv2d

# Narrower and wider than a vector, lower and higher than a block; odd, so that stride 2 has a rest.
SIZES = [(1, 1), (1, 2), (2, 1), (ROWS, LANES), (ROWS + 1, LANES + 1), (7, 7), (3, 2 * LANES + 3),
         (2 * ROWS + 3, 2 * LANES - 1)]  # fmt: skip


def options(stride, channels):
    geometry = {"stride": (stride, stride), "padding": (1, 1), "dilation": (1, 1)}
    return {**geometry, "groups": channels}


def arrays(channels, size, dtype=np.float64):
    return [
        random(2, channels, *size, dtype=dtype),
        random(channels, 1, 3, 3, seed=1, dtype=dtype),
        random(channels, seed=2, dtype=dtype),
    ]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_twins(size, stride):
    assert_twin_agrees(Conv2d, *arrays(3, size), **options(stride, 3))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_as_pytorch(size, stride):
    torch = pytest.importorskip("torch")
    given = arrays(4, size, np.float32)
    expected = torch_run(
        lambda *each: torch.nn.functional.conv2d(*each, **options(stride, 4)), *given
    )
    assert_close(run(Conv2d, *given, **options(stride, 4)), expected, 3e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_and_threads(stride):
    leaves = [nn.Tensor(array, requires_grad=True) for array in arrays(3, (5, 18))]
    nn.gradcheck(lambda *each: nn.functional.conv2d(*each, stride, 1, 1, 3), leaves)
    assert_threads_agree(Conv2d, *arrays(5, (9, 40), np.float32), **options(stride, 5))


@pytest.mark.parametrize("stride", [1, 2])
def test_what_lies_beside_a_plane_does_not_leak_into_it(stride):
    """The neighbours of a plane in memory are other planes: full of NaN, they must not be seen."""
    image, weight, bias = arrays(3, (6, 20), np.float32)
    alone = run(Conv2d, image[:, 1:2].repeat(3, 1), weight, bias, **options(stride, 3))[0]
    image[:, [0, 2]] = np.nan
    beside = run(Conv2d, image, weight, bias, **options(stride, 3))[0]
    np.testing.assert_array_equal(beside[:, 1], alone[:, 1])
