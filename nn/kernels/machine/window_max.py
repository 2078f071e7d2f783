"""The largest of some numbers at equal distances, for a whole row: the inside of max pooling."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nn.kernels.machine.jit import device
from nn.kernels.machine.simd import LANES, Vectors, integer, loop, pointer_to

TOGETHER = 4  # vectors of results that are found side by side, at most


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

            def fetch(pointer, masks):
                """A vector of numbers ``stride`` apart."""
                firsts = range(0, stride * LANES, LANES)
                places = [builder.gep(pointer, [integer(first)]) for first in firsts]
                parts = [vector.load(*each) for each in zip(places, masks, strict=True)]
                return parts[0] if stride == 1 else builder.shuffle_vector(*parts, every_second)

            def largest(x, width, rest=None):
                """Store ``width`` vectors of results x, x + 1, ..., of the last only ``rest``."""
                read = [[None] * stride for _ in range(width)]
                written = [None] * width
                if rest is not None:
                    end = builder.sub(builder.mul(rest, integer(stride)), integer(stride - 1))
                    read[-1] = [
                        vector.lanes_below(builder.sub(end, integer(first)))
                        for first in range(0, stride * LANES, LANES)
                    ]
                    written[-1] = vector.lanes_below(rest)
                best = [cgutils.alloca_once(builder, vector.type) for _ in range(width)]
                no_number = [cgutils.alloca_once(builder, none.type) for _ in range(width)]
                for n in range(width):
                    builder.store(least, best[n])
                    builder.store(none, no_number[n])
                first = builder.gep(source, [builder.mul(x, integer(stride))])
                with loop(builder, taps) as tap:
                    seen = builder.gep(first, [builder.mul(tap, step)])
                    for n in range(width):
                        value = fetch(builder.gep(seen, [integer(n * stride * LANES)]), read[n])
                        # NaNs are only noted: the comparison is the one the processor has.
                        unknown = builder.fcmp_unordered("uno", value, value)
                        unknown = builder.or_(builder.load(no_number[n]), unknown)
                        builder.store(unknown, no_number[n])
                        old = builder.load(best[n])
                        larger = builder.fcmp_ordered(">", value, old)
                        builder.store(builder.select(larger, value, old), best[n])
                for n in range(width):
                    value = builder.select(builder.load(no_number[n]), nan, builder.load(best[n]))
                    place = builder.gep(target, [builder.add(x, integer(n * LANES))])
                    vector.prefetch(place)
                    vector.store(value, place, written[n])

            numbers = integer(TOGETHER * LANES)
            blocks = builder.sdiv(count, numbers)
            with loop(builder, blocks) as index:
                largest(builder.mul(index, numbers), TOGETHER)
            done = builder.mul(blocks, numbers)
            for width in range(1, TOGETHER + 1):
                rest = builder.sub(builder.sub(count, done), integer((width - 1) * LANES))
                some = builder.icmp_signed(">", rest, integer(0))
                enough = builder.icmp_signed("<=", rest, integer(LANES))
                with builder.if_then(builder.and_(some, enough)):
                    largest(done, width, rest)
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
