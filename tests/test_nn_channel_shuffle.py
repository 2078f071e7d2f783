"""Channel shuffle: where every channel goes, and back."""

import numpy as np
import pytest
from nn_checks import assert_threads_agree, assert_twin_agrees, leaves, random, run

import nn
from nn import functional as F
from nn.ops.channel_shuffle import ChannelShuffle
from nn.ops.layout import assign, contiguous


@pytest.mark.parametrize("channels, groups", [(6, 2), (6, 3), (12, 4), (5, 1), (5, 5)])
@pytest.mark.parametrize("rest", [(), (3,), (3, 2)])
def test_every_channel_goes_where_the_definition_says(channels, groups, rest):
    x = random(2, channels, *rest)
    out = F.channel_shuffle(nn.Tensor(x), groups).data
    columns = channels // groups
    for group in range(groups):
        for column in range(columns):
            moved = out[:, column * groups + group]
            np.testing.assert_array_equal(moved, x[:, group * columns + column])


def test_two_halves_are_interleaved():
    x = nn.Tensor(np.arange(6).reshape(1, 6))
    np.testing.assert_array_equal(F.channel_shuffle(x, 2).data, [[0, 3, 1, 4, 2, 5]])


def test_as_pytorch():
    torch = pytest.importorskip("torch")
    x = random(2, 12, 3, 5, dtype=np.float32)
    expected = torch.nn.functional.channel_shuffle(torch.tensor(x), 3).numpy()
    np.testing.assert_array_equal(F.channel_shuffle(nn.Tensor(x), 3).data, expected)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 6, 12])
def test_backward_is_the_inverse(groups):
    x = random(2, 12, 3, 5)
    operation = ChannelShuffle()
    out = operation.forward(x, groups=groups)
    np.testing.assert_array_equal(operation.backward(out), x)
    nn.gradcheck(lambda x: F.channel_shuffle(x, groups), leaves(x))


def test_twin_and_threads():
    assert_twin_agrees(ChannelShuffle, random(3, 6, 5, 7), groups=3)
    assert_threads_agree(ChannelShuffle, random(3, 6, 5, 7, dtype=np.float32), groups=2)
    assert run(ChannelShuffle, np.empty((0, 4, 2, 2)), groups=2)[1].shape == (0, 4, 2, 2)


def test_groups_must_divide_the_channels():
    with pytest.raises(ValueError, match=r"4 groups do not divide the channels of \(2, 6, 3, 3\)"):
        F.channel_shuffle(nn.Tensor(np.zeros((2, 6, 3, 3))), 4)


def test_interleave_is_cat_then_shuffle_both_ways():
    for shape in ((2, 3), (2, 5, 4), (1, 4, 3, 2)):
        results = []
        for join in (F.interleave, lambda *pair: F.channel_shuffle(F.cat(pair, dim=1), groups=2)):
            pair = [nn.Tensor(random(*shape, seed=seed), requires_grad=True) for seed in (0, 1)]
            out = join(*pair)
            out.backward(random(*out.shape, seed=2))
            results.append([out.data, *(tensor.grad for tensor in pair)])
        for left, right in zip(*results, strict=True):
            np.testing.assert_array_equal(left, right)


def test_interleave_refuses_different_shapes():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\).*\(2, 4, 4\)"):
        F.interleave(nn.Tensor(random(2, 3, 4)), nn.Tensor(random(2, 4, 4)))


def test_planes_move_between_views_of_every_kind():
    """Large enough for the threads, and views that have no whole planes; against plain NumPy."""
    source = random(3, 8, 70, 41, dtype=np.float32)
    for view in (
        source, source[:, ::2], source[:, 4:], source[::2, 1:3], source[:, :, ::2],
        source.transpose(0, 1, 3, 2), np.broadcast_to(source[:, :1], source.shape),
        source.reshape(3, 8, -1), source[:, ::-1], source[0], source.astype(np.int32),
    ):  # fmt: skip
        np.testing.assert_array_equal(contiguous(view), view)
        target = np.full((3 * len(view), 2 * view.shape[1], *view.shape[2:]), 7, view.dtype)
        expected = target.copy()
        assign(target[1::3, 1::2], view)
        expected[1::3, 1::2] = view
        np.testing.assert_array_equal(target, expected)
        with nn.kernels.twins():
            np.testing.assert_array_equal(contiguous(view), view)
