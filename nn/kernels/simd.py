"""The two innermost loops of every matrix product and convolution, written in vector instructions.

Everything that is multiplied here goes through one of two blocks, both held in registers:

- ``outer_block``  C[m, n] = start[m] + sum_k A[m, k] B[k, n], vectors along n. One row of B is
  loaded once and used for ROWS rows of C.
- ``dot_block``    S[m, n] = sum_k A[m, k] B[n, k], vectors along k. For weight gradients, where
  both operands lie in memory along the summed axis (pixels); it spares both transposes.

A compiler left alone keeps the sums in memory, one load and one store per multiplication; written
as LLVM vectors they stay in registers and the multiplier never waits. That is worth a factor of
five to ten. Rows are addressed through lists of offsets, so a row may lie anywhere: in a plane of
an image, in a buffer of gathered patches, in every second channel.

The shape of the blocks follows the processor: see ``block_shape``.
"""

from __future__ import annotations

import contextlib

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

INT = ir.IntType(64)


def cpu_features() -> set[str]:
    """Names of the instruction sets that Numba compiles for (its settings, else this machine)."""
    if numba.config.CPU_FEATURES is not None:
        flags = numba.config.CPU_FEATURES.split(",")
        return {flag[1:] for flag in flags if flag.startswith("+")}
    if numba.config.CPU_NAME is not None:
        return set()
    return {name for name, present in llvmlite.binding.get_host_cpu_features().items() if present}


def block_shape(features: set[str]) -> tuple[int, int]:
    """(floats per vector, vectors per row of a block) for six rows of sums.

    The sums, one row of B and one broadcast value of A have to fit in the registers: 6 x 4 + 4 + 1
    of the 32 that AVX-512 and NEON have, 6 x 2 + 2 + 1 of the 16 of AVX2 and plain SSE.
    """
    if "avx512f" in features:
        return 16, 4
    if "avx2" in features or "avx" in features:
        return 8, 2
    if "neon" in features:
        return 4, 4
    return 4, 2


LANES, VECTORS = block_shape(cpu_features())
ROWS = 6  # rows of C in a block
COLUMNS = LANES * VECTORS  # columns of C in a block of `outer_block`
DOT_ROWS, DOT_COLUMNS = ROWS, VECTORS  # the block of sums of `dot_block`


class _Vectors:
    """Emits loads, stores and multiply-adds of vectors of one element type (float or double)."""

    def __init__(self, builder, element):
        self.builder = builder
        self.element = element
        self.type = ir.VectorType(element, LANES)
        self.zero = ir.Constant(self.type, [ir.Constant(element, 0.0)] * LANES)
        self.letter = "f32" if isinstance(element, ir.FloatType) else "f64"

    def intrinsic(self, name, result, arguments):
        kind = ir.FunctionType(result, [value.type for value in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def splat(self, scalar):
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def lanes_below(self, count, lanes=LANES):
        """The mask that is true in the lanes with a number smaller than ``count``."""
        kind = ir.VectorType(ir.IntType(32), lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        count = self.builder.trunc(count, ir.IntType(32))
        first = self.builder.insert_element(undefined, count, ir.Constant(ir.IntType(32), 0))
        counts = self.builder.shuffle_vector(first, undefined, ir.Constant(kind, [0] * lanes))
        return self.builder.icmp_signed("<", ir.Constant(kind, list(range(lanes))), counts)

    def load(self, pointer, mask=None, lanes=LANES):
        """A vector; lanes outside the mask are not read and come as zeros."""
        kind = ir.VectorType(self.element, lanes)
        pointer = self.builder.bitcast(pointer, kind.as_pointer())
        if mask is None:
            loaded = self.builder.load(pointer)
            loaded.align = 4
            return loaded
        align = ir.Constant(ir.IntType(32), 4)
        zero = ir.Constant(kind, [ir.Constant(self.element, 0.0)] * lanes)
        name = f"llvm.masked.load.v{lanes}{self.letter}.p0"
        return self.intrinsic(name, kind, [pointer, align, mask, zero])

    def store(self, value, pointer, mask=None):
        """Write a vector; lanes outside the mask are not touched."""
        pointer = self.builder.bitcast(pointer, value.type.as_pointer())
        if mask is None:
            self.builder.store(value, pointer).align = 4
            return
        align = ir.Constant(ir.IntType(32), 4)
        name = f"llvm.masked.store.v{value.type.count}{self.letter}.p0"
        self.intrinsic(name, ir.VoidType(), [value, pointer, align, mask])

    def multiply_add(self, a, b, c):
        # fmuladd, not fma: a processor without the instruction gets two, not a library call.
        return self.intrinsic(f"llvm.fmuladd.v{LANES}{self.letter}", self.type, [a, b, c])

    def sums(self, vectors):
        """One vector whose lane i is the sum of the lanes of ``vectors[i]``, in a fixed order.

        Pairs of vectors are folded into one, halves onto halves, until one is left; then that one
        is folded in itself. Log steps, and no lane is ever idle.
        """
        lanes = LANES
        while len(vectors) > 1:
            lanes //= 2
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self.fold(a, b, lanes) for a, b in pairs]
        value = vectors[0]
        while lanes > 1:
            lanes //= 2
            value = self.fold(value, None, lanes)
        return value

    def fold(self, a, b, half):
        """Add the second ``half`` lanes of every group of 2 * half to the first; a, then b."""
        lanes = a.type.count * (1 if b is None else 2)
        first = [lane for lane in range(lanes) if lane % (2 * half) < half]
        kind = ir.VectorType(ir.IntType(32), len(first))
        b = ir.Constant(a.type, ir.Undefined) if b is None else b
        low = self.builder.shuffle_vector(a, b, ir.Constant(kind, first))
        high = self.builder.shuffle_vector(a, b, ir.Constant(kind, [x + half for x in first]))
        return self.builder.fadd(low, high)


def _pointer(context, builder, array_type, array):
    return context.make_array(array_type)(context, builder, array).data


def _integer(value):
    return ir.Constant(INT, value)


def _smaller(builder, a, b):
    return builder.select(builder.icmp_signed("<", a, b), a, b)


@contextlib.contextmanager
def _loop(builder, count):
    """Emit a loop over 0 <= index < ``count`` that the compiler leaves as it is.

    Unrolled by two, as LLVM likes it, the blocks need more registers than there are: half the
    speed, or less, depending on where the stack happens to lie.
    """
    start = builder.block
    head = builder.append_basic_block("block.head")
    body = builder.append_basic_block("block.body")
    end = builder.append_basic_block("block.end")
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(INT)
    index.add_incoming(_integer(0), start)
    builder.cbranch(builder.icmp_signed("<", index, count), body, end)
    builder.position_at_end(body)
    yield index
    following = builder.add(index, _integer(1))
    index.add_incoming(following, builder.block)
    module = builder.module
    keep = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    name = module.add_metadata([keep, ir.MetaDataString(module, f"loop {len(module.metadata)}")])
    name.operands = (name, keep)  # a loop's metadata begins with itself
    builder.branch(head).set_metadata("llvm.loop", name)
    builder.position_at_end(end)


def make_outer_block(rows: int, vectors: int):
    """Build ``outer_block`` for blocks of ``rows`` rows and ``vectors`` vectors a row."""

    @intrinsic
    def outer_block(
        typing_context, a, a_at, a_row, a_column, b, b_at, b_offsets, c, c_at, c_offsets, c_first,
        bias, K, row_count, column_count, accumulate, relu,
    ):  # fmt: skip
        """One block of C = start + A B, then max(0, .) if ``relu``.

        A[m, k] is ``a[a_at + m * a_row + k * a_column]``, B[k, n] ``b[b_at + b_offsets[k] + n]``
        and C[m, n] ``c[c_at + c_offsets[c_first + m] + n]``, all flat arrays. The start is C itself
        if ``accumulate``, else ``bias[c_first + m]``. ``row_count`` and ``column_count`` say how
        much of the block exists; nothing beyond is read or written.
        """
        i = types.intp
        signature = types.void(a, i, i, i, b, i, b_offsets, c, i, c_offsets, i, bias, i, i, i, i, i)

        def generate(context, builder, signature, values):
            kinds = signature.args
            (a, a_at, a_row, a_column, b, b_at, b_offsets, c, c_at, c_offsets, c_first, bias,
             K, row_count, column_count, accumulate, relu) = values  # fmt: skip
            element = context.get_value_type(kinds[0].dtype)
            vector = _Vectors(builder, element)
            a = builder.gep(_pointer(context, builder, kinds[0], a), [a_at])
            b = builder.gep(_pointer(context, builder, kinds[4], b), [b_at])
            b_offsets = _pointer(context, builder, kinds[6], b_offsets)
            c = builder.gep(_pointer(context, builder, kinds[7], c), [c_at])
            c_offsets = builder.gep(_pointer(context, builder, kinds[9], c_offsets), [c_first])
            bias = builder.gep(_pointer(context, builder, kinds[11], bias), [c_first])

            # A row that does not exist is computed as a copy of the last one and not stored.
            last_row = builder.sub(row_count, _integer(1))
            row = [_smaller(builder, _integer(m), last_row) for m in range(rows)]
            a_rows = [builder.gep(a, [builder.mul(r, a_row)]) for r in row]

            def block(width, mask):
                sums = [
                    [cgutils.alloca_once(builder, vector.type) for _ in range(width)]
                    for _ in range(rows)
                ]
                masks = [None] * (width - 1) + [mask]

                def c_address(m, n):
                    offset = builder.load(builder.gep(c_offsets, [row[m]]))
                    return builder.gep(c, [builder.add(offset, _integer(n * LANES))])

                with builder.if_else(cgutils.is_true(builder, accumulate)) as (then, otherwise):
                    with then:
                        for m in range(rows):
                            for n in range(width):
                                start = vector.load(c_address(m, n), masks[n])
                                builder.store(start, sums[m][n])
                    with otherwise:
                        for m in range(rows):
                            start = vector.splat(builder.load(builder.gep(bias, [row[m]])))
                            for n in range(width):
                                builder.store(start, sums[m][n])

                with _loop(builder, K) as k:
                    b_row = builder.gep(b, [builder.load(builder.gep(b_offsets, [k]))])
                    b_vectors = [
                        vector.load(builder.gep(b_row, [_integer(n * LANES)]), masks[n])
                        for n in range(width)
                    ]
                    a_offset = builder.mul(k, a_column)
                    for m in range(rows):
                        a_value = vector.splat(builder.load(builder.gep(a_rows[m], [a_offset])))
                        for n in range(width):
                            old = builder.load(sums[m][n])
                            new = vector.multiply_add(a_value, b_vectors[n], old)
                            builder.store(new, sums[m][n])

                rectify = cgutils.is_true(builder, relu)
                for m in range(rows):
                    with builder.if_then(builder.icmp_signed("<", _integer(m), row_count)):
                        for n in range(width):
                            value = builder.load(sums[m][n])
                            # "not less than": a NaN stays a NaN
                            negative = builder.fcmp_ordered("<", value, vector.zero)
                            rectified = builder.select(negative, vector.zero, value)
                            value = builder.select(rectify, rectified, value)
                            vector.store(value, c_address(m, n), masks[n])

            full = builder.icmp_signed("==", column_count, _integer(vectors * LANES))
            with builder.if_else(full) as (then, otherwise):
                with then:
                    block(vectors, None)
                with otherwise:
                    for width in range(1, vectors + 1):
                        rest = builder.sub(column_count, _integer((width - 1) * LANES))
                        some = builder.icmp_signed(">", rest, _integer(0))
                        enough = builder.icmp_signed("<=", rest, _integer(LANES))
                        with builder.if_then(builder.and_(some, enough)):
                            block(width, vector.lanes_below(rest))
            return context.get_dummy_value()

        return signature, generate

    return outer_block


def make_dot_block(rows: int, columns: int):
    """Build ``dot_block`` for blocks of ``rows`` x ``columns`` sums."""
    lanes = 1 << (columns - 1).bit_length()  # of the vector that holds a row of sums in the end

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
            vector = _Vectors(builder, context.get_value_type(kinds[0].dtype))
            sums = [
                [cgutils.alloca_once(builder, vector.type) for _ in range(columns)]
                for _ in range(rows)
            ]
            for row in sums:
                for place in row:
                    builder.store(vector.zero, place)

            def row_offsets(kind, offsets, first, count, exist):
                # A row that does not exist is computed as a copy of the last one and not stored.
                offsets = builder.gep(_pointer(context, builder, kind, offsets), [first])
                last = builder.sub(exist, _integer(1))
                numbers = [_smaller(builder, _integer(r), last) for r in range(count)]
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

            whole = builder.sdiv(K, _integer(LANES))
            done = builder.mul(whole, _integer(LANES))
            rest = builder.sub(K, done)
            rest_lanes = vector.lanes_below(rest)
            with _loop(builder, repeat) as turn:
                a_start = builder.add(a_at, builder.mul(turn, a_step))
                b_start = builder.add(b_at, builder.mul(turn, b_step))
                a_start = builder.gep(_pointer(context, builder, kinds[0], a), [a_start])
                b_start = builder.gep(_pointer(context, builder, kinds[5], b), [b_start])
                a_rows = [builder.gep(a_start, [offset]) for offset in a_offsets]
                b_rows = [builder.gep(b_start, [offset]) for offset in b_offsets]
                with _loop(builder, whole) as index:
                    multiply(a_rows, b_rows, builder.mul(index, _integer(LANES)), None)
                with builder.if_then(builder.icmp_signed(">", rest, _integer(0))):
                    multiply(a_rows, b_rows, done, rest_lanes)

            c = builder.gep(_pointer(context, builder, kinds[12], c), [c_at])
            mask = vector.lanes_below(column_count, lanes)
            for m, row in enumerate(sums):
                totals = [builder.load(place) for place in row]
                total = vector.sums(totals + [vector.zero] * (lanes - columns))
                with builder.if_then(builder.icmp_signed("<", _integer(m), row_count)):
                    place = builder.gep(c, [builder.mul(_integer(m), c_row)])
                    old = vector.load(place, mask, lanes)
                    vector.store(builder.fadd(old, total), place, mask)
            return context.get_dummy_value()

        return signature, generate

    return dot_block


def make_copy_rows(stride: int):
    """Build ``copy_rows`` for every element (``stride`` 1) or every second one (2) of a row."""

    @intrinsic
    def copy_rows(
        typing_context, source, source_at, source_row, low, high,
        target, target_at, target_row, count, rows,
    ):  # fmt: skip
        """Copy ``rows`` rows of ``count`` elements, with zeros where the source has none.

        ``target[target_at + y * target_row + x]`` becomes
        ``source[source_at + y * source_row + stride * x]`` if low <= x < high, else 0. Nothing of
        the source outside that range is read: this fetches pixels and the zeros beside the image.
        """
        i = types.intp
        signature = types.void(source, i, i, i, i, target, i, i, i, i)

        def generate(context, builder, signature, values):
            kinds = signature.args
            (source, source_at, source_row, low, high,
             target, target_at, target_row, count, rows) = values  # fmt: skip
            vector = _Vectors(builder, context.get_value_type(kinds[0].dtype))
            source = builder.gep(_pointer(context, builder, kinds[0], source), [source_at])
            target = builder.gep(_pointer(context, builder, kinds[5], target), [target_at])

            def fetch(row, x, masked):
                """Elements x, x + 1, ... of a row; if ``masked``, zeros outside the range."""
                first = builder.mul(x, _integer(stride))
                parts = []
                for part in range(stride):
                    at = builder.add(first, _integer(part * LANES))
                    mask = None
                    if masked:
                        end = builder.sub(builder.mul(high, _integer(stride)), _integer(stride - 1))
                        begin = builder.mul(low, _integer(stride))
                        below = vector.lanes_below(builder.sub(end, at))
                        before = vector.lanes_below(builder.sub(begin, at))
                        mask = builder.and_(below, builder.not_(before))
                    parts.append(vector.load(builder.gep(row, [at]), mask))
                if stride == 1:
                    return parts[0]
                chosen = [stride * lane for lane in range(LANES)]
                chosen = ir.Constant(ir.VectorType(ir.IntType(32), LANES), chosen)
                return builder.shuffle_vector(parts[0], parts[1], chosen)

            whole = builder.sdiv(count, _integer(LANES))
            done = builder.mul(whole, _integer(LANES))
            rest = builder.sub(count, done)
            rest_lanes = vector.lanes_below(rest)
            inside = builder.and_(
                builder.icmp_signed("<=", low, _integer(0)),
                # The last vector of the plain loop may read stride - 1 elements past its end.
                builder.icmp_signed(">=", high, builder.add(done, _integer(stride - 1))),
            )
            with _loop(builder, rows) as y:
                source_start = builder.gep(source, [builder.mul(y, source_row)])
                target_start = builder.gep(target, [builder.mul(y, target_row)])
                with builder.if_else(inside) as (then, otherwise):
                    for branch, masked in ((then, False), (otherwise, True)):
                        with branch, _loop(builder, whole) as index:
                            x = builder.mul(index, _integer(LANES))
                            value = fetch(source_start, x, masked)
                            vector.store(value, builder.gep(target_start, [x]))
                with builder.if_then(builder.icmp_signed(">", rest, _integer(0))):
                    value = fetch(source_start, done, True)
                    vector.store(value, builder.gep(target_start, [done]), rest_lanes)
            return context.get_dummy_value()

        return signature, generate

    return copy_rows


copy_rows = make_copy_rows(1)
copy_rows_by_two = make_copy_rows(2)
outer_block = make_outer_block(ROWS, VECTORS)
dot_block = make_dot_block(DOT_ROWS, DOT_COLUMNS)
