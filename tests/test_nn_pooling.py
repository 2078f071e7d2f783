"""Max, average and adaptive pooling against loops, PyTorch, differences and their twins."""

import itertools
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
from nn.ops.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

# kernel, stride, padding, dilation, ceil_mode
WINDOWS = [
    ((3, 3), (2, 2), (1, 1), (1, 1), False),
    ((3, 3), (2, 2), (1, 1), (1, 1), True),
    ((2, 2), (2, 2), (0, 0), (1, 1), True),
    ((2, 3), (1, 3), (1, 0), (1, 1), False),
    ((3, 2), (3, 1), (0, 1), (2, 3), False),
    ((3, 3), (3, 4), (1, 1), (2, 1), True),
    ((1, 1), (1, 1), (0, 0), (1, 1), False),
    ((5, 4), (4, 2), (2, 2), (1, 1), True),
    ((2, 2), (4, 4), (1, 1), (1, 1), True),  # the last window would start in the padding
]
NAMES = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")


def options(window, *names):
    return {name: value for name, value in zip(NAMES, window, strict=True) if name in names}


def distinct(*shape):
    """Values without ties, and far enough apart for differences."""
    count = math.prod(shape)
    return np.random.default_rng(0).permutation(count).reshape(shape) / 10.0 - count / 20


def count_windows(size, kernel, stride, padding, dilation, ceil_mode):
    """Windows start at -padding, every stride; they must end inside the padded map, or in
    ceil_mode start inside the map or the padding before it."""
    count, start = 0, -padding
    reach = dilation * (kernel - 1) + 1
    while start + reach <= size + padding or (
        ceil_mode and start < size and start + reach - stride < size + padding
    ):
        count, start = count + 1, start + stride
    return count


@pytest.mark.parametrize("window", WINDOWS)
def test_max_pool_is_the_formula_written_as_loops(window):
    (kh, kw), (sh, sw), (ph, pw), (dh, dw), ceil_mode = window
    x = distinct(2, 3, 7, 9)
    out, grad_input = run(MaxPool2d, x, **options(window, *NAMES))
    expected_height = count_windows(7, kh, sh, ph, dh, ceil_mode)
    assert out.shape == (2, 3, expected_height, count_windows(9, kw, sw, pw, dw, ceil_mode))
    grad_output, expected = random(*out.shape, seed=99), np.zeros(x.shape)
    for n, c, i, j in np.ndindex(out.shape):
        best = None
        for ky, kx in itertools.product(range(kh), range(kw)):
            row, column = i * sh - ph + ky * dh, j * sw - pw + kx * dw
            if 0 <= row < 7 and 0 <= column < 9:
                place = x[n, c, row, column], row, column
                best = place if best is None or place > best else best
        assert out[n, c, i, j] == best[0]
        expected[n, c, best[1], best[2]] += grad_output[n, c, i, j]
    np.testing.assert_allclose(grad_input, expected, atol=1e-12)


@pytest.mark.parametrize("window", [window for window in WINDOWS if window[3] == (1, 1)])
@pytest.mark.parametrize("include", [True, False])
def test_avg_pool_is_the_formula_written_as_loops(window, include):
    (kh, kw), (sh, sw), (ph, pw), _, ceil_mode = window
    x = random(2, 7, 9)
    names = NAMES[:3] + NAMES[4:]
    out = run(AvgPool2d, x, count_include_pad=include, **options(window, *names))[0]
    expected_height = count_windows(7, kh, sh, ph, 1, ceil_mode)
    assert out.shape == (2, expected_height, count_windows(9, kw, sw, pw, 1, ceil_mode))
    for c, i, j in np.ndindex(out.shape):
        total = count = 0
        for ky, kx in itertools.product(range(kh), range(kw)):
            row, column = i * sh - ph + ky, j * sw - pw + kx
            inside = 0 <= row < 7 and 0 <= column < 9
            total += x[c, row, column] if inside else 0
            count += inside or include and row < 7 + ph and column < 9 + pw
        assert out[c, i, j] == pytest.approx(total / count)


@pytest.mark.parametrize("window", WINDOWS)
def test_as_pytorch(window):
    torch = pytest.importorskip("torch")
    x = distinct(2, 3, 7, 9).astype(np.float32)
    expected = torch_run(lambda x: torch.nn.functional.max_pool2d(x, *window), x)
    assert_close(run(MaxPool2d, x, **options(window, *NAMES)), expected, 1e-6)
    if window[3] == (1, 1):
        for include in (True, False):
            arguments = (*window[:3], window[4], include)
            expected = torch_run(lambda x, a=arguments: torch.nn.functional.avg_pool2d(x, *a), x)
            names = options(window, *NAMES[:3], "ceil_mode")
            assert_close(run(AvgPool2d, x, count_include_pad=include, **names), expected, 1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 9), (10, 20), (1, 5)])
def test_adaptive_as_pytorch(size):
    torch = pytest.importorskip("torch")
    x = random(2, 3, 7, 9, dtype=np.float32)
    expected = torch_run(lambda x: torch.nn.functional.adaptive_avg_pool2d(x, size), x)
    assert_close(run(AdaptiveAvgPool2d, x, output_size=size), expected, 1e-6)


def test_adaptive_by_hand():
    x = np.arange(5.0).reshape(1, 1, 1, 5)
    out = F.adaptive_avg_pool2d(nn.Tensor(x), (1, 3)).data
    # Parts 0..1, 1..3, 3..4: neighbours share a pixel.
    np.testing.assert_allclose(out, [[[[0.5, 2, 3.5]]]])
    whole = F.adaptive_avg_pool2d(nn.Tensor(random(2, 3, 4, 5)), 1).data
    np.testing.assert_allclose(whole[..., 0, 0], random(2, 3, 4, 5).mean((2, 3)))


def test_gradients():
    for window in WINDOWS:
        kernel, stride, padding, dilation, ceil_mode = window
        nn.gradcheck(
            lambda x, w=window: F.max_pool2d(x, *w), leaves(distinct(2, 3, 7, 9)), eps=1e-4
        )
        if dilation == (1, 1):
            arguments = kernel, stride, padding, ceil_mode
            nn.gradcheck(lambda x, a=arguments: F.avg_pool2d(x, *a), leaves(random(2, 3, 7, 9)))
    nn.gradcheck(lambda x: F.adaptive_avg_pool2d(x, (3, 4)), leaves(random(2, 3, 7, 9)))


def test_an_int_means_both_directions_and_the_stride_is_the_kernel():
    x = nn.Tensor(random(1, 2, 8, 8))
    pairs = F.max_pool2d(x, (2, 2), (2, 2), (0, 0), (1, 1))
    np.testing.assert_array_equal(F.max_pool2d(x, 2).data, pairs.data)
    np.testing.assert_array_equal(F.avg_pool2d(x, 2).data, F.avg_pool2d(x, (2, 2), (2, 2)).data)


@pytest.mark.parametrize("use_twins", [False, True])
def test_ties_infinities_and_nan(use_twins):
    def pool(values):
        (x,) = leaves(np.array(values, np.float64).reshape(1, 1, 2, 2))
        out = F.max_pool2d(x, 2)
        out.sum().backward()
        return out.item(), x.grad.reshape(4).tolist()

    def check():
        assert pool([3, 3, 3, 3]) == (3, [1, 0, 0, 0])
        assert pool([-np.inf, -5, -5, -np.inf]) == (-5, [0, 1, 0, 0])
        assert pool([-np.inf] * 4) == (-np.inf, [0, 0, 0, 0])
        assert pool([np.inf, 1, 2, 3]) == (np.inf, [1, 0, 0, 0])
        value, grad = pool([1, np.nan, 5, 2])
        assert math.isnan(value) and grad == [0, 1, 0, 0]

    if use_twins:
        with nn.kernels.twins():
            check()
    else:
        check()


def test_padding_never_wins():
    out = F.max_pool2d(nn.Tensor(-1 - random(1, 1, 3, 3) ** 2), 3, 2, 1).data
    assert (out < -1).all()


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 6, 8, 5), (1, 1, 5, 19)])
def test_twins(window, shape):
    x = distinct(*shape)
    assert_twin_agrees(MaxPool2d, x, **options(window, *NAMES))
    if window[3] == (1, 1):
        assert_twin_agrees(AvgPool2d, x, **options(window, *NAMES[:3], "ceil_mode"))


def test_adaptive_twin_and_threads():
    assert_twin_agrees(AdaptiveAvgPool2d, random(2, 3, 7, 9), output_size=(4, 2))
    x = random(3, 5, 17, 19, dtype=np.float32)
    assert_threads_agree(MaxPool2d, x, **options(WINDOWS[0], *NAMES))
    assert_threads_agree(AdaptiveAvgPool2d, x, output_size=(3, 1))


def test_errors_show_the_sizes():
    x = nn.Tensor(np.zeros((1, 1, 4, 4)))
    with pytest.raises(ValueError, match="a window of 5 does not fit into 4 pixels"):
        F.max_pool2d(x, 5)
    with pytest.raises(ValueError, match="padding 2 is more than half of the kernel, 3"):
        F.max_pool2d(x, 3, 1, 2)
    with pytest.raises(ValueError, match="stride 0"):
        F.avg_pool2d(x, 2, 0)
    with pytest.raises(ValueError, match=r"expected, got \(4, 4\)"):
        F.max_pool2d(nn.Tensor(np.zeros((4, 4))), 2)
    with pytest.raises(ValueError, match=r"does not go into \(0, 0\)"):
        F.adaptive_avg_pool2d(x, 0)
