"""The two innermost loops of every matrix product and convolution, held in registers.

- ``outer_block``  C[m, n] = start[m] + sum_k A[m, k] B[k, n], vectors along n. One row of B is
  loaded once and used for ROWS rows of C.
- ``dot_block``    C[m, n] += sum_k A[m, k] B[n, k], vectors along k. For weight gradients, where
  both operands lie in memory along the summed axis (pixels); it spares both transposes.

Rows are addressed through lists of offsets, so a row may lie anywhere: in a plane of an image, in
a buffer of gathered patches, in every second channel. Edges of any size are handled by masks.
"""

from __future__ import annotations

from nn.kernels.machine.emitted import Variable, emitted, value_of
from nn.kernels.machine.simd import LANES, VECTORS, Vectors, loop, widths

ROWS = 6  # rows of C in a block
COLUMN_LANES = 8  # numbers of a vector that holds one column of a block
COLUMNS = LANES * VECTORS  # columns of C in a block of `outer_block`
DOT_ROWS, DOT_COLUMNS = ROWS, VECTORS  # the block of sums of `dot_block`


def existing(count, most):
    """The numbers 0 to ``most`` - 1, or the last below ``count`` for what does not exist.

    A row beyond the edge is computed as a copy of the last one and not stored.
    """
    last = count - 1
    return [last.where(last < m, m) for m in range(most)]


def make_outer_block(rows: int, vectors: int):
    """Build ``outer_block`` for blocks of ``rows`` rows and ``vectors`` vectors a row."""

    @emitted
    def outer_block(
        builder, a, a_at, a_row, a_column, b, b_at, b_offsets, c, c_at, c_offsets, c_first,
        bias, K, row_count, column_count, accumulate, low, high,
    ):  # fmt: skip
        """One block of C = start + A B, then min(max(., low), high).

        A[m, k] is ``a[a_at + m * a_row + k * a_column]``, B[k, n] ``b[b_at + b_offsets[k] + n]``
        and C[m, n] ``c[c_at + c_offsets[c_first + m] + n]``, all flat arrays. The start is C itself
        if ``accumulate``, else ``bias[c_first + m]``. ``row_count`` and ``column_count`` say how
        much of the block exists; nothing beyond is read or written.
        """
        vector, column = Vectors(builder, a.element), Vectors(builder, a.element, COLUMN_LANES)
        a, b, c = a.at(a_at), b.at(b_at), c.at(c_at)
        c_offsets, bias = c_offsets.at(c_first), bias.at(c_first)
        row = existing(row_count, rows)
        a_rows = [a.at(r * a_row) for r in row]
        row_lanes = column.lanes_below(row_count)
        lowest, highest = vector.splat(low), vector.splat(high)

        def c_at_vector(m, n):
            return c.at(c_offsets[row[m]] + n * LANES)

        def block(width, mask, odd=False):
            """``width`` vectors a row, the last one masked; if ``odd``, one more column.

            The sums of that column are one vector with a lane for each row, so it costs one
            multiply-add and not a vector in each row. 7 x 7 pixels are 3 x 16 + 1.
            """
            sums = [[Variable(builder, vector.zero) for _ in range(width)] for _ in range(rows)]
            odd_sums = Variable(builder, column.zero)
            masks = [None] * (width - 1) + [mask]

            with builder.if_else(accumulate != 0) as (then, otherwise):
                with then:
                    for m in range(rows):
                        for n in range(width):
                            sums[m][n].set(vector.load(c_at_vector(m, n), masks[n]))
                    if odd:
                        start = column.zero
                        for m in range(rows):
                            value = c_at_vector(m, width)[0]
                            start = builder.insert_element(start, value, value_of(m))
                        odd_sums.set(start)
                with otherwise:
                    for m in range(rows):
                        start = vector.splat(bias[row[m]])
                        for n in range(width):
                            sums[m][n].set(start)
                    if odd:
                        odd_sums.set(column.load(bias, row_lanes))

            with loop(K) as k:
                b_row = b.at(b_offsets[k])
                b_vectors = [vector.load(b_row.at(n * LANES), masks[n]) for n in range(width)]
                # Weights of large layers lie in no cache, in the order in which they are used.
                vector.prefetch(a.at(k * a_column))
                for m in range(rows):
                    factor = vector.splat(a_rows[m][k * a_column])
                    for n in range(width):
                        total = sums[m][n]
                        total.set(vector.multiply_add(factor, b_vectors[n], total.get()))
                if odd:
                    factors = column.load(a.at(k * a_column), row_lanes)
                    b_value = column.splat(b_row[width * LANES])
                    odd_sums.set(column.multiply_add(factors, b_value, odd_sums.get()))

            odd_column = column.clamp(odd_sums.get(), column.splat(low), column.splat(high))
            for m in range(rows):
                with builder.if_then(row_count > m):
                    for n in range(width):
                        value = vector.clamp(sums[m][n].get(), lowest, highest)
                        vector.store(value, c_at_vector(m, n), masks[n])
                    if odd:
                        value = builder.extract_element(odd_column, value_of(m))
                        c_at_vector(m, width)[0] = value

        with builder.if_else(column_count == vectors * LANES) as (then, otherwise):
            with then:
                block(vectors, None)
            with otherwise:
                for width, rest in widths(column_count, vectors):
                    if width < vectors or rows == 1:
                        block(width, vector.lanes_below(rest))
                        continue
                    lies_together = a_row == 1
                    single = builder.and_(rest == 1, lies_together)
                    with builder.if_else(single) as (is_single, several):
                        with is_single:
                            block(width - 1, None, odd=True)
                        with several:
                            block(width, vector.lanes_below(rest))

    return outer_block


def make_dot_block(rows: int, columns: int):
    """Build ``dot_block`` for blocks of ``rows`` x ``columns`` sums."""

    @emitted
    def dot_block(
        builder, a, a_at, a_step, a_offsets, a_first, b, b_at, b_step, b_offsets, b_first,
        K, repeat, c, c_at, c_row, row_count, column_count,
    ):  # fmt: skip
        """One block of C += A B^T, sums over k < K, with C[m, n] = ``c[c_at + m * c_row + n]``.

        A[m, k] is ``a[a_at + a_offsets[a_first + m] + k]``, B[n, k] likewise, all flat arrays.
        This ``repeat`` times, ``a_step`` and ``b_step`` further on each time, before the sums are
        added to C: short rows of many images. ``row_count`` and ``column_count`` say how much of
        the block exists; nothing beyond is read or written.
        """
        vector = Vectors(builder, a.element)
        sums = [[Variable(builder, vector.zero) for _ in range(columns)] for _ in range(rows)]
        a_offsets = [a_offsets[a_first + m] for m in existing(row_count, rows)]
        b_offsets = [b_offsets[b_first + n] for n in existing(column_count, columns)]

        def multiply(a_rows, b_rows, k, mask):
            b_vectors = [vector.load(row.at(k), mask) for row in b_rows]
            for m, row in enumerate(a_rows):
                a_vector = vector.load(row.at(k), mask)
                for total, b_vector in zip(sums[m], b_vectors, strict=True):
                    total.set(vector.multiply_add(a_vector, b_vector, total.get()))

        done = K // LANES * LANES
        rest = K - done
        rest_lanes = vector.lanes_below(rest)
        with loop(repeat) as turn:
            a_start, b_start = a.at(a_at + turn * a_step), b.at(b_at + turn * b_step)
            a_rows = [a_start.at(offset) for offset in a_offsets]
            b_rows = [b_start.at(offset) for offset in b_offsets]
            with loop(done, LANES) as k:
                multiply(a_rows, b_rows, k, None)
            with builder.if_then(rest > 0):
                multiply(a_rows, b_rows, done, rest_lanes)

        for m, row in enumerate(sums):
            with builder.if_then(row_count > m):
                for first in range(0, columns, LANES):
                    total = vector.sums([part.get() for part in row[first : first + LANES]])
                    mask = vector.lanes_below(column_count - first, total.type.count)
                    place = c.at(c_at + c_row * m + first)
                    old = vector.load(place, mask, total.type.count)
                    vector.store(builder.fadd(old, total), place, mask)

    return dot_block


outer_block = make_outer_block(ROWS, VECTORS)
dot_block = make_dot_block(DOT_ROWS, DOT_COLUMNS)
