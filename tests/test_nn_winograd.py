"""Winograd's way of convolving, in the compiled network, against plain sums of shifted images."""

import numpy as np
import pytest

import nn
from nn.inference import compile as compile_module
from nn.kernels.machine.jit import twins
from nn.kernels.winograd import A, B, G, transform_weight

# height and width of the image, padding, images
CASES = [
    ((14, 14), 1, 1),
    ((15, 17), 1, 2),
    ((16, 19), 0, 1),
    ((17, 15), 2, 3),
    ((40, 9), (2, 1), 1),
    ((9, 131), (0, 3), 1),
]


def definition(x, weight, bias, padding):
    """Every tap adds its share, in float64."""
    py, px = np.broadcast_to(padding, 2)
    canvas = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (py, py), (px, px)])
    height, width = canvas.shape[2] - 2, canvas.shape[3] - 2
    out = np.zeros((len(x), len(weight), height, width)) + bias[:, None, None]
    for i in range(3):
        for j in range(3):
            seen = canvas[:, :, i : i + height, j : j + width]
            out += np.tensordot(seen, weight[:, :, i, j], (1, 1)).transpose(0, 3, 1, 2)
    return out


def layer(in_channels, out_channels, padding, dtype=np.float32):
    rng = np.random.default_rng(0)
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=padding)
    conv.weight.data = rng.standard_normal(conv.weight.shape).astype(dtype)
    conv.bias.data = rng.standard_normal(out_channels).astype(dtype)
    return conv


def steps(compiled):
    return compiled.plan.kinds


def test_four_products_for_two_sums():
    rng = np.random.default_rng(0)
    d, g = rng.standard_normal(4), rng.standard_normal(3)
    np.testing.assert_allclose(A.T @ ((G @ g) * (B.T @ d)), np.correlate(d, g))


def test_the_weight_of_a_tile_is_that_of_its_row_and_its_column():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((5, 4, 3, 3))
    np.testing.assert_allclose(transform_weight(weight)[6, 3, 2], (G @ weight[3, 2] @ G.T)[1, 2])


@pytest.mark.parametrize(("size", "padding", "images"), CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("relu", [False, True])
def test_it_is_a_convolution(size, padding, images, dtype, relu):
    conv = layer(64, 71, padding, dtype)
    compiled = compile_module(nn.Sequential(conv, nn.ReLU()) if relu else conv, (images, 64, *size))
    assert steps(compiled) == ["winograd input", "winograd"]
    x = np.random.default_rng(1).standard_normal((images, 64, *size)).astype(dtype)
    expected = definition(x, conv.weight.data, conv.bias.data, padding)
    if relu:
        expected = np.maximum(expected, 0)
    # Numbers of 24 and more, from 576 products each: in float32 to a few units in the last place.
    atol = 2e-4 if dtype == np.float32 else 1e-12
    for _ in range(2):  # the second call finds the first one's leftovers in memory
        np.testing.assert_allclose(compiled(x), expected, rtol=1e-6, atol=atol)
    with twins():
        np.testing.assert_allclose(compiled(x), expected, rtol=1e-6, atol=atol)


def test_bits_do_not_depend_on_the_threads():
    conv, threads = layer(64, 150, 1), nn.get_num_threads()
    x = np.random.default_rng(1).standard_normal((1, 64, 30, 30)).astype(np.float32)
    results = []
    try:
        for count in sorted({1, threads}):
            nn.set_num_threads(count)
            results.append(compile_module(conv, x.shape)(x))
    finally:
        nn.set_num_threads(threads)
    np.testing.assert_array_equal(results[0], results[-1])


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(64, 64, 3, 2, 1),
        nn.Conv2d(64, 64, 3, padding=2, dilation=2),
        nn.Conv2d(128, 128, 3, padding=1, groups=2),
        nn.Conv2d(64, 64, 5, padding=2),
        nn.Conv2d(15, 64, 3, padding=1),
        nn.Conv2d(64, 64, (3, 1), padding=(1, 0)),
    ],
)
def test_other_convolutions_go_their_own_way(other):
    compiled = compile_module(other, (1, other.weight.shape[1] * other.groups, 20, 20))
    assert "winograd" not in steps(compiled)


def test_a_sum_with_another_convolution_is_kept():
    """What is added to another result is convolved the plain way."""

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = layer(64, 64, 1), nn.Conv2d(64, 64, 1)

        def forward(self, x):
            return self.other(x) + self.one(x)

    module, x = Sum(), np.random.default_rng(1).standard_normal((1, 64, 20, 20)).astype(np.float32)
    with nn.no_grad():
        expected = module(nn.Tensor(x)).data
    np.testing.assert_allclose(compile_module(module, x.shape)(x), expected, rtol=1e-4, atol=1e-3)
