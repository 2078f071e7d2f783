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

    def first_lanes(self, count):
        """The mask that is true in the first ``count`` lanes."""
        kind = ir.VectorType(INT, LANES)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, count, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        counts = self.builder.shuffle_vector(first, undefined, lanes)
        numbers = ir.Constant(kind, [ir.Constant(INT, lane) for lane in range(LANES)])
        return self.builder.icmp_signed("<", numbers, counts)

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

    def sum(self, value):
        """The sum of the lanes, in a fixed order: halves are added until one lane is left."""
        width = LANES
        builder = self.builder
        while width > 1:
            width //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            index = ir.VectorType(ir.IntType(32), width)
            low = builder.shuffle_vector(value, undefined, ir.Constant(index, list(range(width))))
            high = builder.shuffle_vector(
                value, undefined, ir.Constant(index, list(range(width, 2 * width)))
            )
            value = builder.fadd(low, high)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


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
                            block(width, vector.first_lanes(rest))
            return context.get_dummy_value()

        return signature, generate

    return outer_block


def make_dot_block(rows: int, columns: int):
    """Build ``dot_block`` for blocks of ``rows`` x ``columns`` sums."""

    @intrinsic
    def dot_block(typing_context, a, a_at, a_offsets, b, b_at, b_offsets, K, sums):
        """``sums[m, n]`` = sum over k < K of A[m, k] B[n, k], for every m < rows, n < columns.

        ``a[a_at + a_offsets[m] + k]`` is A[m, k], ``b[b_at + b_offsets[n] + k]`` is B[n, k];
        ``sums`` is a flat array of rows x columns elements.
        """
        i = types.intp
        signature = types.void(a, i, a_offsets, b, i, b_offsets, i, sums)

        def generate(context, builder, signature, values):
            kinds = signature.args
            a, a_at, a_offsets, b, b_at, b_offsets, K, out = values
            element = context.get_value_type(kinds[0].dtype)
            vector = _Vectors(builder, element)

            def row_addresses(kind, array, at, offset_kind, offsets, count):
                start = builder.gep(_pointer(context, builder, kind, array), [at])
                offsets = _pointer(context, builder, offset_kind, offsets)
                return [
                    builder.gep(start, [builder.load(builder.gep(offsets, [_integer(r)]))])
                    for r in range(count)
                ]

            a_rows = row_addresses(kinds[0], a, a_at, kinds[2], a_offsets, rows)
            b_rows = row_addresses(kinds[3], b, b_at, kinds[5], b_offsets, columns)
            sums = [[cgutils.alloca_once(builder, vector.type) for _ in b_rows] for _ in a_rows]
            for row in sums:
                for place in row:
                    builder.store(vector.zero, place)

            def step(k, mask):
                b_vectors = [vector.load(builder.gep(row, [k]), mask) for row in b_rows]
                for m, row in enumerate(a_rows):
                    a_vector = vector.load(builder.gep(row, [k]), mask)
                    for n, b_vector in enumerate(b_vectors):
                        old = builder.load(sums[m][n])
                        builder.store(vector.multiply_add(a_vector, b_vector, old), sums[m][n])

            whole = builder.sdiv(K, _integer(LANES))
            with _loop(builder, whole) as step_index:
                step(builder.mul(step_index, _integer(LANES)), None)
            done = builder.mul(whole, _integer(LANES))
            rest = builder.sub(K, done)
            with builder.if_then(builder.icmp_signed(">", rest, _integer(0))):
                step(done, vector.first_lanes(rest))

            out = _pointer(context, builder, kinds[7], out)
            for m in range(rows):
                for n in range(columns):
                    total = vector.sum(builder.load(sums[m][n]))
                    builder.store(total, builder.gep(out, [_integer(m * columns + n)]))
            return context.get_dummy_value()

        return signature, generate

    return dot_block


outer_block = make_outer_block(ROWS, VECTORS)
dot_block = make_dot_block(DOT_ROWS, DOT_COLUMNS)
