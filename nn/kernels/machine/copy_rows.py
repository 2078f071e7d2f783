"""Fetch rows of pixels in vectors, together with the zeros beside the image.

What convolutions spend on getting at their input: the patches of ``nn.kernels.convolution`` and
the scratch planes of ``nn.kernels.depthwise`` are filled by these copies.
"""

from __future__ import annotations

from llvmlite import ir

from nn.kernels.machine.emitted import emitted, value_of
from nn.kernels.machine.jit import device
from nn.kernels.machine.simd import LANES, Vectors, loop, numbered


def make_copy_rows(stride: int):
    """Build ``copy_rows`` for every element (``stride`` 1) or every second one (2) of a row."""

    @emitted
    def copy_rows(
        builder, source, source_at, source_row, low, high,
        target, target_at, target_row, count, rows,
    ):  # fmt: skip
        """Copy ``rows`` rows of ``count`` elements, with zeros where the source has none.

        ``target[target_at + y * target_row + x]`` becomes
        ``source[source_at + y * source_row + stride * x]`` if low <= x < high, else 0. Nothing of
        the source outside that range is read: this fetches pixels and the zeros beside the image.
        """
        vector = Vectors(builder, source.element)
        source, target = source.at(source_at), target.at(target_at)
        begin, end = low * stride, high * stride - (stride - 1)

        def fetch(row, x, masked):
            """Elements x, x + 1, ... of a row; if ``masked``, zeros outside the range."""
            parts = []
            for part in range(stride):
                at = x * stride + part * LANES
                mask = vector.lanes_between(begin - at, end - at) if masked else None
                vector.prefetch(row.at(at))
                parts.append(vector.load(row.at(at), mask))
            if stride == 1:
                return parts[0]
            return builder.shuffle_vector(*parts, numbered(range(0, stride * LANES, stride)))

        done = count // LANES * LANES
        rest = count - done
        # The last vector of the plain loop may read stride - 1 elements past its end.
        inside = builder.and_(low <= 0, high >= done + (stride - 1))
        with loop(rows) as y:
            source_row_y, target_row_y = source.at(y * source_row), target.at(y * target_row)
            with builder.if_else(inside) as (then, otherwise):
                for branch, masked in ((then, False), (otherwise, True)):
                    with branch, loop(done, LANES) as x:
                        vector.store(fetch(source_row_y, x, masked), target_row_y.at(x))
            with builder.if_then(rest > 0):
                value = fetch(source_row_y, done, True)
                vector.store(value, target_row_y.at(done), rest)

    return copy_rows


copy_rows = make_copy_rows(1)
copy_rows_by_two = make_copy_rows(2)


@emitted
def copy_seen(builder, source, source_at, target, target_at, seen):
    """Copy 64 numbers; those whose bit of ``seen`` (int64) is 0 become 0 and are not read."""
    vector = Vectors(builder, source.element)
    for first in range(0, 64, LANES):
        bits = builder.lshr(seen.value, value_of(first))
        bits = builder.trunc(bits, ir.IntType(LANES))
        mask = builder.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))
        value = vector.load(source.at(source_at + first), mask)
        vector.store(value, target.at(target_at + first))


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
