"""The four region pooling operations against plain loops, differences and their twins."""

import math

import numpy as np
import pytest
from nn_checks import assert_threads_agree, assert_twin_agrees, leaves, random, run
from torchvision_oracle import torchvision_operators

import nn
from nn import functional as F
from nn.ops.region_pooling import PSRoIAlign, PSRoIPool, RoIAlign, RoIPool

SCALE = 1 / 8
# A map of 9 x 11 at stride 8 is an image of 72 x 88.
ROIS = np.array(
    [
        [0, 3.0, 5.0, 61.0, 47.0],
        [1, 0.0, 0.0, 88.0, 72.0],
        [1, 40.0, 16.0, 48.0, 31.0],  # small
        [0, -30.0, -22.0, 33.0, 25.0],  # over the upper left corner
        [1, 50.0, 51.0, 200.0, 90.0],  # over the lower right corner
        [0, 302.0, 302.0, 402.0, 502.0],  # outside
        [0, -90.0, -80.0, -20.0, -15.0],  # outside
        [1, 24.0, 24.0, 24.0, 24.0],  # without size, on an exact pixel
        [1, 30.0, 40.0, 30.5, 18.0],  # upside down
    ]
)
ALIGN = [
    {"sampling_ratio": ratio, "aligned": aligned} for ratio in (1, 2, 3, 0) for aligned in (0, 1)
]


def features(*shape, dtype=np.float64):
    """Distinct values, so that no maximum is a tie."""
    return (np.random.default_rng(0).permutation(math.prod(shape)).reshape(shape) / 100).astype(
        dtype
    )


def bilinear(plane, y, x):
    """The value at a point, as the definition says it, one pixel at a time."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    value = 0.0
    for row in range(height):
        for column in range(width):
            share = max(1 - abs(y - row), 0) * max(1 - abs(x - column), 0)
            value += share * plane[row, column] if share else 0.0
    return value


def source_channel(c, ph, pw, pooled, position_sensitive):
    return (c * pooled[0] + ph) * pooled[1] + pw if position_sensitive else c


def align_oracle(x, pooled, sampling_ratio, aligned, position_sensitive, mode="avg"):
    channels = x.shape[1] // (pooled[0] * pooled[1] if position_sensitive else 1)
    out = np.zeros((len(ROIS), channels, *pooled))
    for k, c, ph, pw in np.ndindex(out.shape):
        image, x1, y1, x2, y2 = ROIS[k]
        x1, y1, x2, y2 = (value * SCALE - (0.5 if aligned else 0) for value in (x1, y1, x2, y2))
        height, width = y2 - y1, x2 - x1
        if not aligned:
            smallest = 0 if position_sensitive else 1
            height, width = max(height, smallest), max(width, smallest)
        bin_height, bin_width = height / pooled[0], width / pooled[1]
        down = sampling_ratio if sampling_ratio > 0 else math.ceil(bin_height)
        across = sampling_ratio if sampling_ratio > 0 else math.ceil(bin_width)
        plane = x[int(image), source_channel(c, ph, pw, pooled, position_sensitive)]
        values = [
            bilinear(
                plane,
                y1 + ph * bin_height + (sy + 0.5) * bin_height / down,
                x1 + pw * bin_width + (sx + 0.5) * bin_width / across,
            )
            for sy in range(down)
            for sx in range(across)
        ]
        if values:
            out[k, c, ph, pw] = max(values) if mode == "max" else sum(values) / len(values)
    return out


def pool_oracle(x, pooled, position_sensitive):
    channels = x.shape[1] // (pooled[0] * pooled[1] if position_sensitive else 1)
    out = np.zeros((len(ROIS), channels, *pooled))
    for k, c, ph, pw in np.ndindex(out.shape):
        image = int(ROIS[k, 0])
        x1, y1, x2, y2 = (round(value * SCALE) for value in ROIS[k, 1:])  # no halves among them
        extra = 0 if position_sensitive else 1
        height, width = max(y2 - y1 + extra, 1), max(x2 - x1 + extra, 1)
        plane = x[image, source_channel(c, ph, pw, pooled, position_sensitive)]
        values = [
            plane[row, column]
            for row in range(plane.shape[0])
            for column in range(plane.shape[1])
            if y1 + ph * height // pooled[0] <= row < y1 + math.ceil((ph + 1) * height / pooled[0])
            and x1 + pw * width // pooled[1]
            <= column
            < x1 + math.ceil((pw + 1) * width / pooled[1])
        ]
        if values:
            out[k, c, ph, pw] = sum(values) / len(values) if position_sensitive else max(values)
    return out


@pytest.mark.parametrize("pooled", [(2, 3), (3, 1)])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("options", ALIGN)
def test_ps_roi_align_is_the_definition(pooled, mode, options):
    x = features(2, 2 * pooled[0] * pooled[1], 9, 11)
    out = F.ps_roi_align(nn.Tensor(x), ROIS, pooled, SCALE, mode=mode, **options).data
    expected = align_oracle(x, pooled, **options, position_sensitive=True, mode=mode)
    np.testing.assert_allclose(out, expected, atol=1e-9)


@pytest.mark.parametrize("options", ALIGN)
def test_roi_align_is_the_definition(options):
    x = features(2, 3, 9, 11)
    out = F.roi_align(nn.Tensor(x), ROIS, (2, 3), SCALE, **options).data
    expected = align_oracle(x, (2, 3), **options, position_sensitive=False)
    np.testing.assert_allclose(out, expected, atol=1e-9)


@pytest.mark.parametrize("pooled", [(2, 3), (7, 7), (1, 1)])
def test_pools_are_the_definition(pooled):
    x = features(2, 2 * pooled[0] * pooled[1], 9, 11) - 5
    out = F.ps_roi_pool(nn.Tensor(x), ROIS, pooled, SCALE).data
    np.testing.assert_allclose(out, pool_oracle(x, pooled, True), atol=1e-9)
    x = x[:, :3]
    out = F.roi_pool(nn.Tensor(x), ROIS, pooled, SCALE).data
    np.testing.assert_allclose(out, pool_oracle(x, pooled, False), atol=1e-9)


def test_halves_are_rounded_away_from_zero():
    x = np.arange(1.0, 9).reshape(1, 1, 1, 8)
    rois = np.array([[0, 2.5, 0, 4.5, 0], [0, -2.5, 0, 1.5, 0], [0, -0.4, 0, 0.5, 0]])
    # Columns 3..5, -3..2 and 0..1, the last of each included.
    out = F.roi_pool(nn.Tensor(x), rois, 1).data
    np.testing.assert_array_equal(out.reshape(3), [6, 3, 2])
    # Without the last: columns 3..4, -3..1 and 0.
    out = F.ps_roi_pool(nn.Tensor(x), rois, 1).data
    np.testing.assert_array_equal(out.reshape(3), [4.5, 1.5, 1])


def test_every_bin_reads_its_own_channel():
    """Ten groups of 49 channels, channel-major: (c 7 + ph) 7 + pw."""
    x = np.zeros((1, 490, 4, 4), np.float32)
    x += np.arange(490).reshape(490, 1, 1)
    rois = np.array([[0, 0, 0, 48, 48]], np.float32)
    expected = np.arange(490).reshape(1, 10, 7, 7)
    for mode in ("avg", "max"):
        out = F.ps_roi_align(nn.Tensor(x), rois, 7, 1 / 16, mode=mode)
        np.testing.assert_allclose(out.data, expected, rtol=1e-6)
    out = F.ps_roi_pool(nn.Tensor(x), rois, 7, 1 / 16)
    np.testing.assert_allclose(out.data, expected, rtol=1e-6)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_an_integer_coordinate_counts_its_pixel_once(mode):
    """The official code takes floor and ceil of the point as two neighbours, which are one here."""
    (x,) = leaves(features(1, 1, 5, 5))
    # One sample in the middle of the region: exactly pixel (2, 3), then only its row exact.
    rois = np.array([[0, 2.0, 1.0, 4.0, 3.0], [0, 2.5, 1.0, 4.5, 3.0]])
    out = F.ps_roi_align(x, rois, 1, 1.0, sampling_ratio=1, mode=mode)
    plane = x.data[0, 0]
    np.testing.assert_allclose(out.data.reshape(2), [plane[2, 3], (plane[2, 3] + plane[2, 4]) / 2])
    out.backward(np.array([1.0, 10.0]).reshape(2, 1, 1, 1))
    assert x.grad.sum() == 11 and x.grad[0, 0, 2, 3] == 6 and x.grad[0, 0, 2, 4] == 5


def test_the_border_rule():
    (x,) = leaves(np.array([[[[1.0, 2.0], [3.0, 4.0]]]]))
    # One sample each, at x = -1, -1.01, 2, 2.01 in row 0: the edge holds for one pixel, then 0.
    rois = np.array([[0, c, 0.0, c, 0.0] for c in (-1.0, -1.01, 2.0, 2.01)])
    out = F.ps_roi_align(x, rois, 1, 1.0, sampling_ratio=1)
    np.testing.assert_array_equal(out.data.reshape(4), [1, 0, 2, 0])
    out.sum().backward()
    np.testing.assert_array_equal(x.grad, [[[[1, 1], [0, 0]]]])


@pytest.mark.parametrize("use_twins", [False, True])
def test_of_equal_samples_the_first_gets_the_gradient(use_twins):
    def check():
        (x,) = leaves(np.full((1, 1, 8, 8), -3.0))
        rois = np.array([[0, 0.5, 0.5, 4.5, 4.5]])
        out = F.ps_roi_align(x, rois, 1, 1.0, mode="max")
        assert out.item() == -3
        out.backward()
        # Samples at 1.5 and 3.5; the first is between pixels 1 and 2.
        np.testing.assert_array_equal(x.grad[0, 0, 1:3, 1:3], 0.25)
        assert x.grad.sum() == 1
        x.grad = None
        out = F.roi_pool(x, rois, 1, 1.0)
        out.backward()
        assert x.grad[0, 0, 1, 1] == 1 and x.grad.sum() == 1

    if use_twins:
        with nn.kernels.twins():
            check()
    else:
        check()


def test_gradients():
    x = leaves(features(2, 12, 9, 11))
    for options in ALIGN:
        for mode in ("avg", "max"):
            nn.gradcheck(
                lambda x, o=options, m=mode: F.ps_roi_align(x, ROIS, (2, 3), SCALE, mode=m, **o),
                x,
                eps=1e-5,
            )
        nn.gradcheck(lambda x, o=options: F.roi_align(x, ROIS, (2, 3), SCALE, **o), x, eps=1e-5)
    nn.gradcheck(lambda x: F.ps_roi_pool(x, ROIS, (2, 3), SCALE), x, eps=1e-5)
    nn.gradcheck(lambda x: F.roi_pool(x, ROIS, (2, 3), SCALE), x, eps=1e-5)


def test_regions_that_overlap_add_their_gradients():
    (x,) = leaves(features(1, 4, 6, 6))
    one = np.array([[0, 4.0, 4.0, 40.0, 40.0]])
    grad = random(1, 1, 2, 2)
    F.ps_roi_align(x, one, 2, SCALE).backward(grad)
    single, x.grad = x.grad, None
    F.ps_roi_align(x, one.repeat(5, axis=0), 2, SCALE).backward(grad.repeat(5, axis=0))
    np.testing.assert_allclose(x.grad, 5 * single)
    np.testing.assert_allclose(x.grad.sum(), 5 * grad.sum())


OPERATIONS = [
    (PSRoIAlign, {"sampling_ratio": 2, "mode": "avg", "aligned": False}),
    (PSRoIAlign, {"sampling_ratio": 0, "mode": "max", "aligned": True}),
    (RoIAlign, {"sampling_ratio": 2, "aligned": True}),
    (RoIAlign, {"sampling_ratio": -1, "aligned": False}),
    (PSRoIPool, {}),
    (RoIPool, {}),
]


@pytest.mark.parametrize("operation, options", OPERATIONS)
@pytest.mark.parametrize("shape, pooled", [((2, 12, 9, 11), (2, 3)), ((2, 63, 5, 1), (7, 3))])
def test_twins_and_threads(operation, options, shape, pooled):
    options = {"output_size": pooled, "spatial_scale": SCALE, **options}
    for rois in (ROIS, ROIS[:1], ROIS[:0]):
        assert_twin_agrees(operation, features(*shape), rois, **options)
    x = random(*shape, dtype=np.float32)
    assert_threads_agree(operation, x, ROIS.repeat(5, axis=0), **options)


@pytest.mark.parametrize("operation, options", OPERATIONS)
def test_no_regions(operation, options):
    x = random(2, 12, 5, 5, dtype=np.float32)
    options = {"output_size": (2, 3), "spatial_scale": 1.0, **options}
    out, grad_input, grad_rois = run(operation, x, np.empty((0, 5), np.float32), **options)
    channels = 2 if operation in (PSRoIAlign, PSRoIPool) else 12
    assert out.shape == (0, channels, 2, 3) and out.dtype == np.float32
    assert grad_rois is None
    np.testing.assert_array_equal(grad_input, np.zeros_like(x))


def test_float32_regions_in_a_tensor():
    x = random(2, 12, 9, 11, dtype=np.float32)
    rois = nn.Tensor(ROIS.astype(np.float32))
    out = F.ps_roi_align(nn.Tensor(x), rois, (2, 3), SCALE)
    assert out.dtype == np.float32
    expected = F.ps_roi_align(nn.Tensor(x.astype(np.float64)), ROIS, (2, 3), SCALE)
    np.testing.assert_allclose(out.data, expected.data, atol=1e-5)


def test_errors_name_the_region():
    x = nn.Tensor(np.zeros((2, 12, 5, 5)))
    for function in (F.ps_roi_align, F.ps_roi_pool, F.roi_align, F.roi_pool):
        for index in (2, -1, 0.5):
            rois = np.array([[1, 0, 0, 4, 4], [index, 0, 0, 4, 4]])
            with pytest.raises(ValueError, match=rf"rois\[1\] has batch index {index}, .* 0 to 1"):
                function(x, rois, (2, 3), 1.0)
        with pytest.raises(ValueError, match=r"rois\[0\] is not finite"):
            function(x, np.array([[0, 0, 0, np.nan, 4]]), (2, 3), 1.0)
        with pytest.raises(ValueError, match=r"rois \(K, 5\) expected, got \(3, 4\)"):
            function(x, np.zeros((3, 4)), (2, 3), 1.0)
        with pytest.raises(ValueError, match=r"got \(12, 5, 5\)"):
            function(nn.Tensor(np.zeros((12, 5, 5))), ROIS, (2, 3), 1.0)
    with pytest.raises(ValueError, match="12 channels .* not a multiple of the 7 x 7 bins"):
        F.ps_roi_align(x, ROIS, 7, 1.0)
    with pytest.raises(ValueError, match="mode is 'avg' or 'max', not 'mean'"):
        F.ps_roi_align(x, ROIS, (2, 3), 1.0, mode="mean")


@pytest.mark.parametrize("ratio", [-1, 2])
def test_torchvision_says_the_same(ratio):
    torch = pytest.importorskip("torch")
    ops = torchvision_operators()
    x, rois = features(2, 12, 9, 11), ROIS[:-2]  # it fails for those without size

    def same(ours, theirs, **options):
        given = torch.tensor(x), torch.tensor(rois)
        expected = theirs(*given, (2, 3), SCALE, sampling_ratio=ratio, **options)
        found = ours(nn.Tensor(x), rois, (2, 3), SCALE, sampling_ratio=ratio, **options)
        np.testing.assert_allclose(found.data, expected.numpy(), rtol=1e-9, atol=1e-9)

    same(F.roi_align, ops.roi_align, aligned=False)
    same(F.roi_align, ops.roi_align, aligned=True)
    same(lambda *args, **more: F.ps_roi_align(*args, aligned=True, **more), ops.ps_roi_align)
    expected = ops.roi_pool(torch.tensor(x), torch.tensor(rois), (2, 3), SCALE).numpy()
    np.testing.assert_array_equal(F.roi_pool(nn.Tensor(x), rois, (2, 3), SCALE).data, expected)
