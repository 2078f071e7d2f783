"""The two innermost loops of every matrix product and convolution, held in registers.

- ``outer_tile``   C[m, n] = start[m] + sum_k A[m, k] B[k, n], vectors along n. One row of B is
  loaded once and used for all rows of a block of C.
- ``dot_block``    C[m, n] += sum_k A[m, k] B[n, k], vectors along k. For weight gradients, where
  both operands lie in memory along the summed axis (pixels); it spares both transposes.

Rows are addressed through lists of offsets, so a row may lie anywhere: in a plane of an image, in
a buffer of gathered patches, in every second channel. Edges of any size are handled by masks.
"""

from __future__ import annotations

from dataclasses import dataclass

from nn.kernels.machine.emitted import Flat, Index, Variable, emitted, emitted_apart, value_of
from nn.kernels.machine.simd import HAS_MASKS, LANES, ROWS, VECTORS, Vectors, loop, widths

FEW = ROWS // 2  # the last rows, if they are so few, are a block of their own
COLUMNS = VECTORS * LANES  # of a block
HAS_ODD = LANES > 4  # whether there are registers for one column more; NEON's are too short
COLUMN_LANES = 8  # numbers of a vector that holds one column of a block, or more than that
DOT_ROWS, DOT_COLUMNS = (6, 4) if ROWS * VECTORS > 16 else (6, 2)  # sums of `dot_block`


def existing(count, most):
    """The numbers 0 to ``most`` - 1, or the last below ``count`` for what does not exist.

    A row beyond the edge is computed as a copy of the last one and not stored.
    """
    last = count - 1
    return [last.where(last < m, m) for m in range(most)]


@dataclass
class Product:
    """C = start + A B, then min(max(., low), high), block by block.

    A[m, k] is ``a[m * a_row + k * a_column]``, B[k, n] ``b[b_offsets[k] + n]`` and C[m, n]
    ``c[c_offsets[m] + n]``. The start is C itself if ``accumulate``, else ``bias[m]``.
    """

    a: Flat
    a_row: Index
    a_column: Index
    b: Flat
    b_offsets: Flat
    c: Flat
    c_offsets: Flat
    bias: Flat
    K: Index
    accumulate: Index
    low: object
    high: object

    def block(self, rows, row_count, width, count=None, odd=False):
        """Emit ``rows`` rows of ``width`` vectors, of the last only ``count`` numbers if given;
        if ``odd``, one more column.

        ``row_count`` says how many of the rows exist; nothing beyond is read or written. The sums
        of the odd column are one vector with a lane for each row, so it costs one multiply-add and
        not a vector in each row.
        """
        builder, a, b = self.K.builder, self.a, self.b
        vector, column = Vectors(builder, a.element), Vectors(builder, a.element, COLUMN_LANES)
        row = existing(row_count, rows)
        a_rows = [a.at(r * self.a_row) for r in row]
        row_lanes = column.lanes_below(row_count)
        low, high = vector.splat(self.low), vector.splat(self.high)
        sums = [[Variable(builder, vector.zero) for _ in range(width)] for _ in range(rows)]
        odd_sums = Variable(builder, column.zero)
        counts = [None] * (width - 1) + [count]
        masks = [None if each is None else vector.lanes_below(each) for each in counts]

        def c_at_vector(m, n):
            return self.c.at(self.c_offsets[row[m]] + n * LANES)

        with builder.if_else(self.accumulate != 0) as (then, otherwise):
            with then:
                for m in range(rows):
                    for n in range(width):
                        sums[m][n].set(vector.load(c_at_vector(m, n), masks[n]))
                if odd:
                    start = column.zero
                    for m in range(rows):
                        start = builder.insert_element(start, c_at_vector(m, width)[0], value_of(m))
                    odd_sums.set(start)
            with otherwise:
                for m in range(rows):
                    start = vector.splat(self.bias[row[m]])
                    for n in range(width):
                        sums[m][n].set(start)
                if odd:
                    odd_sums.set(column.load(self.bias, row_lanes))

        with loop(self.K) as k:
            b_row = b.at(self.b_offsets[k])
            b_vectors = [vector.load(b_row.at(n * LANES), masks[n]) for n in range(width)]
            if HAS_MASKS:  # a step of AVX2 is short, and foreseen well
                # Weights of large layers lie in no cache, in the order in which they are used.
                vector.prefetch(a.at(k * self.a_column))
            for m in range(rows):
                factor = vector.splat(a_rows[m][k * self.a_column])
                for n in range(width):
                    total = sums[m][n]
                    total.set(vector.multiply_add(factor, b_vectors[n], total.get()))
            if odd:
                factors = column.load(a.at(k * self.a_column))  # the lanes too many are not stored
                b_value = column.splat(b_row[width * LANES])
                odd_sums.set(column.multiply_add(factors, b_value, odd_sums.get()))

        odd_column = column.clamp(odd_sums.get(), column.splat(self.low), column.splat(self.high))
        for m in range(rows):
            with builder.if_then(row_count > m):
                for n in range(width):
                    value = vector.clamp(sums[m][n].get(), low, high)
                    vector.store(value, c_at_vector(m, n), counts[n])
                if odd:
                    value = builder.extract_element(odd_column, value_of(m))
                    c_at_vector(m, width)[0] = value


def make_row_block(vectors: int):
    """Build ``row_block``: a product of one row, at most ``vectors`` vectors of it."""

    @emitted
    def row_block(
        builder, a, a_at, a_column, b, b_at, b_offsets, c, c_at, c_offsets, c_first,
        bias, K, column_count, accumulate, low, high,
    ):  # fmt: skip
        """C[0, n] for n < ``column_count``, as ``Product`` says."""
        one = a_column * 0 + 1
        product = Product(
            a.at(a_at), one, a_column, b.at(b_at), b_offsets, c.at(c_at),
            c_offsets.at(c_first), bias.at(c_first), K, accumulate, low, high,
        )  # fmt: skip
        with builder.if_else(column_count == vectors * LANES) as (then, otherwise):
            with then:
                product.block(1, one, vectors)
            with otherwise:
                for width, rest in widths(column_count, vectors):
                    product.block(1, one, width, rest)

    return row_block


@emitted_apart
def outer_tile(
    builder, a, a_at, a_group, a_row, a_column, b, b_at, b_offsets, c, c_at, c_offsets, c_first,
    bias, K, row_count, column_count, accumulate, low, high,
):  # fmt: skip
    """``row_count`` x ``column_count`` numbers of a product, block by block.

    Rows of A come in groups of ROWS, ``a_group`` apart, with ``a_row`` from one row to the next:
    packed weights have ``a_row`` 1 and ``a_column`` ROWS. All arrays are flat; operand x begins at
    x[x_at], ``c_offsets`` and ``bias`` at ``c_first``.
    """

    def all_rows(x, width, count=None, odd=False):
        """For ``width`` vectors of columns from ``x`` on."""
        with loop(row_count, ROWS) as m:
            product = Product(
                a.at(a_at + m // ROWS * a_group), a_row, a_column, b.at(b_at + x), b_offsets,
                c.at(c_at + x), c_offsets.at(c_first + m), bias.at(c_first + m),
                K, accumulate, low, high,
            )  # fmt: skip
            left = row_count - m
            with builder.if_else(left <= FEW) as (few, many):
                with few:
                    product.block(FEW, left, width, count, odd)
                with many:
                    product.block(ROWS, left, width, count, odd)

    # 7 x 7 pixels are whole vectors and one column, if the weights of a column lie together. They
    # must be packed: a vector of them may read on behind the last.
    whole = column_count // COLUMNS * COLUMNS
    is_packed = builder.and_(a_row == 1, a_group > ROWS)
    is_odd = builder.and_(column_count == whole + 1, builder.and_(whole > 0, is_packed))
    if HAS_ODD:
        whole = (whole - COLUMNS).where(is_odd, whole)
    with loop(whole, COLUMNS) as x:
        all_rows(x, VECTORS)
    if HAS_ODD:
        with builder.if_then(is_odd):
            all_rows(whole, VECTORS, odd=True)
    for width, last in widths(column_count - whole, VECTORS):
        all_rows(whole, width, last)


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
                    left = column_count - first
                    mask = vector.lanes_below(left, total.type.count)
                    place = c.at(c_at + c_row * m + first)
                    old = vector.load(place, mask, total.type.count)
                    vector.store(builder.fadd(old, total), place, left)

    return dot_block


dot_block = make_dot_block(DOT_ROWS, DOT_COLUMNS)
