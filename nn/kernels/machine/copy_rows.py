"""Fetch rows of pixels in vectors, together with the zeros beside the image.

What convolutions spend on getting at their input: the patches of ``nn.kernels.convolution`` and
the scratch planes of ``nn.kernels.depthwise`` are filled by these copies.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from nn.kernels.machine.jit import device
from nn.kernels.machine.simd import LANES, Vectors, integer, loop, pointer_to


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
            vector = Vectors(builder, context.get_value_type(kinds[0].dtype))
            source = builder.gep(pointer_to(context, builder, kinds[0], source), [source_at])
            target = builder.gep(pointer_to(context, builder, kinds[5], target), [target_at])

            def fetch(row, x, masked):
                """Elements x, x + 1, ... of a row; if ``masked``, zeros outside the range."""
                first = builder.mul(x, integer(stride))
                parts = []
                for part in range(stride):
                    at = builder.add(first, integer(part * LANES))
                    mask = None
                    if masked:
                        end = builder.sub(builder.mul(high, integer(stride)), integer(stride - 1))
                        begin = builder.mul(low, integer(stride))
                        below = vector.lanes_below(builder.sub(end, at))
                        before = vector.lanes_below(builder.sub(begin, at))
                        mask = builder.and_(below, builder.not_(before))
                    place = builder.gep(row, [at])
                    vector.prefetch(place)
                    parts.append(vector.load(place, mask))
                if stride == 1:
                    return parts[0]
                chosen = [stride * lane for lane in range(LANES)]
                chosen = ir.Constant(ir.VectorType(ir.IntType(32), LANES), chosen)
                return builder.shuffle_vector(parts[0], parts[1], chosen)

            whole = builder.sdiv(count, integer(LANES))
            done = builder.mul(whole, integer(LANES))
            rest = builder.sub(count, done)
            rest_lanes = vector.lanes_below(rest)
            inside = builder.and_(
                builder.icmp_signed("<=", low, integer(0)),
                # The last vector of the plain loop may read stride - 1 elements past its end.
                builder.icmp_signed(">=", high, builder.add(done, integer(stride - 1))),
            )
            with loop(builder, rows) as y:
                source_start = builder.gep(source, [builder.mul(y, source_row)])
                target_start = builder.gep(target, [builder.mul(y, target_row)])
                with builder.if_else(inside) as (then, otherwise):
                    for branch, masked in ((then, False), (otherwise, True)):
                        with branch, loop(builder, whole) as index:
                            x = builder.mul(index, integer(LANES))
                            value = fetch(source_start, x, masked)
                            vector.store(value, builder.gep(target_start, [x]))
                with builder.if_then(builder.icmp_signed(">", rest, integer(0))):
                    value = fetch(source_start, done, True)
                    vector.store(value, builder.gep(target_start, [done]), rest_lanes)
            return context.get_dummy_value()

        return signature, generate

    return copy_rows


copy_rows = make_copy_rows(1)
copy_rows_by_two = make_copy_rows(2)


@intrinsic
def copy_seen(typing_context, source, source_at, target, target_at, seen):
    """Copy 64 numbers; those whose bit of ``seen`` (int64) is 0 become 0 and are not read."""
    i = types.intp
    signature = types.void(source, i, target, i, types.int64)

    def generate(context, builder, signature, values):
        kinds = signature.args
        source, source_at, target, target_at, seen = values
        vector = Vectors(builder, context.get_value_type(kinds[0].dtype))
        source = builder.gep(pointer_to(context, builder, kinds[0], source), [source_at])
        target = builder.gep(pointer_to(context, builder, kinds[2], target), [target_at])
        for first in range(0, 64, LANES):
            bits = builder.trunc(builder.lshr(seen, integer(first)), ir.IntType(LANES))
            mask = builder.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))
            value = vector.load(builder.gep(source, [integer(first)]), mask)
            vector.store(value, builder.gep(target, [integer(first)]))
        return context.get_dummy_value()

    return signature, generate


@device
def visible(length, shift, step, out_length):
    """The range of i < ``out_length`` for which 0 <= i * step + shift < ``length``."""
    first = min(max(-(shift // step), 0), out_length)
    return first, max(min(-((shift - length) // step), out_length), first)


@device
def fetch_rows(
    source, source_at, source_row, stride, low, high, target, target_at, target_row, count, rows
):
    """``copy_rows`` for any stride along the row."""
    if stride == 1:
        copy_rows(source, source_at, source_row, low, high,
                  target, target_at, target_row, count, rows)  # fmt: skip
    elif stride == 2:
        copy_rows_by_two(source, source_at, source_row, low, high,
                         target, target_at, target_row, count, rows)  # fmt: skip
    else:
        for y in range(rows):
            for x in range(count):
                value = source[source_at + y * source_row + stride * x] if low <= x < high else 0
                target[target_at + y * target_row + x] = value
