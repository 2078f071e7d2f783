"""The largest of some numbers at equal distances, for a whole row: the inside of max pooling."""

from __future__ import annotations

from llvmlite import ir

from nn.kernels.machine.emitted import Variable, emitted
from nn.kernels.machine.jit import device
from nn.kernels.machine.simd import LANES, Vectors, loop, numbered, widths

TOGETHER = 4  # vectors of results that are found side by side, at most


def make_window_max(stride: int):
    """Build ``window_max`` for windows 1 or 2 numbers apart."""
    firsts = range(0, stride * LANES, LANES)

    @emitted
    def window_max(builder, source, at, taps, step, target, target_at, count):
        """target[target_at + x] = max of source[at + x stride + k step] over k < ``taps``, for
        x < ``count``. A NaN is the largest of all; of no numbers, -inf is.
        """
        vector = Vectors(builder, source.element)
        source, target = source.at(at), target.at(target_at)
        least, nan = (vector.splat(vector.constant(float(name))) for name in ("-inf", "nan"))
        none = ir.Constant(ir.VectorType(ir.IntType(1), LANES), [0] * LANES)

        def fetch(array, masks):
            """A vector of numbers ``stride`` apart."""
            places = [array.at(first) for first in firsts]
            parts = [vector.load(*each) for each in zip(places, masks, strict=True)]
            if stride == 1:
                return parts[0]
            return builder.shuffle_vector(*parts, numbered(range(0, stride * LANES, stride)))

        def largest(x, width, rest=None):
            """Store ``width`` vectors of results x, x + 1, ..., of the last only ``rest``."""
            read, written = [[None] * stride for _ in range(width)], [None] * width
            if rest is not None:
                end = rest * stride - (stride - 1)
                read[-1] = [vector.lanes_below(end - first) for first in firsts]
                written[-1] = rest
            best = [Variable(builder, least) for _ in range(width)]
            unknown = [Variable(builder, none) for _ in range(width)]
            first = source.at(x * stride)
            with loop(taps) as tap:
                seen = first.at(tap * step)
                for n in range(width):
                    value = fetch(seen.at(n * stride * LANES), read[n])
                    # NaNs are only noted: the comparison is the one the processor has.
                    is_nan = builder.fcmp_unordered("uno", value, value)
                    unknown[n].set(builder.or_(unknown[n].get(), is_nan))
                    larger = builder.fcmp_ordered(">", value, best[n].get())
                    best[n].set(builder.select(larger, value, best[n].get()))
            for n in range(width):
                place = target.at(x + n * LANES)
                vector.prefetch(place)
                value = builder.select(unknown[n].get(), nan, best[n].get())
                vector.store(value, place, written[n])

        numbers = TOGETHER * LANES
        done = count // numbers * numbers
        with loop(done, numbers) as x:
            largest(x, TOGETHER)
        for width, rest in widths(count - done, TOGETHER):
            largest(done, width, rest)

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
