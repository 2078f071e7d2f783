"""Resizing against PyTorch, differences, its twin and by hand."""

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
from nn.ops.interpolation import Interpolate

SIZES = [(5, 7), (10, 14), (1, 1), (3, 20), (13, 2), (8, 9)]
MODES = [("nearest", False), ("bilinear", False), ("bilinear", True)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode, align_corners", MODES)
def test_as_pytorch(size, mode, align_corners):
    torch = pytest.importorskip("torch")
    x = random(2, 3, 5, 7)
    extra = {"align_corners": align_corners} if mode == "bilinear" else {}
    expected = torch_run(lambda x: torch.nn.functional.interpolate(x, size, mode=mode, **extra), x)
    actual = run(Interpolate, x, size=size, mode=mode, align_corners=align_corners)
    assert_close(actual, expected, 1e-10)


@pytest.mark.parametrize("factor", [2, 0.5, 1.7, (3, 0.6)])
@pytest.mark.parametrize("mode, align_corners", MODES)
def test_scale_factor_as_pytorch(factor, mode, align_corners):
    torch = pytest.importorskip("torch")
    x = random(2, 3, 5, 7)
    extra = {"align_corners": align_corners} if mode == "bilinear" else {}
    expected = torch.nn.functional.interpolate(
        torch.tensor(x), scale_factor=factor, mode=mode, **extra
    )
    actual = F.interpolate(nn.Tensor(x), None, factor, mode, align_corners)
    np.testing.assert_allclose(actual.data, expected.numpy(), atol=1e-10)


def test_by_hand():
    x = nn.Tensor(np.array([[[[0.0, 10.0]]]]))
    nearest = F.interpolate(x, (1, 4)).data
    np.testing.assert_allclose(nearest, [[[[0, 0, 10, 10]]]])
    np.testing.assert_allclose(
        F.interpolate(x, (1, 4), mode="bilinear").data, [[[[0, 2.5, 7.5, 10]]]]
    )
    corners = F.interpolate(x, (1, 3), mode="bilinear", align_corners=True).data
    np.testing.assert_allclose(corners, [[[[0, 5, 10]]]])


@pytest.mark.parametrize("mode, align_corners", MODES)
def test_the_same_size_changes_nothing(mode, align_corners):
    x = random(2, 3, 5, 7)
    out = F.interpolate(nn.Tensor(x), (5, 7), None, mode, align_corners).data
    np.testing.assert_allclose(out, x)


@pytest.mark.parametrize("mode, align_corners", MODES)
def test_gradients_twins_and_threads(mode, align_corners):
    for size in SIZES:
        options = {"size": size, "mode": mode, "align_corners": align_corners}
        nn.gradcheck(
            lambda x, s=size: F.interpolate(x, s, None, mode, align_corners),
            leaves(random(2, 2, 5, 7)),
        )
        assert_twin_agrees(Interpolate, random(2, 3, 5, 7), **options)
        assert_threads_agree(Interpolate, random(2, 3, 5, 7, dtype=np.float32), **options)


def test_errors():
    x = nn.Tensor(np.zeros((1, 1, 4, 4)))
    with pytest.raises(ValueError, match="give size or scale_factor"):
        F.interpolate(x)
    with pytest.raises(ValueError, match="give size or scale_factor"):
        F.interpolate(x, 2, 2)
    with pytest.raises(ValueError, match="'nearest' or 'bilinear', not 'cubic'"):
        F.interpolate(x, 2, mode="cubic")
    with pytest.raises(ValueError, match=r"got \(1, 1, 4, 4\) and \(0, 0\)"):
        F.interpolate(x, scale_factor=0.1)
