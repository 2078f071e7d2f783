"""Each kind of step of a compiled network, and what becomes part of it."""

import numpy as np
import pytest
from inference_checks import Layers, check, plain, random, unit

import nn
from nn import functional as F
from nn.inference import compile as compile_module
from nn.inference.lowerings import LOWERINGS, activation
from nn.ops.operation import Operation, same_shape
from nn.tensor import apply


def pool(**options):
    return Layers(
        lambda x, a, b: F.relu(b(F.avg_pool2d(a(x), **options))),
        nn.Conv2d(3, 7, 1), nn.Conv2d(7, 4, 1),
    )  # fmt: skip


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    "geometry", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (5, 1, 2), ((2, 5), (3, 1), (1, 2))]
)
def test_average_pooling(geometry, ceil_mode, include):
    options = dict(zip(("kernel_size", "stride", "padding"), geometry, strict=True))
    check(pool(**options, ceil_mode=ceil_mode, count_include_pad=include), (2, 3, 11, 14))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 7), (11, 14), (20, 20)])
def test_adaptive_average_pooling(size):
    parts = [nn.Conv2d(3, 7, 1), nn.AdaptiveAvgPool2d(size), nn.Conv2d(7, 4, 1)]
    check(nn.Sequential(*parts), (2, 3, 11, 14))


def test_groups_are_one_step():
    conv = nn.Conv2d(12, 18, 3, padding=1, groups=3)
    assert check(nn.Sequential(nn.Conv2d(3, 12, 1), conv), (2, 3, 9, 8)).plan.kinds == [
        "product", "columns", "product"
    ]  # fmt: skip


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    "window",
    [(1, 2, 0, 1), (3, 2, 1, 1), ((3, 4), (2, 3), (0, 2), (2, 1)), ((2, 7), (3, 1), 3, 1)],
    ids=str,
)
def test_copies_for_each_column_of_taps(window, groups):
    conv = nn.Conv2d(24, 18, *window, groups=groups)
    conv.weight.data[:, :, 0, -1] = 0  # a tap of zeros is left out
    compiled = check(nn.Sequential(nn.Conv2d(3, 24, 1), conv), (2, 3, 13, 21))
    assert compiled.plan.kinds == ["product", "columns", "product"]


def test_taps_of_nothing_but_zeros():
    conv = nn.Conv2d(8, 5, 3, 2)
    conv.weight.data[:] = 0
    check(nn.Sequential(nn.Conv2d(3, 8, 1), conv), (1, 3, 9, 8))


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (9, 16), (14, 17)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 5, 7])
def test_stencils(side, stride, size):
    conv = nn.Conv2d(5, 5, side, stride, side // 2, groups=5)
    assert check(nn.Sequential(nn.Conv2d(3, 5, 1), conv), (2, 3, *size)).plan.kinds[1] == "stencil"


def test_numbers_for_each_channel_go_into_the_weights():
    shift, scale = np.random.default_rng(0).standard_normal((2, 1, 5, 1, 1)).astype(np.float32)
    module = Layers(
        lambda x, conv: F.relu((conv(x) * nn.Tensor(scale) + nn.Tensor(shift)) * 2.0 + 0.5),
        nn.Conv2d(3, 5, 1),
    )
    assert check(module, (2, 3, 9, 8)).plan.kinds == ["product"]


def test_sums_and_products_of_anything():
    def function(x, first, second):
        a, b = first(x), second(x)
        c = F.relu(a) * b + a
        return F.sigmoid(c + c) * F.relu6(b + F.relu(b)) + a * a

    module = Layers(function, nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 3, padding=1, groups=3))
    check(module, (3, 3, 9, 8))


@pytest.mark.parametrize("again", [False, True])
def test_a_clamp_of_maps_put_together_is_one_of_each(again):
    def function(x, first, second):
        a, b = first(x), second(x)
        return F.cat((F.relu(F.cat((a, b), 1)), a if again else F.relu6(b * a)), 1)

    module = Layers(function, nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1))
    check(module, (2, 3, 9, 8))
    alone = Layers(lambda x, a, b: F.relu(F.cat((a(x), b(x)), 1)), *module.parts)
    assert check(alone, (2, 3, 9, 8)).plan.kinds == ["product", "product"]


def test_two_readers_of_a_flattened_map():
    module = Layers(
        lambda x, conv, a, b: a(y := F.relu(conv(x)).flatten(1)) + F.sigmoid(b(y)),
        nn.Conv2d(3, 4, 3), nn.Linear(4 * 30, 9), nn.Linear(4 * 30, 9),
    )  # fmt: skip
    x = random((6, 3, 7, 8))
    np.testing.assert_allclose(
        compile_module(module, x.shape)(x), plain(module, x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("outputs", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("images", [1, 3, 5])
def test_fully_connected_layers(outputs, images):
    norm = nn.BatchNorm2d(outputs)
    norm.running_mean[:], norm.weight.data[:] = 0.1, 0.7
    parts = [nn.Flatten(), nn.Linear(3 * 120, 300), nn.ReLU6(), nn.Linear(300, outputs), norm]
    check(nn.Sequential(*parts, nn.Sigmoid()), (images, 3, 10, 12))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_large_maps_between_pointwise_and_depthwise_convolutions_never_exist(stride, kernel):
    nn.manual_seed(0)
    parts = [unit(3, 8, act=nn.ReLU6), unit(8, 40, act=nn.ReLU6)]
    parts.append(unit(40, 40, kernel, stride, 40, act=nn.ReLU6))
    module, shape = nn.Sequential(*parts, unit(40, 8)), (2, 3, 70, 83)
    compiled = check(module, shape)
    assert compiled.plan.kinds[1:-1].count("product") > 2
    target = 40 * (70 // stride) * (83 // stride)
    assert compiled.plan.arena_size < 2 * (30 * 70 * 83 + 1.2 * target)
    x, threads, results = random(shape), nn.get_num_threads(), []
    try:
        for count in sorted({1, threads}):
            nn.set_num_threads(count)
            results.append(compile_module(module, shape)(x))
    finally:
        nn.set_num_threads(threads)
    np.testing.assert_array_equal(results[0], results[-1])


def test_memory_that_is_done_with_is_used_again():
    parts = [nn.Conv2d(3, 8, 1)]
    parts += [layer for _ in range(4) for layer in (nn.MaxPool2d(2), nn.Conv2d(8, 8, 1))]
    compiled = check(nn.Sequential(*parts), (1, 3, 64, 64))
    assert compiled.plan.arena_size < 8 * 64 * 64 * 1.8


def test_what_has_no_lowering_is_a_stage_of_its_own():
    module = Layers(
        lambda x, a, b: F.softmax(b(F.interpolate(F.relu(a(x)), scale_factor=2)), 1),
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1),
    )  # fmt: skip
    x = random((2, 3, 5, 6))
    compiled = compile_module(module, x.shape)
    names = [type(stage).__name__ for stage in compiled.plan.stages]
    assert names == ["Stretch", "Call", "Import", "Stretch", "Call"]
    np.testing.assert_allclose(compiled(x), plain(module, x), rtol=1e-4, atol=1e-6)


class Alike(Operation):
    """An operation that a library may have: a formula of one number."""

    output_shape = staticmethod(same_shape)


class HardSigmoidOperation(Alike):
    def forward(self, input):
        return np.clip(input + 3, 0, 6) / 6


class SiLUOperation(Alike):
    def forward(self, input):
        return input / (1 + np.exp(-input))


class HardSwishOperation(Alike):
    def forward(self, input):
        return input * (np.clip(input + 3, 0, 6) / 6)


class LeakyReLUOperation(Alike):
    def forward(self, input, *, negative_slope):
        return np.where(input > 0, input, negative_slope * input).astype(input.dtype)


ROWS = {
    HardSigmoidOperation: (activation.hard_sigmoid, {}),
    SiLUOperation: (activation.function("silu"), {}),
    HardSwishOperation: (activation.function("hard swish"), {}),
    LeakyReLUOperation: (activation.leaky_relu, {"negative_slope": 0.1}),
}


@pytest.mark.parametrize("operation", ROWS)
@pytest.mark.parametrize(
    "before", ["pointwise", "depthwise", "stencil", "phases", "columns", "Winograd", "sum", "map"]
)
def test_a_new_activation_is_a_row_of_the_table(operation, before, monkeypatch):
    lowering, options = ROWS[operation]
    monkeypatch.setitem(LOWERINGS, operation, lowering)
    first, conv = nn.Conv2d(3, 64, 1), nn.Conv2d(64, 64, 1)
    if before == "depthwise":
        conv = nn.Conv2d(64, 64, 5, padding=1, groups=64)
    elif before == "stencil":
        conv = nn.Conv2d(64, 64, 5, padding=2, groups=64)
    elif before == "phases":
        first, conv = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 7, 3, 2, 1)
    elif before == "columns":
        conv = nn.Conv2d(64, 7, 3, 2, 1)
    elif before == "Winograd":
        conv = nn.Conv2d(64, 64, 3, padding=1)
    ends = {"sum": lambda x, y: x + y, "map": lambda x, y: (y, x)[1]}
    join = ends.get(before, lambda x, y: y)

    def function(x, first, conv):
        x = first(x) * 4.0
        return F.relu6(apply(operation, join(x, conv(x)), **options)) + 1.0

    check(Layers(function, first, conv), (2, 3, 17, 16))
