"""Vectors of the processor, as a vocabulary for writing LLVM code by hand.

A compiler left alone with a matrix product keeps the sums in memory, one load and one store per
multiplication. Written in LLVM's vector types they stay in registers and the multiplier never
waits: five to ten times as fast. Only ``nn.kernels`` knows of vectors; its products are in
``register_blocks``, its copies in ``copy_rows``, its windows in ``window``, and so on.

How many floats a vector holds and how many vectors a block of sums has follows the processor.
"""

from __future__ import annotations

import contextlib

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import cgutils

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
    """(floats per vector, vectors per row of a block) for blocks of six rows of sums.

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
AHEAD = 1024  # elements: how far ahead of its loads a long pass asks for memory


class Vectors:
    """Emits loads, stores and multiply-adds of vectors of one element type.

    float or double; and 32-bit integers, of which only loads and stores exist.
    """

    def __init__(self, builder, element, lanes=LANES):
        self.builder = builder
        self.element = element
        self.lanes = lanes
        self.type = ir.VectorType(element, lanes)
        self.zero = ir.Constant(self.type, [ir.Constant(element, 0.0)] * lanes)
        self.letter = {"float": "f32", "double": "f64", "i32": "i32"}[str(element)]

    def intrinsic(self, name, result, arguments):
        kind = ir.FunctionType(result, [value.type for value in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, arguments)

    def splat(self, scalar):
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, lanes)

    def lanes_below(self, count, lanes=None):
        """The mask that is true in the lanes with a number smaller than ``count``."""
        lanes = lanes or self.lanes
        kind = ir.VectorType(ir.IntType(32), lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        count = self.builder.trunc(count, ir.IntType(32))
        first = self.builder.insert_element(undefined, count, ir.Constant(ir.IntType(32), 0))
        counts = self.builder.shuffle_vector(first, undefined, ir.Constant(kind, [0] * lanes))
        return self.builder.icmp_signed("<", ir.Constant(kind, list(range(lanes))), counts)

    def load(self, pointer, mask=None, lanes=None):
        """A vector; lanes outside the mask are not read and come as zeros."""
        lanes = lanes or self.lanes
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

    def prefetch(self, pointer):
        """Ask for what lies AHEAD of ``pointer`` to be brought into the cache.

        For passes over more memory than the cache holds: what the processor's own foresight makes
        of planes that are not neighbours is too little. Twice as fast where it was measured. The
        address need not exist.
        """
        pointer = self.builder.gep(pointer, [integer(AHEAD)])
        pointer = self.builder.bitcast(pointer, ir.IntType(8).as_pointer())
        read, closest, data = (ir.Constant(ir.IntType(32), number) for number in (0, 3, 1))
        self.intrinsic("llvm.prefetch.p0", ir.VoidType(), [pointer, read, closest, data])

    def multiply_add(self, a, b, c):
        # fmuladd, not fma: a processor without the instruction gets two, not a library call.
        return self.intrinsic(f"llvm.fmuladd.v{self.lanes}{self.letter}", self.type, [a, b, c])

    def sums(self, vectors):
        """One vector whose lane i is the sum of the lanes of ``vectors[i]``, in a fixed order.

        It has as many lanes as there are vectors (at most LANES), rounded up to a power of two.
        Pairs of vectors are folded into one, halves onto halves, until one is left; then that one
        is folded in itself. Log steps, and no lane is ever idle.
        """
        missing = (1 << (len(vectors) - 1).bit_length()) - len(vectors)
        vectors = vectors + [self.zero] * missing
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


def pointer_to(context, builder, array_type, array):
    return context.make_array(array_type)(context, builder, array).data


def integer(value):
    return ir.Constant(INT, value)


def smaller(builder, a, b):
    return builder.select(builder.icmp_signed("<", a, b), a, b)


@contextlib.contextmanager
def loop(builder, count):
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
    index.add_incoming(integer(0), start)
    builder.cbranch(builder.icmp_signed("<", index, count), body, end)
    builder.position_at_end(body)
    yield index
    following = builder.add(index, integer(1))
    index.add_incoming(following, builder.block)
    module = builder.module
    keep = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    name = module.add_metadata([keep, ir.MetaDataString(module, f"loop {len(module.metadata)}")])
    name.operands = (name, keep)  # a loop's metadata begins with itself
    builder.branch(head).set_metadata("llvm.loop", name)
    builder.position_at_end(end)
