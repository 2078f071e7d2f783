"""Vectors of the processor, as a vocabulary for writing LLVM code by hand.

A compiler left alone with a matrix product keeps the sums in memory, one load and one store per
multiplication. Written in LLVM's vector types they stay in registers and the multiplier never
waits: five to ten times as fast. Only ``nn.kernels`` knows of vectors; its products are in
``register_blocks``, its copies in ``copy_rows``, its windows in ``window``, and so on.

How many floats a vector holds and how many vectors a block of sums has follows the processor.
"""

from __future__ import annotations

import contextlib
import functools
from typing import NamedTuple

import llvmlite.binding
import numba
from llvmlite import ir
from numba.core import cgutils

from nn.kernels.machine.emitted import INT, Index, value_of

I32 = ir.IntType(32)


def cpu_features() -> set[str]:
    """Names of the instruction sets that Numba compiles for (its settings, else this machine)."""
    if numba.config.CPU_FEATURES is not None:
        flags = numba.config.CPU_FEATURES.split(",")
        return {flag[1:] for flag in flags if flag.startswith("+")}
    if numba.config.CPU_NAME is not None:
        return features_of(numba.config.CPU_NAME)
    return {name for name, present in llvmlite.binding.get_host_cpu_features().items() if present}


def features_of(cpu: str) -> set[str]:
    """The widest vectors of a processor by its name: what LLVM makes of a sum of 16 floats."""
    vector = "<16 x float>"
    module = llvmlite.binding.parse_assembly(
        f"define {vector} @add({vector} %a, {vector} %b) {{\n"
        f"  %sum = fadd {vector} %a, %b\n  ret {vector} %sum\n}}"
    )
    target = llvmlite.binding.Target.from_default_triple()
    code = target.create_target_machine(cpu=cpu).emit_assembly(module)
    registers = {"zmm": "avx512f", "ymm": "avx2", "v0.4s": "neon"}
    return {name for register, name in registers.items() if register in code}


class Shape(NamedTuple):
    """Of a block of sums: so many rows of so many vectors of so many floats."""

    lanes: int
    rows: int
    vectors: int


def block_shape(features: set[str]) -> Shape:
    """The largest block whose sums, one row of B and one broadcast value of A fit the registers.

    8 x 3 + 3 + 1 of the 32 that AVX-512 and NEON have; 6 x 2 + 2 + 1 of the 16 of AVX2 and plain
    SSE. On AVX2 the last one is for one column more.
    """
    if "avx512f" in features:
        return Shape(16, 8, 3)
    if "avx2" in features or "avx" in features:
        return Shape(8, 6, 2)
    if "neon" in features:
        return Shape(4, 8, 3)
    return Shape(4, 6, 2)


LANES, ROWS, VECTORS = block_shape(cpu_features())
HAS_MASKS = "avx512f" in cpu_features()  # whether a store may leave out lanes at no cost
LOADS_PARTS = LANES > 4  # whether a load may; NEON and SSE do it lane by lane
AHEAD = 1024  # elements: how far ahead of its loads a long pass asks for memory


def numbered(lanes):
    """A constant vector of 32-bit integers: which lanes a shuffle picks, for one."""
    return ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))


class Vectors:
    """Emits loads, stores and arithmetic of vectors of one element type.

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

    def constant(self, number):
        return ir.Constant(self.element, number)

    def splat(self, scalar, lanes=None):
        """A vector with ``scalar`` in every lane."""
        lanes = lanes or self.lanes
        undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(first, undefined, numbered([0] * lanes))

    def lanes_below(self, count, lanes=None):
        """The mask that is true in the lanes with a number smaller than ``count``."""
        lanes = lanes or self.lanes
        counts = self.splat(self.builder.trunc(value_of(count), I32), lanes)
        return self.builder.icmp_signed("<", numbered(range(lanes)), counts)

    def lanes_between(self, first, last):
        """The mask that is true in the lanes from ``first`` on and below ``last``."""
        below, before = self.lanes_below(last), self.lanes_below(first)
        return self.builder.and_(below, self.builder.not_(before))

    def load(self, array, mask=None, lanes=None):
        """The first numbers of a ``Flat``; lanes outside the mask are not read, they are zeros."""
        kind = ir.VectorType(self.element, lanes or self.lanes)
        pointer = self.builder.bitcast(array.pointer, kind.as_pointer())

        def whole():
            loaded = self.builder.load(pointer)
            loaded.align = 4
            return loaded

        def part():
            zero = ir.Constant(kind, [self.constant(0.0)] * kind.count)
            name = f"llvm.masked.load.v{kind.count}{self.letter}.p0"
            return self.intrinsic(name, kind, [pointer, ir.Constant(I32, 4), mask, zero])

        if mask is None:
            return whole()
        if LOADS_PARTS:
            return part()
        # Most vectors are whole: then it is one load behind one branch, not a branch for each lane.
        lanes = self.builder.bitcast(mask, ir.IntType(kind.count))
        is_whole = self.builder.icmp_signed("==", lanes, ir.Constant(lanes.type, -1))
        with self.builder.if_else(is_whole) as (then, otherwise):
            with then:
                of_all, all_from = whole(), self.builder.block
            with otherwise:
                of_some, some_from = part(), self.builder.block
        loaded = self.builder.phi(kind)
        loaded.add_incoming(of_all, all_from)
        loaded.add_incoming(of_some, some_from)
        return loaded

    def store(self, value, array, count=None):
        """Write over the first numbers of a ``Flat``: ``count`` of them (none if it is below 1), or
        as many as a vector has."""
        if count is not None:
            self.store_each([value], [array], [count])
            return
        pointer = self.builder.bitcast(array.pointer, value.type.as_pointer())
        self.builder.store(value, pointer).align = 4

    def store_each(self, values, arrays, counts):
        """``store`` for several vectors of one type.

        A mask costs nothing with AVX-512. An AVX2 processor of AMD takes 42 steps for such a store
        and NEON has none: there what is not whole is stored in halves, quarters and so on, behind
        one branch for all vectors. Behind one each, the compiler would put the sums of the later
        ones off to there, and run out of registers.
        """
        if HAS_MASKS:
            for value, array, count in zip(values, arrays, counts, strict=True):
                name = f"llvm.masked.store.v{value.type.count}{self.letter}.p0"
                mask = self.lanes_below(count, value.type.count)
                pointer = self.builder.bitcast(array.pointer, value.type.as_pointer())
                self.intrinsic(name, ir.VoidType(), [value, pointer, ir.Constant(I32, 4), mask])
            return
        are_whole = [count >= value.type.count for value, count in zip(values, counts, strict=True)]
        with self.builder.if_else(functools.reduce(self.builder.and_, are_whole)) as (whole, part):
            with whole:
                for value, array in zip(values, arrays, strict=True):
                    self.store(value, array)
            with part:
                for value, array, count in zip(values, arrays, counts, strict=True):
                    self.store_part(value, array, count)

    def store_part(self, value, array, count):
        """The first ``count`` numbers of ``value``: half of it if there are as many, then of the
        other half those that are left, else of this one."""
        half = value.type.count // 2
        if half == 0:
            with self.builder.if_then(count > 0):
                self.store(value, array)
            return
        low, high = (
            self.builder.shuffle_vector(value, value, numbered(range(first, first + half)))
            for first in (0, half)
        )
        is_half = count >= half
        with self.builder.if_then(is_half):
            self.store(low, array)
        rest = self.builder.select(is_half, high, low)
        at = Index(self.builder, value_of(half)).where(is_half, 0)
        self.store_part(rest, array.at(at), count - at)

    def prefetch(self, array):
        """Ask for what lies AHEAD of the first number to be brought into the cache.

        For passes over more memory than the cache holds: what the processor's own foresight makes
        of planes that are not neighbours is too little. Twice as fast where it was measured. The
        address need not exist.
        """
        pointer = self.builder.bitcast(array.at(AHEAD).pointer, ir.IntType(8).as_pointer())
        read, closest, data = (ir.Constant(I32, number) for number in (0, 3, 1))
        self.intrinsic("llvm.prefetch.p0", ir.VoidType(), [pointer, read, closest, data])

    def multiply_add(self, a, b, c):
        # fmuladd, not fma: a processor without the instruction gets two, not a library call.
        return self.intrinsic(f"llvm.fmuladd.v{self.lanes}{self.letter}", self.type, [a, b, c])

    def at_least(self, value, floor):
        """max(value, floor), written as "not less than": a NaN stays a NaN."""
        low = self.builder.fcmp_ordered("<", value, floor)
        return self.builder.select(low, floor, value)

    def clamp(self, value, low, high):
        """min(max(value, low), high); a NaN stays a NaN."""
        value = self.at_least(value, low)
        return self.builder.select(self.builder.fcmp_ordered(">", value, high), high, value)

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
        b = ir.Constant(a.type, ir.Undefined) if b is None else b
        low = self.builder.shuffle_vector(a, b, numbered(first))
        high = self.builder.shuffle_vector(a, b, numbered([lane + half for lane in first]))
        return self.builder.fadd(low, high)


@contextlib.contextmanager
def loop(count, step=1):
    """Emit a loop over the Index 0, step, 2 step, ... < ``count`` that stays as it is.

    Unrolled by two, as LLVM likes it, the blocks need more registers than there are: half the
    speed, or less, depending on where the stack happens to lie.
    """
    builder = count.builder
    start = builder.block
    head = builder.append_basic_block("block.head")
    body = builder.append_basic_block("block.body")
    end = builder.append_basic_block("block.end")
    builder.branch(head)
    builder.position_at_end(head)
    index = Index(builder, builder.phi(INT))
    index.value.add_incoming(value_of(0), start)
    builder.cbranch(index < count, body, end)
    builder.position_at_end(body)
    yield index
    following = index + step
    index.value.add_incoming(following.value, builder.block)
    module = builder.module
    keep = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    name = module.add_metadata([keep, ir.MetaDataString(module, f"loop {len(module.metadata)}")])
    name.operands = (name, keep)  # a loop's metadata begins with itself
    builder.branch(head).set_metadata("llvm.loop", name)
    builder.position_at_end(end)


def widths(count, most):
    """Emit a case for every number of vectors up to ``most`` that ``count`` numbers may need.

    Yields that number and how many numbers are left for the last of the vectors; in between, one
    writes down what is to happen then.
    """
    for width in range(1, most + 1):
        rest = count - (width - 1) * LANES
        with count.builder.if_then(count.builder.and_(rest > 0, rest <= LANES)):
            yield width, rest
