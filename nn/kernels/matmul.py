"""Matrix products: pointwise convolutions, fully connected layers and all their gradients.

    matmul              out[i] = A[i] B[i] + bias         vectors along the columns of B
    matmul_transposed   out    = bias + sum_i A[i] B[i]^T   vectors along the summed axis

M rows, N columns, K the summed axis. Neither copies an operand: ``machine.register_blocks`` reads
both where they lie. The product is cut into tiles of columns that are independent tasks,
and K into stretches short enough for what is read again and again to stay in the cache (Goto and
van de Geijn, "Anatomy of high-performance matrix multiplication", 2008).

How the work is cut depends on the shapes alone, so the bits do not depend on the threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from nn.kernels.machine.copy_rows import copy_rows
from nn.kernels.machine.jit import device, kernel, shared
from nn.kernels.machine.parts import ceil_div, multiples
from nn.kernels.machine.register_blocks import (
    COLUMN_LANES,
    COLUMNS,
    DOT_COLUMNS,
    DOT_ROWS,
    HAS_ODD,
    ROWS,
    dot_block,
    outer_tile,
)
from nn.kernels.machine.simd import LANES

LINE = 16  # numbers of a cache line
TILE = 48 // COLUMNS * COLUMNS  # columns of one task: one block or several of narrower vectors
PITCH = 5 * LINE  # of rows in working memory: a tile and a column more, an odd number of lines
K_BLOCK = 256  # summed elements a stretch: as many rows of PITCH floats are 80 KB of the L2 cache
DOT_K_BLOCK = 1024  # the same for dot products: 10 rows x 1024 floats are 40 KB
DOT_N_BLOCK = 8 * DOT_COLUMNS  # rows of B that one task of dot products multiplies
DOT_M_BLOCK = 16 * DOT_ROWS  # rows of A that one task of dot products multiplies
WORTH_ORDER = 512  # columns of B that make it worth to copy A into the order of its use
SHORT = 128  # elements of a row that is too short for dot products
ENOUGH_TASKS = 8  # cut further only while there are fewer tasks than this


def matmul_reference(a, b, bias, out, transpose_a, relu):
    """out[i] = A[i] B[i] + bias[:, None]."""
    rows = a.transpose(0, 2, 1) if transpose_a else a
    np.matmul(rows, b, out=out)
    out += bias[:, None]
    if relu:
        np.maximum(out, 0, out=out)


@kernel(twin=matmul_reference)
def matmul(a, b, bias, out, transpose_a, relu):
    """Fill ``out`` (batch, M, N) with A[i] ``b``[i] + ``bias`` and, if ``relu``, max(0, .) of it.

    A[i] is ``a[i]`` (batch, M, K), or its transpose if ``transpose_a`` and ``a`` is (batch, K, M);
    a batch of one serves every i. ``b`` is (batch, K, N), ``bias`` (M,) belongs to rows.
    """
    batch, M, N = out.shape
    K = b.shape[1]
    a_row, a_column = (1, M) if transpose_a else (K, 1)
    flat_a, a_matrix, a_group, a_row, a_column = in_order(
        a.reshape(-1), a.shape[0], M, K, a_row, a_column, N * batch // a.shape[0]
    )
    a_matrix = a_matrix if a.shape[0] > 1 else 0
    flat_b, flat_out = b.reshape(-1), out.reshape(-1)
    b_offsets = multiples(N, min(K, K_BLOCK))
    out_offsets = multiples(N, M)

    most = tile_of(N)
    tiles = ceil_div(N, most)
    rows = ROWS * rows_per_task(ceil_div(M, ROWS), batch * tiles)
    row_blocks = ceil_div(M, rows)
    for task in prange(batch * tiles * row_blocks):
        i = task // (tiles * row_blocks)
        tile = task // row_blocks % tiles * most
        first = task % row_blocks * rows
        for k in range(0, max(K, 1), K_BLOCK):
            outer_tile(
                flat_a, i * a_matrix + first // ROWS * a_group + k * a_column, a_group,
                a_row, a_column,
                flat_b, (i * K + k) * N + tile, b_offsets,
                flat_out, i * M * N + tile, out_offsets, first,
                bias, min(K_BLOCK, K - k), min(rows, M - first), min(most, N - tile),
                k > 0, 0.0 if relu and k + K_BLOCK >= K else -np.inf, np.inf,
            )  # fmt: skip


@shared
def tile_of(columns):
    """How many columns to do at a time: a tile, or a column more if that leaves fewer over."""
    if HAS_ODD and eighths(columns, TILE + 1) < eighths(columns, TILE):
        return TILE + 1
    return TILE


@shared
def eighths(columns, tile):
    """How many eighths of a vector the tiles take."""
    rest = columns % tile
    return columns // tile * eighths_of_tile(tile) + eighths_of_tile(rest)


@shared
def eighths_of_tile(columns):
    """Of one tile: a column behind a whole block is a part of a vector."""
    if HAS_ODD and columns > COLUMNS and columns % COLUMNS == 1:
        return columns // LANES * 8 + 1
    return ceil_div(columns, LANES) * 8


@device
def in_order(a, matrices, M, K, a_row, a_column, columns):
    """A[i, m, k], ``a[i * M * K + m * a_row + k * a_column]``, in the order in which it is used.

    In groups of ROWS rows, column by column; or as it is, if it serves too few columns of B to be
    worth it. Also: how far apart matrices, groups, rows and columns are.
    """
    if columns < WORTH_ORDER:
        return a, M * K, ROWS * a_row, a_row, a_column
    group = ROWS * K
    size = ceil_div(M, ROWS) * group
    ordered = np.empty(matrices * size + COLUMN_LANES, a.dtype)
    for i in range(matrices):
        for m in range(0, M, ROWS):
            at, start, count = i * size + m * K, i * M * K + m * a_row, min(ROWS, M - m)
            if count == ROWS:  # a number that the compiler knows: eight at a time
                for k in range(K):
                    for r in range(ROWS):
                        ordered[at + k * ROWS + r] = a[start + r * a_row + k * a_column]
            else:
                for k in range(K):
                    for r in range(count):
                        ordered[at + k * ROWS + r] = a[start + r * a_row + k * a_column]
    return ordered, size, group, 1, ROWS


@device
def rows_per_task(row_groups, column_tasks):
    """Groups of rows for one task: all of them, unless the columns alone make too few tasks."""
    parts = max(1, ceil_div(ENOUGH_TASKS, max(column_tasks, 1)))
    return max(ceil_div(row_groups, parts), 1)


def matmul_transposed_reference(a, b, bias, out):
    """out = sum_i A[i] B[i]^T + bias[None, :]."""
    out[:] = np.matmul(a, b.transpose(0, 2, 1)).sum(0) + bias


@kernel(twin=matmul_transposed_reference)
def matmul_transposed(a, b, bias, out):
    """Fill ``out`` (M, N) with ``bias`` (N,) + the sum over i of a[i] (M, K) times b[i] (N, K)^T.

    When ``out`` is too small to make enough tasks, the sum is cut into sections, each summed into
    a matrix of its own; these are added in order. Short rows are laid side by side first: the 49
    pixels of 16 images leave the last of four vectors empty, their 784 pixels together do not.
    Measured 1.6 times faster, copies included.
    """
    if a.shape[0] > 1 and a.shape[2] < SHORT:
        a, b = side_by_side(a), side_by_side(b)
    batch, M, K = a.shape
    N = b.shape[1]
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    a_offsets, b_offsets = multiples(K, M), multiples(K, N)
    row_blocks, column_blocks = ceil_div(M, DOT_M_BLOCK), ceil_div(N, DOT_N_BLOCK)
    # Blocks of nearly equal height: 60 + 56 rows instead of 96 + 20 keep two threads busy.
    height = DOT_ROWS * ceil_div(ceil_div(M, max(row_blocks, 1)), DOT_ROWS)
    blocks = row_blocks * column_blocks
    together, depth, stretches = stretches_of(batch, K)
    sections = sections_of(stretches, blocks)
    partial = np.empty((sections if sections > 1 else 0, M, N), out.dtype)
    for task in prange(sections * blocks):
        section = task // blocks
        m = task // column_blocks % row_blocks * height
        n = task % column_blocks * DOT_N_BLOCK
        row_count, column_count = min(height, M - m), min(DOT_N_BLOCK, N - n)
        total = partial[section] if sections > 1 else out
        target = total[m : m + row_count, n : n + column_count]
        start_sums(target, bias[n : n + column_count], section == 0)
        first, last = section * stretches // sections, (section + 1) * stretches // sections
        for stretch in range(first, last):
            i, repeat, k, count = stretch_at(stretch, batch, K, together, depth)
            add_dot_products(
                flat_a, i * M * K + k, M * K, a_offsets, m, row_count,
                flat_b, i * N * K + k, N * K, b_offsets, n, column_count,
                count, repeat, total.reshape(-1), m * N + n, N,
            )  # fmt: skip
    if sections > 1:
        add_sections(partial, out)


@device
def side_by_side(matrices):
    """(batch, rows, K) -> (1, rows, batch K): row r holds the rows r of all matrices in order."""
    batch, rows, K = matrices.shape
    joined = np.empty((1, rows, batch * K), matrices.dtype)
    flat, flat_joined = matrices.reshape(-1), joined.reshape(-1)
    for i in range(batch):
        copy_rows(flat, i * rows * K, K, 0, K, flat_joined, i * K, batch * K, K, rows)
    return joined


@device
def stretches_of(batch, K):
    """Cut a sum over ``batch`` rows of ``K`` elements into stretches for the cache.

    Returns how many rows go together (several if they are short), how many elements of a row
    belong to a stretch, and the number of stretches.
    """
    depth = min(K, DOT_K_BLOCK)
    together = max(1, min(batch, DOT_K_BLOCK // max(K, 1)))
    return together, depth, ceil_div(batch, together) * ceil_div(K, max(depth, 1))


@device
def stretch_at(stretch, batch, K, together, depth):
    """(first row, how many rows, first element, how many elements) of one stretch."""
    pieces = ceil_div(K, depth)
    i, k = stretch // pieces * together, stretch % pieces * depth
    return i, min(together, batch - i), k, min(depth, K - k)


@device
def sections_of(stretches, blocks):
    """How many parts to cut a sum of ``stretches`` into, given ``blocks`` independent outputs."""
    return max(1, min(stretches, ceil_div(ENOUGH_TASKS, max(blocks, 1))))


@device
def start_sums(target, bias, first):
    """Set every row to ``bias`` in the first section and to zero in the others."""
    for m in range(target.shape[0]):
        for n in range(target.shape[1]):
            target[m, n] = bias[n] if first else 0


@device
def add_dot_products(
    a, a_at, a_step, a_offsets, a_first, M, b, b_at, b_step, b_offsets, b_first, N,
    K, repeat, c, c_at, c_row,
):  # fmt: skip
    """C[m, n] += sum_k A[m, k] B[n, k] for m < M, n < N; arguments as in ``dot_block``."""
    for m in range(0, M, DOT_ROWS):
        for n in range(0, N, DOT_COLUMNS):
            dot_block(
                a, a_at, a_step, a_offsets, a_first + m, b, b_at, b_step, b_offsets, b_first + n,
                K, repeat, c, c_at + m * c_row + n, c_row,
                min(DOT_ROWS, M - m), min(DOT_COLUMNS, N - n),
            )  # fmt: skip


@device
def add_sections(partial, out):
    """out = the sum of ``partial`` (sections, M, N) over sections, in order."""
    sections, M, N = partial.shape
    for m in range(M):
        for n in range(N):
            total = partial[0, m, n]
            for section in range(1, sections):
                total += partial[section, m, n]
            out[m, n] = total
