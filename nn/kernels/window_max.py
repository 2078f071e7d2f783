"""The largest number under a window, for a row of windows at once: the inside of max pooling."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nn.kernels.jit import device
from nn.kernels.simd import LANES, Vectors, integer, loop, pointer_to


def make_window_max(stride: int):
    """Build ``window_max`` for windows 1 or 2 numbers apart."""

    @intrinsic
    def window_max(
        typing_context, source, at, rows, row_step, columns, column_step, target, target_at, count
    ):
        """target[target_at + x] = max of source[at + x stride + i row_step + j column_step] over
        i < ``rows``, j < ``columns``, for x < ``count``. A NaN is the largest of all.
        """
        i = types.intp
        signature = types.void(source, i, i, i, i, i, target, i, i)

        def generate(context, builder, signature, values):
            kinds = signature.args
            source, at, rows, row_step, columns, column_step, target, target_at, count = values
            vector = Vectors(builder, context.get_value_type(kinds[0].dtype))
            source = builder.gep(pointer_to(context, builder, kinds[0], source), [at])
            target = builder.gep(pointer_to(context, builder, kinds[6], target), [target_at])
            best = cgutils.alloca_once(builder, vector.type)
            none = ir.Constant(ir.VectorType(ir.IntType(1), LANES), [0] * LANES)
            no_number = cgutils.alloca_once(builder, none.type)
            least = vector.splat(ir.Constant(vector.element, float("-inf")))
            nan = vector.splat(ir.Constant(vector.element, float("nan")))

            def largest(x, there):
                """The results x, x + 1, ...; if ``there`` is given, only so many of them."""
                builder.store(least, best)
                builder.store(none, no_number)
                first = builder.gep(source, [builder.mul(x, integer(stride))])
                masks = [None] * stride
                if there is not None:
                    numbers = builder.mul(there, integer(stride))
                    masks = [
                        vector.lanes_below(builder.sub(numbers, integer(part * LANES)))
                        for part in range(stride)
                    ]
                with loop(builder, rows) as row:
                    place = builder.gep(first, [builder.mul(row, row_step)])
                    with loop(builder, columns) as column:
                        seen = builder.gep(place, [builder.mul(column, column_step)])
                        parts = [
                            vector.load(builder.gep(seen, [integer(part * LANES)]), mask)
                            for part, mask in enumerate(masks)
                        ]
                        value = parts[0]
                        if stride == 2:
                            chosen = [2 * lane for lane in range(LANES)]
                            kind = ir.VectorType(ir.IntType(32), LANES)
                            value = builder.shuffle_vector(*parts, ir.Constant(kind, chosen))
                        # NaNs are only noted: the comparison is the one the processor has.
                        unknown = builder.fcmp_unordered("uno", value, value)
                        builder.store(builder.or_(builder.load(no_number), unknown), no_number)
                        old = builder.load(best)
                        larger = builder.fcmp_ordered(">", value, old)
                        builder.store(builder.select(larger, value, old), best)
                return builder.select(builder.load(no_number), nan, builder.load(best))

            whole = builder.sdiv(count, integer(LANES))
            done = builder.mul(whole, integer(LANES))
            rest = builder.sub(count, done)
            with loop(builder, whole) as index:
                x = builder.mul(index, integer(LANES))
                vector.store(largest(x, None), builder.gep(target, [x]))
            with builder.if_then(builder.icmp_signed(">", rest, integer(0))):
                value = largest(done, rest)
                vector.store(value, builder.gep(target, [done]), vector.lanes_below(rest))
            return context.get_dummy_value()

        return signature, generate

    return window_max


window_max = make_window_max(1)
window_max_by_two = make_window_max(2)


@device
def window_max_by(
    stride, source, at, rows, row_step, columns, column_step, target, target_at, count
):
    """``window_max`` for windows any number apart."""
    if stride == 1:
        window_max(source, at, rows, row_step, columns, column_step, target, target_at, count)
    elif stride == 2:
        window_max_by_two(
            source, at, rows, row_step, columns, column_step, target, target_at, count
        )
    else:
        for x in range(count):
            window_max(source, at + x * stride, rows, row_step, columns, column_step,
                       target, target_at + x, 1)  # fmt: skip
