"""A compiled module gives what the module gives in evaluation."""

import numpy as np
import pytest

import nn
from nn import functional as F
from nn.inference import compile as compile_module
from nn.inference.trace import trace
from nn.kernels.machine.jit import twins


def random(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def with_history(module: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms that have seen something, so that folding them is visible."""
    rng = np.random.default_rng(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            channels = norm.num_features
            norm.weight.data[:] = rng.uniform(0.5, 1.5, channels) * rng.choice([-1, 1], channels)
            norm.bias.data[:] = rng.standard_normal(channels)
            norm.running_mean[:] = rng.standard_normal(channels)
            norm.running_var[:] = rng.uniform(0.5, 2, channels)
    return module


def plain(module, x):
    with nn.no_grad():
        return module.eval()(nn.Tensor(x))


def check(module, shape, dtype=np.float32, rtol=1e-4, atol=1e-5):
    x = random(shape, 1, dtype)
    expected = plain(module, x).data
    compiled = compile_module(module, shape)
    for _ in range(2):  # the second call finds the first one's leftovers in memory
        actual = compiled(x)
        assert actual.shape == expected.shape and actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)
        x, previous = random(shape, 2, dtype), x
        compiled(x)
        x = previous
    return compiled


class Layers(nn.Module):
    """A module that is a function of its parts."""

    def __init__(self, function, *parts):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x):
        return self.function(x, *self.parts)


CONVOLUTIONS = {
    "pointwise": (6, 10, 1),
    "same": (6, 10, 3, 1, 1),
    "large": (5, 7, 5, 1, 2),
    "valid": (6, 7, 3),
    "rectangular": (4, 5, (1, 5), 1, (0, 2)),
    "tall": (4, 5, (15, 1), 1, (7, 0)),
    "wide": (4, 5, (1, 15), 1, (0, 7)),
    "strided": (3, 8, 3, 2, 1),
    "strided by 3 and 2": (3, 8, (5, 4), (3, 2), (2, 1)),
    "stride larger than the kernel": (4, 6, 1, 2),
    "dilated": (4, 6, 3, 1, 2, 2),
    "dilated and strided": (4, 6, 3, 2, 2, 2),
    "in groups": (6, 9, 3, 1, 1, 1, 3),
    "in groups, strided": (6, 9, 3, 2, 1, 1, 3),
    "depthwise": (7, 7, 3, 1, 1, 1, 7),
    "depthwise, strided": (7, 7, 3, 2, 1, 1, 7),
    "depthwise, large": (7, 7, 5, 1, 2, 1, 7),
    "depthwise, dilated": (7, 7, 3, 1, 2, 2, 7),
    "depthwise, valid": (7, 7, 3, 1, 0, 1, 7),
    "depthwise, strided and dilated": (7, 7, 3, (2, 3), 2, 2, 7),
    "depthwise with several filters a channel": (4, 8, 3, 1, 1, 1, 4),
    "padding beyond the kernel": (3, 4, 3, 1, 4),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("as_input", ["first", "later"])
def test_convolutions(name, as_input):
    nn.manual_seed(1)
    conv = nn.Conv2d(*CONVOLUTIONS[name])
    parts = [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU()]
    if as_input == "later":  # after a pointwise convolution its input lies in the arena
        parts.insert(0, nn.Conv2d(conv.in_channels, conv.in_channels, 1))
    module = with_history(nn.Sequential(*parts))
    check(module, (2, conv.in_channels, 17, 21))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 7), (8, 70), (33, 5)])
@pytest.mark.parametrize("channels", [1, 5, 6, 13])
def test_depthwise_between_pointwise_convolutions(size, channels):
    module = with_history(
        nn.Sequential(
            nn.Conv2d(3, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels + 1, 1, bias=False),
            nn.BatchNorm2d(2 * channels + 1),
        )
    )
    check(module, (3, 3, *size))


def test_many_channels_are_summed_in_several_stretches():
    check(nn.Sequential(nn.Conv2d(3, 300, 1), nn.Conv2d(300, 7, 3, padding=1)), (1, 3, 9, 8))
    wide = [nn.Conv2d(3, 600, 1), nn.Conv2d(600, 600, 3, padding=1, groups=600)]
    check(nn.Sequential(*wide, nn.Conv2d(600, 5, 1)), (1, 3, 6, 6))


@pytest.mark.parametrize("geometry", [(2, 2, 0), (3, 2, 1), (3, 1, 1), ((2, 5), (3, 1), (1, 2))])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pooling(geometry, ceil_mode):
    pool = nn.MaxPool2d(*geometry, ceil_mode=ceil_mode)
    check(pool, (2, 3, 11, 14))
    check(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), pool, nn.Conv2d(4, 5, 3, 1, 1)), (2, 3, 11, 14)
    )


@pytest.mark.parametrize("size", [(9, 9), (11, 14), (70, 37), (64, 130)])
@pytest.mark.parametrize("geometry", [(2, 2, 0), (3, 2, 1), ((2, 5), (3, 1), (1, 2)), (3, 3, 1, 2)])
def test_max_pooling_joins_a_strided_convolution(size, geometry):
    module = nn.Sequential(
        nn.Conv2d(3, 7, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(*geometry), nn.Conv2d(7, 4, 1)
    )
    check(module, (2, 3, *size))


def test_a_second_max_pooling_does_not_take_the_place_of_the_first():
    module = nn.Sequential(
        nn.Conv2d(3, 7, 3, 2, 1), nn.MaxPool2d(3, 1, 1), nn.MaxPool2d(3, 1, 1), nn.MaxPool2d(3)
    )
    check(module, (2, 3, 25, 31))


def test_max_pooling_passes_nan_on_and_never_takes_the_padding():
    x = np.full((1, 1, 4, 4), -5, np.float32)
    x[0, 0, 0, 0] = np.nan
    pool = nn.MaxPool2d(3, 2, 1)
    np.testing.assert_array_equal(compile_module(pool, x.shape)(x), plain(pool, x).data)


def test_split_join_and_shuffle_copy_nothing():
    def block(x, conv):
        half = x.shape[1] // 2
        return F.channel_shuffle(F.cat((x[:, :half], conv(x[:, half:])), dim=1), groups=2)

    module = Layers(
        lambda x, first, *convs: [x := first(x)] and [x := block(x, conv) for conv in convs][-1],
        nn.Conv2d(3, 8, 3, padding=1),
        *(nn.Conv2d(4, 4, 1) for _ in range(5)),
    )
    compiled = check(module, (2, 3, 6, 7))
    assert compiled.plan.kinds == ["columns"] + 6 * ["product"] and len(compiled.plan.stages) == 1


def test_a_sum_of_convolutions_and_what_follows():
    nn.manual_seed(2)
    parts = [nn.Conv2d(4, 6, (5, 1), padding=(2, 0)), nn.Conv2d(4, 6, (1, 5), padding=(0, 2))]
    module = Layers(
        lambda x, first, a, b, norm: F.relu(norm(a(first(x)) + b(first(x)))),
        nn.Conv2d(3, 4, 1), *parts, nn.BatchNorm2d(6),
    )  # fmt: skip
    check(with_history(module), (2, 3, 9, 8))


def test_a_sum_with_a_depthwise_convolution():
    for groups in ((4, 4), (4, 1), (1, 4)):
        parts = [nn.Conv2d(4, 4, 3, 1, 1, groups=each) for each in groups]
        module = Layers(
            lambda x, first, a, b: F.relu(a(first(x)) + b(first(x))), nn.Conv2d(3, 4, 1), *parts
        )
        check(module, (2, 3, 9, 8))


def test_results_used_twice_are_not_changed_by_what_one_user_does():
    def function(x, conv, norm, other):
        y = conv(x)
        return {"relu": F.relu(y), "plain": y, "norm": norm(y), "sum": y + other(y)}

    module = with_history(
        Layers(function, nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
    )
    x = random((2, 3, 6, 5))
    expected = plain(module, x)
    actual = compile_module(module, x.shape)(x)
    assert list(actual) == list(expected)
    for name, tensor in expected.items():
        np.testing.assert_allclose(actual[name], tensor.data, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_residual_block():
    module = Layers(
        lambda x, first, conv: F.relu(conv(first(x)) + first(x)) + first(x),
        nn.Conv2d(3, 5, 1),
        nn.Conv2d(5, 5, 3, 1, 1),
    )
    check(module, (2, 3, 7, 6))


def test_what_the_table_does_not_know_runs_as_in_the_plain_module():
    def function(x, first, second, fc):
        x = F.interpolate(F.sigmoid(first(x)), scale_factor=2)
        x = F.avg_pool2d(F.relu6(second(x) * 3), 2)
        x = x[:, :, 1:, ::2]
        return F.softmax(fc(x.mean((2, 3))), 1), x.permute(0, 2, 3, 1).reshape(2, -1)

    module = Layers(function, nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 3, 1, 1), nn.Linear(5, 3))
    x = random((2, 3, 10, 12))
    expected = plain(module, x)
    actual = compile_module(module, x.shape)(x)
    assert isinstance(actual, tuple)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e.data, rtol=1e-4, atol=1e-5)


def test_fully_connected_layers_need_no_image():
    module = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    check(module, (4, 5))


@pytest.mark.parametrize("images", [1, 3, 20])
def test_mean_and_classifier(images):
    module = Layers(
        lambda x, conv, fc: fc(conv(x).mean((2, 3))), nn.Conv2d(3, 37, 3, 1, 1), nn.Linear(37, 50)
    )
    check(module, (images, 3, 5, 6))


@pytest.mark.parametrize("width", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("options", [{}, {"first_block": "paper"}, {"extra_depthwise": True}])
def test_shufflenet_v2(width, options):
    nn.manual_seed(0)
    module = with_history(nn.models.shufflenet_v2(width, 10, **options))
    compiled = check(module, (2, 3, 64, 96), rtol=1e-3, atol=1e-4)
    assert len(compiled.plan.stages) == 1  # all of it runs in one go


def test_float64():
    module = with_history(nn.models.shufflenet_v2(0.5, 10)).double()
    check(module, (1, 3, 64, 64), np.float64, rtol=1e-9, atol=1e-9)


def test_the_twin_does_the_same():
    nn.manual_seed(3)
    parts = []
    channels = 3
    for name in ("same", "strided", "depthwise", "depthwise, strided", "dilated", "tall", "wide"):
        geometry = list(CONVOLUTIONS[name])
        if len(geometry) == 7:
            geometry[0] = geometry[1] = geometry[6] = channels
        geometry[0] = channels
        channels = geometry[1]
        parts += [nn.Conv2d(*geometry), nn.BatchNorm2d(channels), nn.ReLU()]
    parts += [nn.MaxPool2d(3, 2, 1), nn.Conv2d(channels, 6, 1)]
    module = with_history(nn.Sequential(*parts))
    shape = (2, 3, 40, 52)
    compiled, x = compile_module(module, shape), random(shape)
    with twins():
        expected = compiled(x)
    np.testing.assert_allclose(compiled(x), expected, rtol=1e-4, atol=1e-4)


def test_bits_do_not_depend_on_the_threads():
    module, shape = with_history(nn.models.shufflenet_v2(0.5, 10)), (2, 3, 64, 64)
    x, threads = random(shape), nn.get_num_threads()
    results = []
    try:
        for count in sorted({1, threads}):
            nn.set_num_threads(count)
            compiled = compile_module(module, shape)
            results += [compiled(x), compiled(x)]
    finally:
        nn.set_num_threads(threads)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_results_and_weights_belong_to_their_owners():
    module = nn.Conv2d(3, 4, 3, padding=1)
    compiled, x = compile_module(module, (1, 3, 5, 5)), random((1, 3, 5, 5))
    first = compiled(x)
    kept = first.copy()
    module.weight.data[:] = 0
    np.testing.assert_array_equal(compiled(x), kept)
    compiled(np.zeros_like(x))
    np.testing.assert_array_equal(first, kept)


def test_training_further_does_not_reach_the_steps_outside_the_table():
    module = nn.Sequential(nn.MaxPool2d(2), nn.BatchNorm2d(3), nn.Linear(4, 5))
    compiled, x = compile_module(with_history(module), (2, 3, 8, 8)), random((2, 3, 8, 8))
    kept = compiled(x)
    for parameter in module.parameters():
        parameter.data[...] = 0
    module[1].running_mean[:] = 7
    np.testing.assert_array_equal(compiled(x), kept)


def test_what_a_module_computes_from_its_weights_alone():
    parts = nn.Conv2d(3, 4, 1), nn.Linear(1, 4, bias=False), nn.Linear(5, 6, bias=False)
    x = random((1, 3, 6, 5))
    module = Layers(
        lambda x, conv, scale, _: F.relu(scale.weight.reshape(1, 4, 1, 1)) + conv(x), *parts
    )
    check(module, x.shape)
    module = Layers(lambda x, conv, _, fc: F.linear(fc.weight, conv(x)[0, 0]), *parts)
    check(module, x.shape)


def test_the_module_stays_as_it_was():
    module = nn.models.shufflenet_v2(0.5, 10).train()
    module.stage2.eval()  # a part that is not to learn stays in its own mode
    modes = [part.training for part in module.modules()]
    before = {name: array.copy() for name, array in module.state_dict().items()}
    compile_module(module, (1, 3, 32, 32))
    assert [part.training for part in module.modules()] == modes
    for name, array in module.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_other_inputs_are_refused():
    compiled = compile_module(nn.Conv2d(3, 4, 3), (1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\).*\(1, 3, 8, 9\)"):
        compiled(np.zeros((1, 3, 8, 9), np.float32))
    with pytest.raises(ValueError, match="channels"):
        compile_module(nn.Conv2d(3, 4, 3), (1, 5, 8, 8))
    with pytest.raises(ValueError, match="at least 1"):
        compile_module(nn.Conv2d(3, 4, 3), (0, 3, 8, 8))


def test_nan_stays_where_it_is():
    module = nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 1, 1, groups=4))
    compiled, x = compile_module(module, (1, 2, 6, 6)), random((1, 2, 6, 6))
    x[0, 0, 2, 2] = np.nan
    expected = plain(module, x).data
    np.testing.assert_array_equal(np.isnan(compiled(x)), np.isnan(expected))
    clean = random((1, 2, 6, 6), 5)
    np.testing.assert_allclose(compiled(clean), plain(module, clean).data, rtol=1e-4, atol=1e-5)


def test_what_training_does_in_one_pass_is_traced_as_the_steps_it_is():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    calls = trace(model, (1, 3, 8, 8)).calls
    assert [call.operation.__name__ for call in calls] == ["Conv2d", "BatchNorm", "ReLU"]
    block = nn.models.shufflenet_v2(0.5, num_classes=None).stage2[1]
    names = [call.operation.__name__ for call in trace(block, (1, 48, 8, 8)).calls]
    assert names[-2:] == ["Cat", "ChannelShuffle"] and "Interleave" not in names
