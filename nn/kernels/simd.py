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
BOOL = ir.IntType(1)


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
        self.mask_type = ir.VectorType(BOOL, LANES)
        self.zero = ir.Constant(self.type, [ir.Constant(element, 0.0)] * LANES)
        self.suffix = f"v{LANES}f{32 if isinstance(element, ir.FloatType) else 64}"

    def intrinsic(self, name, result, arguments):
        kind = ir.FunctionType(result, [value.type for value in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def splat(self, scalar):
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def lanes_below(self, count):
        """The mask that is true in the lanes with a number smaller than ``count``."""
        kind = ir.VectorType(ir.IntType(32), LANES)
        zero = ir.Constant(ir.IntType(32), 0)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(
            undefined, self.builder.trunc(count, ir.IntType(32)), zero
        )
        counts = self.builder.shuffle_vector(first, undefined, ir.Constant(kind, [0] * LANES))
        return self.builder.icmp_signed("<", ir.Constant(kind, list(range(LANES))), counts)

    def load(self, pointer, mask=None):
        """A vector; lanes outside the mask are not read and come as zeros."""
        builder = self.builder
        pointer = builder.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            loaded = builder.load(pointer)
            loaded.align = 4
            return loaded
        align = ir.Constant(ir.IntType(32), 4)
        name = f"llvm.masked.load.{self.suffix}.p0"
        return self.intrinsic(name, self.type, [pointer, align, mask, self.zero])

    def store(self, value, pointer, mask=None):
        """Write a vector; lanes outside the mask are not touched."""
        builder = self.builder
        pointer = builder.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            builder.store(value, pointer).align = 4
            return
        align = ir.Constant(ir.IntType(32), 4)
        name = f"llvm.masked.store.{self.suffix}.p0"
        self.intrinsic(name, ir.VoidType(), [value, pointer, align, mask])

    def multiply_add(self, a, b, c):
        # fmuladd, not fma: a processor without the instruction gets two, not a library call.
        return self.intrinsic(f"llvm.fmuladd.{self.suffix}", self.type, [a, b, c])

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

        ``a[a_at + m * a_row + k * a_column]`` is A[m, k], ``b[b_at + b_offsets[k] + n]`` B[k, n]
        and ``c[c_at + c_offsets[c_first + m] + n]`` C[m, n], all flat arrays. The start is C itself
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
                    k_step = builder.mul(k, a_column)
                    for m in range(rows):
                        a_value = vector.splat(builder.load(builder.gep(a_rows[m], [k_step])))
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
    """Build ``dot_block`` for blocks of ``rows`` x ``columns`` sums; columns a power of two."""

    @intrinsic
    def dot_block(
        typing_context, a, a_at, a_step, a_offsets, b, b_at, b_step, b_offsets, K, repeat, sums
    ):
        """``sums[m, n]`` = sum over k < K of A[m, k] B[n, k], for every m < rows, n < columns.

        ``a[a_at + a_offsets[m] + k]`` is A[m, k], ``b[b_at + b_offsets[n] + k]`` is B[n, k];
        ``sums`` is a flat array of rows x columns elements. This ``repeat`` times, each time
        ``a_step`` and ``b_step`` further on, into the same sums: short rows of many images.
        """
        i = types.intp
        signature = types.void(a, i, i, a_offsets, b, i, i, b_offsets, i, i, sums)

        def generate(context, builder, signature, values):
            kinds = signature.args
            a, a_at, a_step, a_offsets, b, b_at, b_step, b_offsets, K, repeat, out = values
            vector = _Vectors(builder, context.get_value_type(kinds[0].dtype))
            a_offsets = _pointer(context, builder, kinds[3], a_offsets)
            b_offsets = _pointer(context, builder, kinds[7], b_offsets)
            sums = [
                [cgutils.alloca_once(builder, vector.type) for _ in range(columns)]
                for _ in range(rows)
            ]
            for row in sums:
                for place in row:
                    builder.store(vector.zero, place)

            def row_addresses(array, offsets, count):
                numbers = [builder.load(builder.gep(offsets, [_integer(r)])) for r in range(count)]
                return [builder.gep(array, [number]) for number in numbers]

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
                a_first = builder.add(a_at, builder.mul(turn, a_step))
                b_first = builder.add(b_at, builder.mul(turn, b_step))
                a_start = builder.gep(_pointer(context, builder, kinds[0], a), [a_first])
                b_start = builder.gep(_pointer(context, builder, kinds[4], b), [b_first])
                a_rows = row_addresses(a_start, a_offsets, rows)
                b_rows = row_addresses(b_start, b_offsets, columns)
                with _loop(builder, whole) as index:
                    multiply(a_rows, b_rows, builder.mul(index, _integer(LANES)), None)
                with builder.if_then(builder.icmp_signed(">", rest, _integer(0))):
                    multiply(a_rows, b_rows, done, rest_lanes)

            out = _pointer(context, builder, kinds[10], out)
            for m, row in enumerate(sums):
                total = vector.sums([builder.load(place) for place in row])
                place = builder.gep(out, [_integer(m * columns)])
                place = builder.bitcast(place, total.type.as_pointer())
                builder.store(total, place).align = 4
            return context.get_dummy_value()

        return signature, generate

    return dot_block


def make_copy_run(step: int):
    """Build ``copy_run`` for every element (``step`` 1) or every second one (2) of the source."""

    @intrinsic
    def copy_run(typing_context, source, source_at, low, high, target, target_at, count):
        """``target[target_at + i] = source[source_at + step * i]`` if low <= i < high, else 0.

        For i < ``count``. Nothing of the source outside low <= i < high is read, so this fetches
        a row of pixels together with the zeros beside the image.
        """
        i = types.intp
        signature = types.void(source, i, i, i, target, i, i)

        def generate(context, builder, signature, values):
            kinds = signature.args
            source, source_at, low, high, target, target_at, count = values
            vector = _Vectors(builder, context.get_value_type(kinds[0].dtype))
            source = builder.gep(_pointer(context, builder, kinds[0], source), [source_at])
            target = builder.gep(_pointer(context, builder, kinds[4], target), [target_at])

            def fetch(i, masked):
                """The vector of elements i, i + 1, ...; if ``masked``, zeros outside the range."""
                first = builder.mul(i, _integer(step))
                parts = []
                for part in range(step):
                    at = builder.add(first, _integer(part * LANES))
                    mask = None
                    if masked:
                        end = builder.sub(builder.mul(high, _integer(step)), _integer(step - 1))
                        begin = builder.mul(low, _integer(step))
                        below = vector.lanes_below(builder.sub(end, at))
                        before = vector.lanes_below(builder.sub(begin, at))
                        mask = builder.and_(below, builder.not_(before))
                    parts.append(vector.load(builder.gep(source, [at]), mask))
                if step == 1:
                    return parts[0]
                chosen = [step * lane for lane in range(LANES)]
                chosen = ir.Constant(ir.VectorType(ir.IntType(32), LANES), chosen)
                return builder.shuffle_vector(parts[0], parts[1], chosen)

            whole = builder.sdiv(count, _integer(LANES))
            done = builder.mul(whole, _integer(LANES))
            inside = builder.and_(
                builder.icmp_signed("<=", low, _integer(0)),
                # the last vector of the plain loop may read step - 1 elements past its last
                builder.icmp_signed(">=", high, builder.add(done, _integer(step - 1))),
            )
            with builder.if_else(inside) as (then, otherwise):
                for branch, masked in ((then, False), (otherwise, True)):
                    with branch, _loop(builder, whole) as index:
                        i = builder.mul(index, _integer(LANES))
                        vector.store(fetch(i, masked), builder.gep(target, [i]))
            rest = builder.sub(count, done)
            with builder.if_then(builder.icmp_signed(">", rest, _integer(0))):
                mask = vector.lanes_below(rest)
                vector.store(fetch(done, True), builder.gep(target, [done]), mask)
            return context.get_dummy_value()

        return signature, generate

    return copy_run


copy_run = make_copy_run(1)
copy_every_second = make_copy_run(2)
outer_block = make_outer_block(ROWS, VECTORS)
dot_block = make_dot_block(DOT_ROWS, DOT_COLUMNS)
