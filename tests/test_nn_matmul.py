"""The matrix product kernels against loops in Python, their twins, and each other's threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nn import kernels
from nn.kernels.machine import cache, simd
from nn.kernels.matmul import matmul, matmul_transposed
from nn.kernels.multiply_adds import SUMS, multiply_adds

TOLERANCE = {"float32": 2e-4, "float64": 1e-12}


def product_by_loops(a, b):
    M, K = a.shape
    out = np.zeros((M, b.shape[1]))
    for m in range(M):
        for n in range(b.shape[1]):
            out[m, n] = sum(float(a[m, k]) * float(b[k, n]) for k in range(K))
    return out


def random(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def guarded(array):
    """A contiguous copy whose neighbours in memory are NaN: reading beyond it spoils the result."""
    buffer = np.full(array.size + 256, np.nan, array.dtype)
    inside = buffer[128 : 128 + array.size].reshape(array.shape)
    inside[:] = array
    return inside, buffer


def assert_guards_untouched(buffer):
    assert np.isnan(buffer[:128]).all() and np.isnan(buffer[-128:]).all()


# Fewer, as many and more than the columns and rows of a block, for every vector width.
SIZES = [(1, 1, 1), (6, 3, 64), (7, 5, 65), (13, 2, 47), (5, 9, 16), (12, 4, 33), (2, 11, 130),
         (7, 5, 49), (8, 3, 17), (3, 4, 9)]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("M, K, N", SIZES)
def test_matmul_equals_loops_and_stays_inside_its_arrays(M, K, N, dtype):
    rng = np.random.default_rng(M * N)
    a, _ = guarded(random(rng, dtype, 1, M, K))
    b, _ = guarded(random(rng, dtype, 2, K, N))
    bias, _ = guarded(random(rng, dtype, M))
    out, buffer = guarded(np.zeros((2, M, N), dtype))
    matmul(a, b, bias, out, False, False)
    for i in range(2):
        expected = product_by_loops(a[0], b[i]) + bias[:, None]
        np.testing.assert_allclose(out[i], expected, atol=TOLERANCE[dtype])
    assert_guards_untouched(buffer)

    a_columns, _ = guarded(a.transpose(0, 2, 1))
    again, buffer = guarded(np.zeros((2, M, N), dtype))
    matmul(a_columns, b, bias, again, True, True)
    np.testing.assert_array_equal(again, np.maximum(out, 0))
    assert_guards_untouched(buffer)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("M, K, N", SIZES)
def test_matmul_transposed_equals_loops_and_stays_inside_its_arrays(M, K, N, dtype):
    rng = np.random.default_rng(M * N)
    # K and N exchanged: here the long axis is the summed one.
    a, _ = guarded(random(rng, dtype, 3, M, N))
    b, _ = guarded(random(rng, dtype, 3, K, N))
    bias, _ = guarded(random(rng, dtype, K))
    out, buffer = guarded(np.zeros((M, K), dtype))
    matmul_transposed(a, b, bias, out)
    expected = sum(product_by_loops(a[i], b[i].T) for i in range(3)) + bias
    np.testing.assert_allclose(out, expected, atol=TOLERANCE[dtype])
    assert_guards_untouched(buffer)


dimension = st.integers(1, 300)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), dimension, st.integers(1, 1500), dimension, st.booleans(), st.booleans())
def test_kernels_equal_their_twins(batch, M, K, N, transposed, relu):
    rng = np.random.default_rng(M + 7 * K + N)
    M, N = (M, N) if K < 300 else (M // 8 + 1, N // 8 + 1)
    a = random(rng, "float32", batch, *((K, M) if transposed else (M, K)))
    b, bias = random(rng, "float32", batch, K, N), random(rng, "float32", M)
    out, expected = np.empty((2, batch, M, N), "float32")
    matmul(a, b, bias, out, transposed, relu)
    matmul.twin(a, b, bias, expected, transposed, relu)
    np.testing.assert_allclose(out, expected, atol=1e-5 * K + 1e-4)

    a, b, bias = (random(rng, "float32", *shape) for shape in ((batch, M, K), (batch, N, K), (N,)))
    out, expected = np.empty((2, M, N), "float32")
    matmul_transposed(a, b, bias, out)
    matmul_transposed.twin(a, b, bias, expected)
    np.testing.assert_allclose(out, expected, atol=1e-5 * K + 1e-4)


def test_rectifying_keeps_not_a_number():
    a, b = np.ones((1, 2, 1), "float32"), np.array([[[np.nan, 1, -1]]], "float32")
    out = np.empty((1, 2, 3), "float32")
    matmul(a, b, np.zeros(2, "float32"), out, False, True)
    np.testing.assert_array_equal(out[0, 0], [np.nan, 1, 0])


@pytest.mark.parametrize("M, K, N", [(0, 3, 4), (3, 0, 4), (3, 4, 0)])
def test_empty_matrices(M, K, N):
    bias, out = np.arange(M, dtype="float32"), np.empty((1, M, N), "float32")
    matmul(np.ones((1, M, K), "f"), np.ones((1, K, N), "f"), bias, out, False, False)
    np.testing.assert_array_equal(out[0], bias[:, None] + np.full((M, N), K))
    bias, out = np.arange(N, dtype="float32"), np.empty((M, N), "float32")
    matmul_transposed(np.ones((1, M, K), "f"), np.ones((1, N, K), "f"), bias, out)
    np.testing.assert_array_equal(out, bias + np.full((M, N), K))


@pytest.mark.parametrize("M, K, N", [(24, 24, 3000), (100, 2100, 40), (260, 30, 70)])
def test_bits_do_not_depend_on_the_number_of_threads(M, K, N):
    rng = np.random.default_rng(0)
    a, b = random(rng, "float32", 1, M, K), random(rng, "float32", 4, K, N)
    long_a, long_b = random(rng, "float32", 4, M, N), random(rng, "float32", 4, K, N)
    before = kernels.get_num_threads()
    results = []
    try:
        for threads in {1, before}:
            kernels.set_num_threads(threads)
            out, sums = np.empty((4, M, N), "float32"), np.empty((M, K), "float32")
            matmul(a, b, np.zeros(M, "float32"), out, False, False)
            matmul_transposed(long_a, long_b, np.zeros(K, "float32"), sums)
            results.append((out, sums))
    finally:
        kernels.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(other[0], results[0][0])
        np.testing.assert_array_equal(other[1], results[0][1])


def test_blocks_fit_into_the_registers_of_each_processor():
    registers = {"avx512f": 32, "avx2": 16, "neon": 32, "nothing special": 16}
    for feature, count in registers.items():
        _, rows, vectors = simd.block_shape({feature})
        assert rows * vectors + vectors + 1 <= count, feature


def test_multiply_adds_in_registers_are_all_done():
    a, b = random(np.random.default_rng(0), "float32", 2, simd.LANES)
    start = np.arange(2 * SUMS * simd.LANES, dtype="float32").reshape(2, SUMS, simd.LANES)
    sums = start.copy()
    multiply_adds(a, b, 1000, sums)
    np.testing.assert_allclose(sums, start + 1000 * a * b, rtol=1e-4, atol=1e-2)


def test_cache_stamp_covers_imported_kernel_files(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "KERNELS", tmp_path)
    (tmp_path / "machine").mkdir()
    imports = "from nn.kernels.machine.b import (\n    x,\n)"
    for name, text in {"a": imports, "machine/b": "x = 1", "c": ""}.items():
        (tmp_path / f"{name}.py").write_text(text)
    assert {path.name for path in cache.sources(tmp_path / "a.py")} == {"a.py", "b.py"}
    before = cache.stamp(tmp_path / "a.py")
    (tmp_path / "machine" / "b.py").write_text("x = 2")
    cache.stamp.cache_clear()
    assert cache.stamp(tmp_path / "a.py") != before
