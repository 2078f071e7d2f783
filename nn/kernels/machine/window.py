"""The window that slides over a plane, for a vector of output pixels at a time.

What a depthwise convolution and a max pooling have in common: 3 x 3 pixels (or 5 x 5, 7 x 7) around
that of the output, stride 1 or 2.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from nn.kernels.machine.emitted import Flat
from nn.kernels.machine.simd import LANES, numbered


class Window:
    """Loads, a row at a time, what LANES neighbouring output pixels see of a plane (H, W).

    A row is loaded once, in vectors side by side; what each tap sees is picked out of them.
    """

    def __init__(self, vector, plane, H, W, x, stride, beyond=0.0, side=3, padding=None):
        """``x`` is the first of the output columns; tap j of ``side`` sees column
        ``x * stride + j - padding``, which is side // 2 unless it is given.

        Every pixel beyond the border is ``beyond``.
        """
        self.vector, self.builder, self.stride = vector, vector.builder, stride
        self.plane, self.H, self.W = plane, H, W
        first = x * stride - (side // 2 if padding is None else padding)
        self.columns = [first + j for j in range(side)]
        self.parts = range(0, (LANES - 1) * stride + side, LANES)
        self.masks = [self.on_the_plane(first + part) for part in self.parts]
        self.beyond = ir.Constant(vector.type, [vector.constant(beyond)] * LANES)
        # Stands in for the rows above and below the plane.
        count = len(self.parts)
        row = ir.Constant(ir.ArrayType(vector.type, count), [self.beyond] * count)
        row = cgutils.global_constant(self.builder, "row_beyond", row)
        self.row_beyond = Flat(self.builder, self.builder.bitcast(row, plane.pointer.type))

    def on_the_plane(self, column):
        """The lanes for which 0 <= column + lane < W."""
        return self.vector.lanes_between(-column, self.W - column)

    def row(self, y):
        """What the taps j = 0, 1, ... see in row ``y``, and what lies beyond the border."""
        exists = self.builder.icmp_unsigned("<", y.value, self.H.value)  # unsigned: -1 is large
        row = self.plane.at(y * self.W + self.columns[0]).where(exists, self.row_beyond)
        for part in self.parts[:-1]:
            self.vector.prefetch(row.at(part))
        pairs = zip(self.parts, self.masks, strict=True)
        return self.taps([self.fetch(row, part, mask) for part, mask in pairs])

    def taps(self, parts):
        """What the taps see of the vectors of a row."""
        taps = range(len(self.columns))
        if self.stride == 1:
            # Four lanes and 7 taps need three vectors, each tap two of them.
            pairs = [(j, max(j - 1, 0) // LANES) for j in taps]
            return [self.pick(*parts[n : n + 2], j - n * LANES) for j, n in pairs]
        # The tap j + 2 of an output pixel is the tap j of the next.
        halves = [self.pick(*parts[:2], 0), self.pick(*parts[:2], 1)]
        seen = list(halves)
        for j in taps[2:]:
            new, lanes = parts[2], range(LANES + j % 2, LANES + j, 2)
            if len(parts) > 3:
                new, lanes = self.pick(*parts[2:], j % 2), range(LANES, LANES + j // 2)
            lanes = numbered([*range(j // 2, LANES), *lanes])
            seen.append(self.builder.shuffle_vector(halves[j % 2], new, lanes))
        return seen

    def pick(self, a, b, first):
        """Pixels ``first``, ``first`` + stride, ... of two vectors side by side."""
        lanes = numbered(range(first, first + self.stride * LANES, self.stride))
        return self.builder.shuffle_vector(a, b, lanes)

    def fetch(self, row, part, mask):
        return self.builder.select(mask, self.vector.load(row.at(part), mask), self.beyond)
