"""The blocks that published networks are made of, each compiled into one stage."""

import numpy as np
import pytest
from inference_checks import Layers, plain, random, unit

import nn
from nn import functional as F
from nn.inference import compile as compile_module
from nn.kernels.machine.jit import twins
from nn.models.blocks import SameConv2d


def residual(body, shortcut=None, act=F.relu):
    parts = [body] if shortcut is None else [body, shortcut]
    return Layers(lambda x, body, other=lambda x: x: act(body(x) + other(x)), *parts)


def basic_block(channels, outputs=None, stride=1):
    outputs = outputs or channels
    body = nn.Sequential(
        unit(channels, outputs, 3, stride), unit(outputs, outputs, 3, act=nn.Identity)
    )
    shortcut = unit(channels, outputs, 1, stride, act=nn.Identity) if stride > 1 else None
    return residual(body, shortcut)


def bottleneck(channels, width, outputs, stride=1, groups=1):
    body = nn.Sequential(
        unit(channels, width), unit(width, width, 3, stride, groups),
        unit(width, outputs, act=nn.Identity),
    )  # fmt: skip
    shortcut = None
    if stride > 1 or channels != outputs:
        shortcut = unit(channels, outputs, 1, stride, act=nn.Identity)
    return residual(body, shortcut)


def inverted_residual(channels, outputs, stride, expansion):
    width = channels * expansion
    body = nn.Sequential(
        unit(channels, width, act=nn.ReLU6), unit(width, width, 3, stride, width, act=nn.ReLU6),
        unit(width, outputs, act=nn.Identity),
    )  # fmt: skip
    joins = stride == 1 and channels == outputs
    return residual(body, act=lambda x: x) if joins else body


class HardSwish(nn.Module):
    """Written in what any version of the library has."""

    def forward(self, x):
        return x * (F.relu6(x + 3.0) * (1 / 6))


def squeeze_excitation(channels, gate=F.sigmoid):
    return Layers(
        lambda x, down, up: x * gate(up(F.relu(down(F.adaptive_avg_pool2d(x, 1))))),
        nn.Conv2d(channels, channels // 4, 1), nn.Conv2d(channels // 4, channels, 1),
    )  # fmt: skip


def mobilenet_v3_block(channels, width):
    body = nn.Sequential(
        unit(channels, width, act=HardSwish), unit(width, width, 5, 1, width, act=HardSwish),
        squeeze_excitation(width, lambda x: F.relu6(x + 3.0) * (1 / 6)),
        unit(width, channels, act=nn.Identity),
    )  # fmt: skip
    return residual(body, act=lambda x: x)


def dense_layer(channels, growth):
    body = nn.Sequential(
        nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 4 * growth, 1, bias=False),
        nn.BatchNorm2d(4 * growth), nn.ReLU(),
        nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
    )  # fmt: skip
    return Layers(lambda x, body: F.cat((x, body(x)), dim=1), body)


def inception():
    pooled = nn.Sequential(nn.AvgPool2d(3, 1, 1), unit(12, 5))
    branches = [unit(12, 6), nn.Sequential(unit(12, 4), unit(4, 8, 5)), pooled]
    branches.append(nn.Sequential(unit(12, 4), unit(4, 6, 3), unit(6, 6, 3)))
    return Layers(lambda x, *branches: F.cat([branch(x) for branch in branches], dim=1), *branches)


def fire(channels, squeezed, expanded):
    parts = [nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, expanded, 1)]
    return Layers(
        lambda x, squeeze, one, three: F.cat(
            (F.relu(one(y := F.relu(squeeze(x)))), F.relu(three(y))), 1
        ),
        *parts, nn.Conv2d(squeezed, expanded, 3, padding=1),
    )  # fmt: skip


def separable(channels, outputs, act=nn.ReLU):
    depthwise = unit(channels, channels, 3, 1, channels, act=act)
    return nn.Sequential(depthwise, unit(channels, outputs))


def xception_block():
    body = nn.Sequential(
        nn.ReLU(), separable(12, 16, nn.Identity), separable(16, 16, nn.Identity),
        nn.MaxPool2d(3, 2, 1),
    )  # fmt: skip
    return residual(body, unit(12, 16, 1, 2, act=nn.Identity), act=lambda x: x)


def classifier(*parts):
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


NETWORKS = {
    "ShuffleNet v2": lambda: nn.models.shufflenet_v2(0.5, 10),
    "VGG": lambda: nn.Sequential(
        unit(3, 8, 3), nn.MaxPool2d(2, 2), unit(8, 12, 3), nn.MaxPool2d(2, 2),
        nn.AdaptiveAvgPool2d((7, 7)), nn.Flatten(), nn.Linear(588, 30), nn.ReLU(),
        nn.Dropout(), nn.Linear(30, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 10),
    ),
    "SqueezeNet": lambda: nn.Sequential(
        nn.Conv2d(3, 12, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), fire(12, 4, 8),
        fire(16, 4, 8), nn.Conv2d(16, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
    ),
    "Inception": lambda: nn.Sequential(unit(3, 12, 3, 2), inception()),
    "residual": lambda: classifier(unit(3, 8, 7, 2), basic_block(8), basic_block(8, 16, 2)),
    "residual, Winograd": lambda: nn.Sequential(unit(3, 64, 3), basic_block(64)),
    "bottlenecks": lambda: classifier(
        unit(3, 8, 3), bottleneck(8, 6, 16), bottleneck(16, 6, 16), bottleneck(16, 6, 16, 2)
    ),
    "ResNeXt": lambda: nn.Sequential(
        unit(3, 8, 3), bottleneck(8, 16, 16, groups=4), bottleneck(16, 16, 24, 2, groups=8)
    ),
    "MobileNet v1": lambda: classifier(unit(3, 8, 3, 2), separable(8, 12), separable(12, 16)),
    "MobileNet v2": lambda: classifier(
        unit(3, 8, 3, 2, act=nn.ReLU6), inverted_residual(8, 8, 1, 6),
        inverted_residual(8, 16, 2, 6), inverted_residual(16, 16, 1, 6),
    ),
    "MobileNet v3": lambda: nn.Sequential(
        unit(3, 8, 3, 2, act=HardSwish), mobilenet_v3_block(8, 24)
    ),
    "squeeze and excitation": lambda: nn.Sequential(unit(3, 16, 3), squeeze_excitation(16)),
    "DenseNet": lambda: classifier(
        unit(3, 8, 3, 2), dense_layer(8, 4), dense_layer(12, 4), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 8, 1, bias=False), nn.AvgPool2d(2, 2), dense_layer(8, 8),
    ),
    "Xception": lambda: nn.Sequential(unit(3, 12, 3, 2), xception_block()),
    "TensorFlow's padding": lambda: nn.Sequential(
        SameConv2d(3, 8, 3, 2), nn.ReLU6(), SameConv2d(8, 8, 5, 2, groups=8), nn.ReLU6(),
        SameConv2d(8, 8, 3, 1), SameConv2d(8, 12, (7, 4), 2, groups=2),
    ),
    "every other pixel": lambda: nn.Sequential(
        nn.ZeroPad2d((-2, 1, -2, 1)), nn.Conv2d(3, 8, 1, 2),
        nn.ZeroPad2d((-1, 1, -1, 1)), nn.Conv2d(8, 8, 1, 2), nn.ZeroPad2d((1, 0, 2, 1)), unit(8, 8),
    ),
    "learned groups": lambda: nn.Sequential(
        unit(3, 8), Layers(lambda x: x[:, np.array([5, 0, 7, 0])]), unit(4, 4)
    ),
    "dilated": lambda: nn.Sequential(unit(3, 8, 3, 2), unit(8, 8, 3, dilation=2), nn.ReLU6()),
}  # fmt: skip


def network(name):
    nn.manual_seed(1)
    module, rng = NETWORKS[name](), np.random.default_rng(1)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            channels = norm.num_features
            norm.weight.data[:] = rng.uniform(0.5, 1.5, channels) * rng.choice([-1, 1], channels)
            norm.bias.data[:] = rng.standard_normal(channels)
            norm.running_mean[:] = 0.1 * rng.standard_normal(channels)
            norm.running_var[:] = rng.uniform(0.2, 0.5, channels)
    return module.eval()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 3, 63, 41), (3, 3, 46, 58)])
def test_one_stage_gives_what_the_module_gives(name, shape):
    module, x = network(name), random(shape)
    expected = plain(module, x)
    scale = np.abs(expected).max()
    assert scale > 0.05
    compiled = compile_module(module, shape)
    assert len(compiled.plan.stages) == 1, compiled.plan.stages
    for _ in range(2):  # the second call finds the first one's leftovers in memory
        np.testing.assert_allclose(compiled(x), expected, rtol=1e-4, atol=1e-5 * scale)
        compiled(random(shape, 1))
    with twins():
        np.testing.assert_allclose(compiled(x), expected, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("name", NETWORKS)
def test_bits_do_not_depend_on_the_threads(name):
    module, threads, x = network(name), nn.get_num_threads(), random((2, 3, 45, 39))
    results = []
    try:
        for count in sorted({1, threads}):
            nn.set_num_threads(count)
            results.append(compile_module(module, x.shape)(x))
    finally:
        nn.set_num_threads(threads)
    np.testing.assert_array_equal(results[0], results[-1])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_nan_is_seen_where_the_module_sees_it(name):
    module, x = network(name), random((1, 3, 33, 35))
    x[0, 1, 16, 20] = np.nan
    expected, actual = plain(module, x), compile_module(module, x.shape)(x)
    assert np.isnan(expected).any()
    # It spreads over a tile, or to where a window's taps are 0.
    if name not in ("residual, Winograd", "TensorFlow's padding", "every other pixel"):
        np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    assert np.isnan(actual)[np.isnan(expected)].all()
