"""The window of 3 x 3 pixels that slides over a plane, for a vector of output pixels at a time.

What a depthwise convolution and a max pooling have in common: padding 1, stride 1 or 2.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from nn.kernels.machine.simd import LANES, integer


def numbered(lanes):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))


def parts(builder, length, size):
    """How many parts of ``size`` cover ``length``."""
    return builder.sdiv(builder.add(length, integer(size - 1)), integer(size))


class Window:
    """Loads, a row at a time, what LANES neighbouring output pixels see of a plane (H, W).

    A row is loaded once, in vectors side by side; what each tap sees is picked out of them.
    """

    def __init__(self, vector, plane, H, W, x, stride, beyond=0.0):
        """``x`` is the first of the output columns; tap j sees column ``x * stride + j - 1``.

        Every pixel beyond the border is ``beyond``.
        """
        self.vector, self.builder, self.stride = vector, vector.builder, stride
        self.plane, self.H, self.W = plane, H, W
        first = self.builder.sub(self.builder.mul(x, integer(stride)), integer(1))
        self.columns = [self.builder.add(first, integer(j)) for j in range(3)]
        self.parts = range(0, (stride + 1) * LANES, LANES)
        self.masks = [self.on_the_plane(self.builder.add(first, integer(p))) for p in self.parts]
        self.beyond = ir.Constant(vector.type, [ir.Constant(vector.element, beyond)] * LANES)
        # Stands in for the rows above and below the plane.
        row = ir.Constant(ir.ArrayType(vector.type, stride + 1), [self.beyond] * (stride + 1))
        row = cgutils.global_constant(self.builder, "row_beyond", row)
        self.row_beyond = self.builder.bitcast(row, plane.type)

    def on_the_plane(self, column):
        """The lanes for which 0 <= column + lane < W."""
        below = self.vector.lanes_below(self.builder.sub(self.W, column))
        before = self.vector.lanes_below(self.builder.neg(column))
        return self.builder.and_(below, self.builder.not_(before))

    def row(self, y):
        """What the taps j = 0, 1, 2 see in row ``y``, and what lies beyond the border."""
        builder = self.builder
        at = builder.add(builder.mul(y, self.W), self.columns[0])
        exists = builder.icmp_unsigned("<", y, self.H)  # unsigned: -1 is large
        row = builder.select(exists, builder.gep(self.plane, [at]), self.row_beyond)
        for part in self.parts[:-1]:
            self.vector.prefetch(builder.gep(row, [integer(part)]))
        pairs = zip(self.parts, self.masks, strict=True)
        return self.taps([self.fetch(row, part, mask) for part, mask in pairs])

    def taps(self, parts):
        """What the three taps see of the vectors of a row."""
        first, second = self.pick(*parts[:2], 0), self.pick(*parts[:2], 1)
        if self.stride == 1:
            return [first, second, self.pick(*parts, 2)]
        # The last tap of an output pixel is the first of the next.
        following = numbered(range(1, LANES + 1))
        return [first, second, self.builder.shuffle_vector(first, parts[2], following)]

    def pick(self, a, b, first):
        """Pixels ``first``, ``first`` + stride, ... of two vectors side by side."""
        lanes = numbered(range(first, first + self.stride * LANES, self.stride))
        return self.builder.shuffle_vector(a, b, lanes)

    def fetch(self, row, part, mask):
        loaded = self.vector.load(self.builder.gep(row, [integer(part)]), mask)
        return self.builder.select(mask, loaded, self.beyond)
