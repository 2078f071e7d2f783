"""Convolution against loops in Python and PyTorch, its gradients against its definition."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn import kernels
from nn.kernels import convolution, depthwise
from nn.ops.convolution import Conv2d


def convolve_by_loops(input, weight, stride, padding, dilation, groups):
    """The definition, one multiplication at a time."""
    N, C, H, W = input.shape
    OC, group_C, KH, KW = weight.shape
    OH = (H + 2 * padding[0] - dilation[0] * (KH - 1) - 1) // stride[0] + 1
    OW = (W + 2 * padding[1] - dilation[1] * (KW - 1) - 1) // stride[1] + 1
    out = np.zeros((N, OC, OH, OW))
    for n, o, y, x in np.ndindex(out.shape):
        for c, i, j in np.ndindex(group_C, KH, KW):
            row = y * stride[0] + i * dilation[0] - padding[0]
            column = x * stride[1] + j * dilation[1] - padding[1]
            if 0 <= row < H and 0 <= column < W:
                channel = o // (OC // groups) * group_C + c
                out[n, o, y, x] += input[n, channel, row, column] * weight[o, c, i, j]
    return out


def run(arrays, needs_grad=None, **options):
    operation = Conv2d()
    operation.needs_grad = needs_grad or (True,) * len(arrays)
    return operation, operation.forward(*arrays, **options)


# (C, OC, H, W, kernel, stride, padding, dilation, groups)
CASES = {
    "pointwise": (5, 7, 4, 9, (1, 1), (1, 1), (0, 0), (1, 1), 1),
    "pointwise, stride 2": (5, 3, 5, 6, (1, 1), (2, 2), (0, 0), (1, 1), 1),
    "same": (3, 4, 6, 7, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "stem": (3, 8, 9, 8, (3, 3), (2, 2), (1, 1), (1, 1), 1),
    "tall": (2, 3, 6, 5, (15, 1), (1, 1), (7, 0), (1, 1), 1),
    "wide": (2, 3, 5, 6, (1, 15), (1, 1), (0, 7), (1, 1), 1),
    "dilated": (2, 3, 7, 8, (3, 2), (1, 1), (2, 1), (2, 3), 1),
    "stride beyond kernel": (2, 2, 9, 10, (2, 2), (3, 4), (0, 1), (1, 1), 1),
    "stride and dilation": (2, 2, 9, 8, (3, 3), (2, 3), (2, 2), (2, 2), 1),
    "padding beyond kernel": (2, 2, 3, 4, (2, 2), (1, 1), (4, 3), (1, 1), 1),
    "one pixel": (2, 2, 1, 1, (3, 3), (1, 1), (1, 1), (1, 1), 1),
    "groups": (6, 4, 5, 6, (3, 3), (1, 1), (1, 1), (1, 1), 2),
    "groups, stride 2": (6, 9, 6, 5, (2, 3), (2, 2), (1, 1), (1, 1), 3),
    "depthwise": (5, 5, 6, 7, (3, 3), (1, 1), (1, 1), (1, 1), 5),
    "depthwise, stride 2": (5, 5, 7, 9, (3, 3), (2, 2), (1, 1), (1, 1), 5),
    "depthwise, odd": (3, 3, 9, 8, (5, 2), (3, 2), (1, 3), (1, 2), 3),
    "depthwise, padding": (3, 3, 4, 3, (2, 2), (2, 3), (4, 3), (1, 1), 3),
    "depthwise, multiplied": (3, 6, 5, 5, (3, 3), (1, 1), (1, 1), (1, 1), 3),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_values_and_gradients_equal_the_definition(case):
    """Convolution is linear in each argument: <g, conv(v, w)> = <grad_input, v> for every v."""
    C, OC, H, W, kernel, *geometry, groups = case
    options = dict(zip(("stride", "padding", "dilation"), geometry, strict=True), groups=groups)
    rng = np.random.default_rng(1)
    input, v = rng.standard_normal((2, 2, C, H, W))
    weight, u = rng.standard_normal((2, OC, C // groups, *kernel))
    bias = rng.standard_normal(OC)

    expected = convolve_by_loops(input, weight, *geometry, groups)
    operation, out = run((input, weight, bias), **options)
    np.testing.assert_allclose(out, expected + bias[:, None, None], atol=1e-12)

    grad = rng.standard_normal(out.shape)
    grad_input, grad_weight, grad_bias = operation.backward(grad)
    change = (grad * convolve_by_loops(v, weight, *geometry, groups)).sum()
    np.testing.assert_allclose((grad_input * v).sum(), change, rtol=1e-10, atol=1e-10)
    change = (grad * convolve_by_loops(input, u, *geometry, groups)).sum()
    np.testing.assert_allclose((grad_weight * u).sum(), change, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(grad_bias, grad.sum((0, 2, 3)))


pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 90)),
    channels=st.tuples(st.sampled_from([1, 2, 3]), st.integers(1, 9), st.integers(1, 9)),
    is_depthwise=st.booleans(),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=pair,
    padding=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    dilation=pair,
)
def test_equals_pytorch(size, channels, is_depthwise, kernel, stride, padding, dilation):
    torch = pytest.importorskip("torch")
    (N, H, W), (groups, group_C, group_OC) = size, channels
    if is_depthwise:
        groups, group_C, group_OC = groups * group_C, 1, 1
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    H, W = (max(s, r - 2 * p) for s, r, p in zip((H, W), reach, padding, strict=True))
    rng = np.random.default_rng(N + H * W)
    arrays = [
        rng.standard_normal(shape).astype("float32")
        for shape in (
            (N, groups * group_C, H, W), (groups * group_OC, group_C, *kernel), (groups * group_OC,)
        )
    ]  # fmt: skip
    operation, out = run(arrays, stride=stride, padding=padding, dilation=dilation, groups=groups)
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    expected = torch.nn.functional.conv2d(*tensors, stride, padding, dilation, groups)
    assert out.shape == tuple(expected.shape)
    np.testing.assert_allclose(out, expected.detach().numpy(), atol=1e-4)
    grad = rng.standard_normal(out.shape).astype("float32")
    expected.backward(torch.tensor(grad))
    for actual, tensor in zip(operation.backward(grad), tensors, strict=True):
        scale = 1e-4 * (1 + np.abs(tensor.grad.numpy()).max(initial=0))
        np.testing.assert_allclose(actual, tensor.grad.numpy(), atol=scale)


# Shapes of the detector, with odd sizes: wider than a block, taller than a band.
BIG = [
    (convolution, (2, 3, 75, 83), (24, 3, 3, 3), (2, 2), (1, 1)),
    (convolution, (1, 40, 19, 21), (50, 40, 3, 3), (1, 1), (1, 1)),
    (convolution, (3, 30, 9, 10), (16, 30, 15, 1), (1, 1), (7, 0)),
    (depthwise, (2, 5, 70, 90), (5, 1, 3, 3), (1, 1), (1, 1)),
    (depthwise, (2, 5, 70, 91), (5, 1, 3, 3), (2, 2), (1, 1)),
    (depthwise, (2, 70, 7, 5), (70, 1, 5, 5), (1, 1), (2, 2)),
]


def results(kind, input_shape, weight_shape, stride, padding, twin=False):
    name = kind.__name__.split(".")[-1].replace("convolution", "conv2d")
    functions = [
        getattr(kind, f"{name}_{part}") for part in ("forward", "grad_input", "grad_weight")
    ]
    if twin:
        functions = [getattr(function, "twin", function) for function in functions]
    rng = np.random.default_rng(0)
    input, weight = (rng.standard_normal(s).astype("float32") for s in (input_shape, weight_shape))
    bias = rng.standard_normal(weight_shape[0]).astype("float32")
    size = [
        (s + 2 * p - k) // t + 1
        for s, k, t, p in zip(input_shape[2:], weight_shape[2:], stride, padding, strict=True)
    ]
    out = np.empty((input_shape[0], weight_shape[0], *size), "float32")
    grad_input, grad_weight = np.empty_like(input), np.empty_like(weight)
    geometry = (stride, padding, (1, 1))
    functions[0](input, weight, bias, out, *geometry, True)
    functions[1](out, weight, grad_input, *geometry)
    functions[2](input, out, grad_weight, *geometry)
    return out, grad_input, grad_weight


@pytest.mark.parametrize("case", BIG)
def test_kernels_equal_their_twins(case):
    with kernels.twins():
        expected = results(*case, twin=True)
    for actual, reference in zip(results(*case), expected, strict=True):
        scale = 1e-4 * (1 + np.abs(reference).max())
        np.testing.assert_allclose(actual, reference, atol=scale)


@pytest.mark.parametrize("case", BIG)
def test_bits_do_not_depend_on_the_number_of_threads(case):
    before = kernels.get_num_threads()
    if before == 1:
        pytest.skip("this machine has one core")
    several = results(*case)
    try:
        kernels.set_num_threads(1)
        single = results(*case)
    finally:
        kernels.set_num_threads(before)
    for a, b in zip(single, several, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "weight_shape, groups", [((4, 4, 1, 1), 1), ((4, 4, 3, 3), 1), ((4, 1, 3, 3), 4)]
)
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_nothing_beyond_the_arrays_is_read(weight_shape, groups, stride):
    """The arrays lie in seas of NaN."""
    rng = np.random.default_rng(0)

    def guarded(*shape):
        buffer = np.full(np.prod(shape) + 512, np.nan, "float32")
        inside = buffer[256:-256].reshape(shape)
        inside[:] = rng.standard_normal(shape)
        return inside

    options = {"stride": stride, "padding": (weight_shape[2] // 2,) * 2, "groups": groups}
    arrays = guarded(1, 4, 13, 17), guarded(*weight_shape), guarded(4)
    operation, out = run(arrays, **options)
    grads = operation.backward(guarded(*out.shape))
    assert all(np.isfinite(array).all() for array in (out, *grads))


def test_views_are_copied_and_only_the_gradients_asked_for_are_computed():
    rng = np.random.default_rng(0)
    input = rng.standard_normal((2, 8, 9, 3)).transpose(0, 3, 1, 2)[:, :, ::2]
    weight = rng.standard_normal((3, 3, 4, 3)).transpose(2, 3, 0, 1)
    operation, out = run((input, weight), needs_grad=(False, True), padding=(1, 1))
    expected = convolve_by_loops(input, weight, (1, 1), (1, 1), (1, 1), 1)
    np.testing.assert_allclose(out, expected, atol=1e-12)
    grad_input, grad_weight = operation.backward(np.ones(out.shape[::-1]).T)
    assert grad_input is None and grad_weight.shape == weight.shape


def test_padding_of_a_single_image_may_differ_per_axis():
    for padding in itertools.product((0, 1, 2), repeat=2):
        input, weight = np.ones((1, 1, 4, 5)), np.ones((1, 1, 2, 3))
        out = run((input, weight), padding=padding)[1]
        assert out.shape == (1, 1, 3 + 2 * padding[0], 3 + 2 * padding[1])


@pytest.mark.parametrize(
    "input_shape, weight_shape, bias_shape, options, words",
    [
        ((1, 3, 8, 8), (4, 5, 3, 3), (4,), {}, ["(1, 3, 8, 8)", "(4, 5, 3, 3)"]),
        ((1, 4, 8, 8), (3, 2, 3, 3), (3,), {"groups": 2}, ["(3, 2, 3, 3)", "groups 2"]),
        ((3, 8, 8), (4, 3, 3, 3), (4,), {}, ["(3, 8, 8)"]),
        ((1, 3, 8, 8), (4, 3, 3, 3), (3,), {}, ["(4,)", "(3,)"]),
        ((1, 3, 2, 8), (4, 3, 3, 3), (4,), {}, ["0 x 6", "(1, 3, 2, 8)", "(4, 3, 3, 3)"]),
        ((1, 3, 8, 8), (4, 3, 3, 3), (4,), {"stride": (0, 1)}, ["stride (0, 1)"]),
    ],
)
def test_arguments_that_do_not_go_together_are_named(
    input_shape, weight_shape, bias_shape, options, words
):
    with pytest.raises(ValueError) as error:
        run([np.zeros(shape) for shape in (input_shape, weight_shape, bias_shape)], **options)
    assert all(word in str(error.value) for word in words), error.value


def python(program, **variables):
    """Run a program in a process of its own; its last line of output, read as JSON."""
    environment = os.environ | variables | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr or run.returncode
    return json.loads(run.stdout.splitlines()[-1])


NARROW = """
import json, numpy as np
from nn import kernels
from nn.kernels import convolution, depthwise, matmul, stencil
from nn.kernels.machine import simd
from nn.ops.convolution import Conv2d

def results(shape, stride, groups):
    rng = np.random.default_rng(0)
    input, weight = rng.standard_normal((2, 6, 9, 21), "f"), rng.standard_normal(shape, "f")
    operation = Conv2d()
    operation.needs_grad = True, True
    padding = tuple(size // 2 for size in shape[2:])
    out = operation.forward(input, weight, stride=stride, padding=padding, groups=groups)
    return [out, *operation.backward(out)]

for case in (
    ((5, 6, 1, 1), (1, 1), 1), ((5, 6, 3, 3), (1, 1), 1),
    ((6, 1, 3, 3), (2, 2), 6), ((6, 1, 5, 5), (2, 2), 6),
):
    with kernels.twins():
        expected = results(*case)
    for actual, reference in zip(results(*case), expected):
        assert abs(actual - reference).max() < 1e-4 * (1 + abs(reference).max()), case
hits = sum(
    sum(function.compiled.stats.cache_hits.values())
    for function in (
        matmul.matmul, matmul.matmul_transposed, convolution.conv2d_forward,
        convolution.turn_weights, convolution.conv2d_grad_weight, depthwise.depthwise_forward,
        depthwise.depthwise_grad_input, depthwise.depthwise_grad_weight,
        stencil.stencil_forward, stencil.stencil_grad_input, stencil.stencil_grad_weight,
    )
)
print(json.dumps([simd.LANES, hits]))
"""


def test_a_processor_with_narrow_vectors_and_the_cache_in_a_second_process(tmp_path):
    variables = {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "NUMBA_DISABLE_JIT": "0",  # also where the tests themselves run on the twins
    }
    assert python(NARROW, **variables) == [4, 0]  # compiled for the narrowest vectors
    assert python(NARROW, **variables) == [4, 11]  # nothing compiled again


AT_THE_END_OF_MEMORY = """
import ctypes, itertools, mmap
import numpy as np
from nn.ops.convolution import Conv2d

def at_the_end(shape):
    size = int(np.prod(shape)) * 4
    pages = -(-size // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    array = np.frombuffer(memory, "float32")
    end = array.ctypes.data + pages * mmap.PAGESIZE
    libc = ctypes.CDLL(None)
    libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    assert libc.mprotect(end, mmap.PAGESIZE, 0) == 0
    last = pages * mmap.PAGESIZE // 4
    result = array[last - size // 4 : last].reshape(shape)
    result[:] = 1
    return result

for W, stride in itertools.product((15, 16, 17, 31, 32, 33, 64, 65), (1, 2)):
    for shape, groups in ((2, 2, 1, 1), 1), ((2, 2, 3, 3), 1), ((2, 1, 3, 3), 2):
        for padding in {shape[2] // 2, 0}:
            operation = Conv2d()
            operation.needs_grad = True, True
            out = operation.forward(
                at_the_end((1, 2, 4, W)), at_the_end(shape), stride=(stride, stride),
                padding=(padding, padding), groups=groups,
            )
            operation.backward(at_the_end(out.shape))
print("true")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs mprotect")
def test_arrays_that_end_where_memory_ends():
    """One float too far is a segmentation fault here."""
    assert python(AT_THE_END_OF_MEMORY) is True
