"""The window of 3 x 3 pixels that slides over a plane, for a vector of output pixels at a time.

What a depthwise convolution and a max pooling have in common: padding 1, stride 1 or 2.
"""

from __future__ import annotations

from llvmlite import ir

from nn.kernels.simd import LANES, integer


def numbered(lanes):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))


def parts(builder, length, size):
    """How many parts of ``size`` cover ``length``."""
    return builder.sdiv(builder.add(length, integer(size - 1)), integer(size))


class Window:
    """Loads, a row at a time, what LANES neighbouring output pixels see of a plane (H, W)."""

    def __init__(self, vector, plane, H, W, x, stride, beyond=None):
        """``x`` is the first of the output columns; tap j sees column ``x * stride + j - 1``.

        ``beyond`` the border every pixel has this value, by default 0.
        """
        self.vector, self.builder, self.stride, self.beyond = vector, vector.builder, stride, beyond
        self.plane, self.H, self.W = plane, H, W
        first = self.builder.mul(x, integer(stride))
        self.columns = [
            [self.builder.add(first, integer(j - 1 + part * LANES)) for part in range(stride)]
            for j in range(3)
        ]
        self.masks = [[self.on_the_plane(column) for column in each] for each in self.columns]

    def on_the_plane(self, column):
        """The lanes for which 0 <= column + lane < W."""
        below = self.vector.lanes_below(self.builder.sub(self.W, column))
        before = self.vector.lanes_below(self.builder.neg(column))
        return self.builder.and_(below, self.builder.not_(before))

    def row(self, y):
        """What the taps j = 0, 1, 2 see in row ``y``, and what lies beyond the border."""
        exists = self.builder.icmp_unsigned("<", y, self.H)  # unsigned: -1 is large
        start = self.builder.gep(self.plane, [self.builder.mul(y, self.W)])
        for column in self.columns[1]:
            self.vector.prefetch(self.builder.gep(start, [column]))
        pairs = zip(self.columns, self.masks, strict=True)
        return [self.fetch(start, *pair, exists) for pair in pairs]

    def fetch(self, start, columns, masks, exists):
        halves = []
        for column, mask in zip(columns, masks, strict=True):
            mask = self.builder.select(exists, mask, ir.Constant(mask.type, [0] * LANES))
            loaded = self.vector.load(self.builder.gep(start, [column]), mask)
            if self.beyond is not None:
                loaded = self.builder.select(mask, loaded, self.beyond)
            halves.append(loaded)
        if self.stride == 1:
            return halves[0]
        return self.builder.shuffle_vector(*halves, numbered(range(0, 2 * LANES, 2)))
