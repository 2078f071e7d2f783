"""Networks compiled from one module for several input sizes have their weights in memory once."""

import gc
import tracemalloc

import numpy as np
import pytest
from inference_checks import Layers, random, unit
from network_cases import FAMILIES, HEAVY, blank, filled

import nn
from nn import functional as F
from nn.inference import compile as compile_module

SIZES = [(75, 97), (128, 160), (64, 64)]


def several(module, shapes):
    """Compiled for each, all sharing what they can."""
    made = []
    for shape in shapes:
        made.append(compile_module(module, shape, made[-1] if made else None))
    return made


def check(module, shapes):
    """Each gives the bits of one that shares nothing, also after all others have been compiled."""
    for compiled, shape in zip(several(module, shapes), shapes, strict=True):
        x = random(shape)
        np.testing.assert_array_equal(compiled(x), compile_module(module, shape)(x))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in HEAVY])
def test_every_family(name):
    module = filled(FAMILIES[name]().eval())
    divisor = 32 if name == "bn_inception" else 1
    check(module, [(1, 3, *(side // divisor * divisor for side in size)) for size in SIZES])


def kinds_of(module, shapes):
    return [set(compiled.plan.kinds) for compiled in several(module, shapes)]


def test_winograd_at_one_size_and_a_product_at_the_other():
    module = nn.Sequential(unit(3, 24), unit(24, 24, 3), unit(24, 16, 3))
    shapes = [(1, 3, 12, 13), (1, 3, 32, 40), (2, 3, 9, 11), (1, 3, 12, 13)]
    small, large, *_ = kinds_of(filled(module.eval()), shapes)
    assert "winograd" in large and "winograd" not in small
    check(module, shapes)


def test_numbers_that_depend_on_the_size():
    """Means of whole maps, and of windows that reach over the border."""

    def function(x, conv, squeeze, excite):
        x = conv(x)
        gate = F.sigmoid(excite(F.relu(squeeze(x.mean((2, 3)).reshape(len(x), -1, 1, 1)))))
        x = F.avg_pool2d(x * gate, 3, 2, ceil_mode=True, count_include_pad=False)
        return F.adaptive_avg_pool2d(x, (3, 2))

    parts = unit(3, 24, 3), nn.Conv2d(24, 4, 1), nn.Conv2d(4, 24, 1)
    module = filled(Layers(function, *parts).eval())
    shapes = [(1, 3, 10, 12), (1, 3, 24, 10), (2, 3, 20, 15), (1, 3, 12, 10)]
    assert all({"mean", "average"} <= kinds for kinds in kinds_of(module, shapes))
    check(module, shapes)


def test_a_window_as_large_as_the_map():
    """The same weights packed for a product, and in another order for a fully connected layer."""
    module = filled(nn.Sequential(unit(3, 16), nn.Conv2d(16, 40, 1), nn.ReLU()).eval())
    shapes = [(1, 3, 1, 1), (1, 3, 9, 7), (2, 3, 1, 1)]
    assert ["linear" in kinds for kinds in kinds_of(module, shapes)] == [True, False, True]
    check(module, shapes)


def test_a_module_that_was_trained_in_between():
    module, x = filled(nn.models.shufflenet_v2(0.5, 10).eval()), random((1, 3, 64, 64))
    first = compile_module(module, x.shape)
    before = first(x)
    for parameter in module.parameters():
        parameter.data *= np.float32(1.1)
    second = compile_module(module, x.shape, first)
    np.testing.assert_array_equal(second(x), compile_module(module, x.shape)(x))
    np.testing.assert_array_equal(first(x), before)
    assert np.abs(second(x) - before).max() > 0.1 * np.abs(before).max()


def test_another_type_of_number():
    module, shape = filled(nn.models.shufflenet_v2(0.5, 10).eval()), (1, 3, 64, 64)
    single = compile_module(module, shape)
    double = compile_module(module.double(), shape, single)
    x = random(shape)
    assert double(x).dtype == np.float64 and single(x).dtype == np.float32
    np.testing.assert_array_equal(double(x), compile_module(module, shape)(x))


def bytes_in_use():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0", "resnet18", "se_shufflenet_v2_x2_0"])
def test_a_further_size_takes_little_more_memory_than_its_table(name):
    network = filled(blank(name, num_classes=None).eval())
    module = Layers(lambda x, network: network.features(x), network)
    weights = sum(parameter.data.nbytes for parameter in module.parameters())
    tracemalloc.start()
    try:
        first = compile_module(module, (1, 3, 96, 192))
        alone = bytes_in_use()
        second = compile_module(module, (1, 3, 96, 160), first)
        both = bytes_in_use()
    finally:
        tracemalloc.stop()
    assert alone > weights + first.memory.arena.nbytes
    table = second.plan.table.nbytes + second.plan.places.nbytes
    # Where means of maps are constants, an eighth of all is room for those of other sizes.
    assert table < both - alone < table + weights / 6


def test_a_larger_size_takes_no_second_place_to_work_in():
    module = filled(nn.models.shufflenet_v2(0.5, 10).eval())
    small, large, medium = several(module, [(1, 3, 64, 64), (1, 3, 160, 160), (1, 3, 96, 96)])
    assert small.memory is large.memory is medium.memory
    alone = compile_module(module, (1, 3, 160, 160))
    assert small.memory.arena.nbytes == alone.memory.arena.nbytes


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in HEAVY])
def test_nothing_comes_of_what_others_left_in_memory(name):
    module = filled(FAMILIES[name]().eval())
    compiled, x = compile_module(module, (2, 3, 96, 64)), random((2, 3, 96, 64))
    expected = compiled(x)
    compiled.memory.arena[:] = np.nan
    np.testing.assert_array_equal(compiled(x), expected)
