"""Deformable convolution and pooling: plain loops, their twins, and what they are without offsets.

PyTorch's values and gradients are in ``test_every_operation``, through torchvision.
"""

import math

import numpy as np
import pytest
from nn_checks import assert_threads_agree, assert_twin_agrees, leaves, random

import nn
from nn import functional as F
from nn.ops.deformable import SamplePoints

ROIS = np.array(
    [
        [1, 3.4, 5.0, 61.0, 47.0],
        [0, 0.0, 0.0, 87.0, 71.5],
        [1, -30.0, -22.0, 33.0, 25.0],  # over the upper left corner
        [1, 50.0, 51.0, 200.0, 90.0],  # over the lower right corner
        [0, 302.0, 302.0, 402.0, 502.0],  # outside
        [0, 40.0, 40.0, 30.0, 30.0],  # upside down
    ]
)


def pool_oracle(x, trans, pooled, scale, samples, std):
    """The authors' definition, one sample at a time."""
    channels, classes = x.shape[1] // pooled**2, trans.shape[1] // 2
    H, W = x.shape[2:]
    out = np.zeros((len(ROIS), channels, pooled, pooled))
    for k, c, ph, pw in np.ndindex(out.shape):
        left, top, right, bottom = (math.floor(value + 0.5) for value in ROIS[k, 1:])
        x1, y1 = left * scale - 0.5, top * scale - 0.5
        width = max((right + 1) * scale - 0.5 - x1, 0.1)
        height = max((bottom + 1) * scale - 0.5 - y1, 0.1)
        move = trans[k, 2 * (c // (channels // classes)) :, ph, pw]
        plane = x[int(ROIS[k, 0]), (c * pooled + ph) * pooled + pw]
        values = []
        for i, j in np.ndindex(samples, samples):
            row = y1 + (ph + i / samples) * height / pooled + move[1] * std * height
            column = x1 + (pw + j / samples) * width / pooled + move[0] * std * width
            if -0.5 <= row <= H - 0.5 and -0.5 <= column <= W - 0.5:
                row, column = min(max(row, 0), H - 1), min(max(column, 0), W - 1)
                up, before = math.floor(row), math.floor(column)
                down, behind = math.ceil(row), math.ceil(column)
                v, u = row - up, column - before
                above = plane[up, before] * (1 - u) + plane[up, behind] * u
                below = plane[down, before] * (1 - u) + plane[down, behind] * u
                values.append(above * (1 - v) + below * v)
        out[k, c, ph, pw] = np.mean(values) if values else 0
    return out


@pytest.mark.parametrize("classes", [1, 3])
def test_pooling_is_the_authors(classes):
    x, trans = random(2, 6 * 4, 9, 11), 2 * random(len(ROIS), 2 * classes, 2, 2, seed=1)
    found = F.deform_ps_roi_pool(nn.Tensor(x), ROIS, nn.Tensor(trans), 2, 1 / 8, 3, 0.3).data
    np.testing.assert_allclose(found, pool_oracle(x, trans, 2, 1 / 8, 3, 0.3), atol=1e-12)


def test_without_offsets_it_is_a_convolution():
    x, weight = nn.Tensor(random(2, 4, 7, 6)), nn.Tensor(random(6, 2, 3, 2, seed=1))
    lie = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}
    expected = F.conv2d(x, weight, groups=2, **lie).data
    offset = np.zeros((2, 24, *expected.shape[2:]))
    found = F.deform_conv2d(x, nn.Tensor(offset), weight, **lie).data
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_beyond_the_edge_the_map_fades_within_a_pixel():
    x, weight = nn.Tensor(np.ones((1, 1, 3, 3))), nn.Tensor(np.ones((1, 1, 1, 1)))
    offset = np.zeros((1, 2, 3, 3))
    offset[0, 0] = [[-0.25, -1, -7], [0, 0.5, 2.5], [0.25, 0.75, 1]]
    found = F.deform_conv2d(x, nn.Tensor(offset), weight).data[0, 0]
    np.testing.assert_allclose(found, [[0.75, 0, 0], [1, 1, 0], [0.75, 0.25, 0]])


def samples(K=3, groups=2):
    """Points around and beyond a map of 5 x 6; the sets read images 1, 0 and 1 again."""
    points = 3 * random(K, groups, 2, 7, seed=1) + 2.5
    points[:1, 0, :, 0] = [1e30, -1e30]
    return [random(2, 4, 5, 6), points, random(K, groups, 7, seed=2)]


def test_twins():
    images = np.array([1, 0, 1])
    assert_twin_agrees(SamplePoints, *samples(), images=images)
    assert_twin_agrees(SamplePoints, *samples(0), images=images[:0])
    assert_twin_agrees(SamplePoints, *samples(groups=1), images=images)


def test_threads():
    assert_threads_agree(SamplePoints, *samples(), images=np.array([1, 0, 1]))


def test_no_regions():
    x, trans = leaves(random(1, 8, 5, 5), random(0, 4, 2, 2))
    pooled = F.deform_ps_roi_pool(x, np.zeros((0, 5)), trans, 2)
    pooled.sum().backward()
    assert pooled.shape == (0, 2, 2, 2) and trans.grad.shape == trans.shape
    assert not x.grad.any()


@pytest.mark.parametrize(
    "shapes",
    [
        ((1, 4, 5), (1, 18, 5, 5), (6, 4, 3, 3)),
        ((1, 4, 5, 5), (1, 18, 5, 5), (6, 3, 3, 3)),
        ((1, 4, 5, 5), (1, 9, 5, 5), (6, 4, 3, 3)),
        ((1, 4, 5, 5), (1, 54, 5, 5), (6, 4, 3, 3)),  # three groups of four channels
        ((1, 4, 5, 5), (1, 18, 5, 4), (6, 4, 3, 3)),
        ((1, 4, 5, 5), (1, 18, 5, 5), (6, 4, 9, 9)),
        ((1, 4, 5, 5), (18, 5, 5), (6, 4, 3, 3)),
        ((1, 4, 5, 5), (1, 18, 5, 5), (6, 4, 3, 3), None, 1, 1, 1, (1, 18, 5, 5)),
    ],
)
def test_wrong_shapes_get_one_line(shapes):
    input, offset, weight, *more = (
        nn.Tensor(np.zeros(each)) if isinstance(each, tuple) else each for each in shapes
    )
    with pytest.raises(ValueError, match="^deform_conv2d[^\n]*$"):
        F.deform_conv2d(input, offset, weight, *(more or (None, 1, 1)))


@pytest.mark.parametrize(
    "trans", [(6, 3, 2, 2), (6, 2, 2, 3), (5, 2, 2, 2), (6, 10, 2, 2), (6, 2, 2)]
)
def test_wrong_movements_get_one_line(trans):
    with pytest.raises(ValueError, match="^deform_ps_roi_pool[^\n]*$"):
        F.deform_ps_roi_pool(nn.Tensor(np.zeros((2, 24, 9, 9))), ROIS, np.zeros(trans), 2)
