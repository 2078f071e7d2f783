"""The two innermost loops of every matrix product and convolution, held in registers.

- ``outer_block``  C[m, n] = start[m] + sum_k A[m, k] B[k, n], vectors along n. One row of B is
  loaded once and used for ROWS rows of C.
- ``dot_block``    C[m, n] += sum_k A[m, k] B[n, k], vectors along k. For weight gradients, where
  both operands lie in memory along the summed axis (pixels); it spares both transposes.

Rows are addressed through lists of offsets, so a row may lie anywhere: in a plane of an image, in
a buffer of gathered patches, in every second channel. Edges of any size are handled by masks.
"""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from nn.kernels.machine.elements import clamp
from nn.kernels.machine.simd import LANES, VECTORS, Vectors, integer, loop, pointer_to, smaller

ROWS = 6  # rows of C in a block
COLUMN_LANES = 8  # numbers of a vector that holds one column of a block
COLUMNS = LANES * VECTORS  # columns of C in a block of `outer_block`
DOT_ROWS, DOT_COLUMNS = ROWS, VECTORS  # the block of sums of `dot_block`


def make_outer_block(rows: int, vectors: int):
    """Build ``outer_block`` for blocks of ``rows`` rows and ``vectors`` vectors a row."""

    @intrinsic
    def outer_block(
        typing_context, a, a_at, a_row, a_column, b, b_at, b_offsets, c, c_at, c_offsets, c_first,
        bias, K, row_count, column_count, accumulate, low, high,
    ):  # fmt: skip
        """One block of C = start + A B, then min(max(., low), high).

        A[m, k] is ``a[a_at + m * a_row + k * a_column]``, B[k, n] ``b[b_at + b_offsets[k] + n]``
        and C[m, n] ``c[c_at + c_offsets[c_first + m] + n]``, all flat arrays. The start is C itself
        if ``accumulate``, else ``bias[c_first + m]``. ``row_count`` and ``column_count`` say how
        much of the block exists; nothing beyond is read or written.
        """
        i = types.intp
        e = a.dtype
        signature = types.void(
            a, i, i, i, b, i, b_offsets, c, i, c_offsets, i, bias, i, i, i, i, e, e
        )

        def generate(context, builder, signature, values):
            kinds = signature.args
            (a, a_at, a_row, a_column, b, b_at, b_offsets, c, c_at, c_offsets, c_first, bias,
             K, row_count, column_count, accumulate, low, high) = values  # fmt: skip
            element = context.get_value_type(kinds[0].dtype)
            vector = Vectors(builder, element)
            column = Vectors(builder, element, COLUMN_LANES)
            a = builder.gep(pointer_to(context, builder, kinds[0], a), [a_at])
            b = builder.gep(pointer_to(context, builder, kinds[4], b), [b_at])
            b_offsets = pointer_to(context, builder, kinds[6], b_offsets)
            c = builder.gep(pointer_to(context, builder, kinds[7], c), [c_at])
            c_offsets = builder.gep(pointer_to(context, builder, kinds[9], c_offsets), [c_first])
            bias = builder.gep(pointer_to(context, builder, kinds[11], bias), [c_first])

            # A row that does not exist is computed as a copy of the last one and not stored.
            last_row = builder.sub(row_count, integer(1))
            row = [smaller(builder, integer(m), last_row) for m in range(rows)]
            a_rows = [builder.gep(a, [builder.mul(r, a_row)]) for r in row]
            row_lanes = column.lanes_below(row_count)
            lowest, highest = vector.splat(low), vector.splat(high)

            def block(width, mask, odd=False):
                """``width`` vectors a row, the last one masked; if ``odd``, one more column.

                The sums of that column are one vector with a lane for each row, so it costs one
                multiply-add and not a vector in each row. 7 x 7 pixels are 3 x 16 + 1.
                """
                sums = [
                    [cgutils.alloca_once(builder, vector.type) for _ in range(width)]
                    for _ in range(rows)
                ]
                odd_sums = cgutils.alloca_once(builder, column.type)
                masks = [None] * (width - 1) + [mask]

                def c_address(m, n):
                    offset = builder.load(builder.gep(c_offsets, [row[m]]))
                    return builder.gep(c, [builder.add(offset, integer(n * LANES))])

                with builder.if_else(cgutils.is_true(builder, accumulate)) as (then, otherwise):
                    with then:
                        for m in range(rows):
                            for n in range(width):
                                start = vector.load(c_address(m, n), masks[n])
                                builder.store(start, sums[m][n])
                        if odd:
                            start = column.zero
                            for m in range(rows):
                                value = builder.load(c_address(m, width))
                                start = builder.insert_element(start, value, integer(m))
                            builder.store(start, odd_sums)
                    with otherwise:
                        for m in range(rows):
                            start = vector.splat(builder.load(builder.gep(bias, [row[m]])))
                            for n in range(width):
                                builder.store(start, sums[m][n])
                        if odd:
                            builder.store(column.load(bias, row_lanes), odd_sums)

                with loop(builder, K) as k:
                    b_row = builder.gep(b, [builder.load(builder.gep(b_offsets, [k]))])
                    b_vectors = [
                        vector.load(builder.gep(b_row, [integer(n * LANES)]), masks[n])
                        for n in range(width)
                    ]
                    a_offset = builder.mul(k, a_column)
                    # Weights of large layers lie in no cache, in the order in which they are used.
                    vector.prefetch(builder.gep(a, [a_offset]))
                    for m in range(rows):
                        a_value = vector.splat(builder.load(builder.gep(a_rows[m], [a_offset])))
                        for n in range(width):
                            old = builder.load(sums[m][n])
                            new = vector.multiply_add(a_value, b_vectors[n], old)
                            builder.store(new, sums[m][n])
                    if odd:
                        a_values = column.load(builder.gep(a, [a_offset]), row_lanes)
                        b_value = builder.load(builder.gep(b_row, [integer(width * LANES)]))
                        new = column.multiply_add(
                            a_values, column.splat(b_value), builder.load(odd_sums)
                        )
                        builder.store(new, odd_sums)

                if odd:
                    odd_column = clamp(
                        column, builder.load(odd_sums), column.splat(low), column.splat(high)
                    )
                for m in range(rows):
                    with builder.if_then(builder.icmp_signed("<", integer(m), row_count)):
                        for n in range(width):
                            value = clamp(vector, builder.load(sums[m][n]), lowest, highest)
                            vector.store(value, c_address(m, n), masks[n])
                        if odd:
                            value = builder.extract_element(odd_column, integer(m))
                            builder.store(value, c_address(m, width))

            full = builder.icmp_signed("==", column_count, integer(vectors * LANES))
            with builder.if_else(full) as (then, otherwise):
                with then:
                    block(vectors, None)
                with otherwise:
                    for width in range(1, vectors + 1):
                        rest = builder.sub(column_count, integer((width - 1) * LANES))
                        some = builder.icmp_signed(">", rest, integer(0))
                        enough = builder.icmp_signed("<=", rest, integer(LANES))
                        with builder.if_then(builder.and_(some, enough)):
                            if width < vectors or rows == 1:
                                block(width, vector.lanes_below(rest))
                                continue
                            single = builder.icmp_signed("==", rest, integer(1))
                            lies_together = builder.icmp_signed("==", a_row, integer(1))
                            single = builder.and_(single, lies_together)
                            with builder.if_else(single) as (then, otherwise):
                                with then:
                                    block(width - 1, None, odd=True)
                                with otherwise:
                                    block(width, vector.lanes_below(rest))
            return context.get_dummy_value()

        return signature, generate

    return outer_block


def make_dot_block(rows: int, columns: int):
    """Build ``dot_block`` for blocks of ``rows`` x ``columns`` sums."""

    @intrinsic
    def dot_block(
        typing_context, a, a_at, a_step, a_offsets, a_first, b, b_at, b_step, b_offsets, b_first,
        K, repeat, c, c_at, c_row, row_count, column_count,
    ):  # fmt: skip
        """One block of C += A B^T, sums over k < K, with C[m, n] = ``c[c_at + m * c_row + n]``.

        A[m, k] is ``a[a_at + a_offsets[a_first + m] + k]``, B[n, k] likewise, all flat arrays.
        This ``repeat`` times, ``a_step`` and ``b_step`` further on each time, before the sums are
        added to C: short rows of many images. ``row_count`` and ``column_count`` say how much of
        the block exists; nothing beyond is read or written.
        """
        i = types.intp
        signature = types.void(a, i, i, a_offsets, i, b, i, i, b_offsets, i, i, i, c, i, i, i, i)

        def generate(context, builder, signature, values):
            kinds = signature.args
            (a, a_at, a_step, a_offsets, a_first, b, b_at, b_step, b_offsets, b_first, K, repeat,
             c, c_at, c_row, row_count, column_count) = values  # fmt: skip
            vector = Vectors(builder, context.get_value_type(kinds[0].dtype))
            sums = [
                [cgutils.alloca_once(builder, vector.type) for _ in range(columns)]
                for _ in range(rows)
            ]
            for row in sums:
                for place in row:
                    builder.store(vector.zero, place)

            def row_offsets(kind, offsets, first, count, exist):
                # A row that does not exist is computed as a copy of the last one and not stored.
                offsets = builder.gep(pointer_to(context, builder, kind, offsets), [first])
                last = builder.sub(exist, integer(1))
                numbers = [smaller(builder, integer(r), last) for r in range(count)]
                return [builder.load(builder.gep(offsets, [number])) for number in numbers]

            a_offsets = row_offsets(kinds[3], a_offsets, a_first, rows, row_count)
            b_offsets = row_offsets(kinds[8], b_offsets, b_first, columns, column_count)

            def multiply(a_rows, b_rows, k, mask):
                b_vectors = [vector.load(builder.gep(row, [k]), mask) for row in b_rows]
                for m, row in enumerate(a_rows):
                    a_vector = vector.load(builder.gep(row, [k]), mask)
                    for n, b_vector in enumerate(b_vectors):
                        old = builder.load(sums[m][n])
                        builder.store(vector.multiply_add(a_vector, b_vector, old), sums[m][n])

            whole = builder.sdiv(K, integer(LANES))
            done = builder.mul(whole, integer(LANES))
            rest = builder.sub(K, done)
            rest_lanes = vector.lanes_below(rest)
            with loop(builder, repeat) as turn:
                a_start = builder.add(a_at, builder.mul(turn, a_step))
                b_start = builder.add(b_at, builder.mul(turn, b_step))
                a_start = builder.gep(pointer_to(context, builder, kinds[0], a), [a_start])
                b_start = builder.gep(pointer_to(context, builder, kinds[5], b), [b_start])
                a_rows = [builder.gep(a_start, [offset]) for offset in a_offsets]
                b_rows = [builder.gep(b_start, [offset]) for offset in b_offsets]
                with loop(builder, whole) as index:
                    multiply(a_rows, b_rows, builder.mul(index, integer(LANES)), None)
                with builder.if_then(builder.icmp_signed(">", rest, integer(0))):
                    multiply(a_rows, b_rows, done, rest_lanes)

            c = builder.gep(pointer_to(context, builder, kinds[12], c), [c_at])
            for m, row in enumerate(sums):
                with builder.if_then(builder.icmp_signed("<", integer(m), row_count)):
                    place = builder.gep(c, [builder.mul(integer(m), c_row)])
                    for first in range(0, columns, LANES):
                        totals = [builder.load(n) for n in row[first : first + LANES]]
                        total = vector.sums(totals)
                        lanes = total.type.count
                        there = builder.sub(column_count, integer(first))
                        mask = vector.lanes_below(there, lanes)
                        part = builder.gep(place, [integer(first)])
                        old = vector.load(part, mask, lanes)
                        vector.store(builder.fadd(old, total), part, mask)
            return context.get_dummy_value()

        return signature, generate

    return dot_block


outer_block = make_outer_block(ROWS, VECTORS)
dot_block = make_dot_block(DOT_ROWS, DOT_COLUMNS)
