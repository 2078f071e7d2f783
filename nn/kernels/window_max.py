"""The largest of some numbers at equal distances, for a whole row: the inside of max pooling."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nn.kernels.jit import device
from nn.kernels.simd import LANES, Vectors, integer, loop, pointer_to

TOGETHER = 4  # vectors of results that are found side by side


def make_window_max(stride: int):
    """Build ``window_max`` for windows 1 or 2 numbers apart."""

    @intrinsic
    def window_max(typing_context, source, at, taps, step, target, target_at, count):
        """target[target_at + x] = max of source[at + x stride + k step] over k < ``taps``, for
        x < ``count``. A NaN is the largest of all; of no numbers, -inf is.
        """
        i = types.intp
        signature = types.void(source, i, i, i, target, i, i)

        def generate(context, builder, signature, values):
            kinds = signature.args
            source, at, taps, step, target, target_at, count = values
            vector = Vectors(builder, context.get_value_type(kinds[0].dtype))
            source = builder.gep(pointer_to(context, builder, kinds[0], source), [at])
            target = builder.gep(pointer_to(context, builder, kinds[4], target), [target_at])
            none = ir.Constant(ir.VectorType(ir.IntType(1), LANES), [0] * LANES)
            least = vector.splat(ir.Constant(vector.element, float("-inf")))
            nan = vector.splat(ir.Constant(vector.element, float("nan")))
            every_second = ir.VectorType(ir.IntType(32), LANES)
            every_second = ir.Constant(every_second, [2 * lane for lane in range(LANES)])

            def fetch(pointer, there):
                """A vector of numbers ``stride`` apart, only so many if ``there`` is given."""
                parts = []
                for first in range(0, stride * LANES, LANES):
                    mask = None
                    if there is not None:
                        end = builder.sub(builder.mul(there, integer(stride)), integer(stride - 1))
                        mask = vector.lanes_below(builder.sub(end, integer(first)))
                    parts.append(vector.load(builder.gep(pointer, [integer(first)]), mask))
                return parts[0] if stride == 1 else builder.shuffle_vector(*parts, every_second)

            def largest(x, width, there=None):
                """Store ``width`` vectors of results x, x + 1, ..., or only ``there`` results."""
                best = [cgutils.alloca_once(builder, vector.type) for _ in range(width)]
                no_number = [cgutils.alloca_once(builder, none.type) for _ in range(width)]
                for n in range(width):
                    builder.store(least, best[n])
                    builder.store(none, no_number[n])
                first = builder.gep(source, [builder.mul(x, integer(stride))])
                with loop(builder, taps) as tap:
                    seen = builder.gep(first, [builder.mul(tap, step)])
                    for n in range(width):
                        value = fetch(builder.gep(seen, [integer(n * stride * LANES)]), there)
                        # NaNs are only noted: the comparison is the one the processor has.
                        unknown = builder.fcmp_unordered("uno", value, value)
                        unknown = builder.or_(builder.load(no_number[n]), unknown)
                        builder.store(unknown, no_number[n])
                        old = builder.load(best[n])
                        larger = builder.fcmp_ordered(">", value, old)
                        builder.store(builder.select(larger, value, old), best[n])
                mask = None if there is None else vector.lanes_below(there)
                for n in range(width):
                    value = builder.select(builder.load(no_number[n]), nan, builder.load(best[n]))
                    place = builder.add(x, integer(n * LANES))
                    vector.store(value, builder.gep(target, [place]), mask)

            done = integer(0)
            for width in (TOGETHER, 1):
                numbers = integer(width * LANES)
                blocks = builder.sdiv(builder.sub(count, done), numbers)
                with loop(builder, blocks) as index:
                    largest(builder.add(done, builder.mul(index, numbers)), width)
                done = builder.add(done, builder.mul(blocks, numbers))
            rest = builder.sub(count, done)
            with builder.if_then(builder.icmp_signed(">", rest, integer(0))):
                largest(done, 1, rest)
            return context.get_dummy_value()

        return signature, generate

    return window_max


window_max = make_window_max(1)
window_max_by_two = make_window_max(2)


@device
def window_max_by(stride, source, at, taps, step, target, target_at, count):
    """``window_max`` for windows any number apart."""
    if stride == 1:
        window_max(source, at, taps, step, target, target_at, count)
    elif stride == 2:
        window_max_by_two(source, at, taps, step, target, target_at, count)
    else:
        for x in range(count):
            window_max(source, at + x * stride, taps, step, target, target_at + x, 1)
