"""Where the sample points of a region's bins lie, and how much each pixel counts: RoIAlign's grid.

RoIAlign and PSRoIAlign cut a region into bins and take the mean, or the maximum, of sample points
inside each. The value at a point is interpolated between pixels (He et al., Mask R-CNN, 2017,
section 3):

    value(y, x) = sum over i, j of t(y - i) t(x - j) input[i, j],   t(d) = max(1 - |d|, 0)

Points up to one pixel outside the map take the value at its edge, points further out are 0. Weights
along y and along x are independent, and so are their means over the points of a bin: a table for
each axis says which pixels count how much. Its entries are cells: for a mean, a cell is a bin with
all its points; for a maximum every point is a cell.

Arrays: starts, steps (K,) float64, cells, points (K,) int64: region k has ``cells[k]`` cells, cell
i begins at starts[k] + i steps[k] and has ``points[k]`` points. pixels (K, most cells, 2 most
points) int64 and weights alike: the pixels of a cell, each once, and what they weigh; counts (K,
most cells) int64: how many there are.
"""

import numpy as np
from numba import prange

from nn.kernels.machine.jit import kernel


def region_cells_reference(starts, steps, cells, points, size, pixels, weights, counts):
    for k in range(len(starts)):
        for cell in range(cells[k]):
            at = starts[k] + steps[k] * (cell + (np.arange(points[k]) + 0.5) / points[k])
            at = np.clip(at[(at >= -1) & (at <= size)], 0, size - 1)
            low = at.astype(np.int64)
            found = np.unique([low, np.minimum(low + 1, size - 1)])
            pixels[k, cell, : len(found)] = found
            share = np.maximum(1 - np.abs(at[:, None] - found), 0)
            weights[k, cell, : len(found)] = share.sum(0) / max(points[k], 1)
            counts[k, cell] = len(found)


@kernel(twin=region_cells_reference)
def region_cells(starts, steps, cells, points, size, pixels, weights, counts):
    for k in prange(starts.size):
        for cell in range(cells[k]):
            count = 0
            for point in range(points[k]):
                at = starts[k] + steps[k] * (cell + (point + 0.5) / points[k])
                # Written so that a NaN, for which every comparison is false, counts as outside.
                if not (at >= -1.0 and at <= size):
                    continue
                at = min(max(at, 0.0), size - 1.0)
                low = int(at)
                for pixel in range(low, min(low + 2, size)):
                    i = 0
                    while i < count and pixels[k, cell, i] != pixel:
                        i += 1
                    if i == count:
                        count += 1
                        pixels[k, cell, i], weights[k, cell, i] = pixel, 0
                    weights[k, cell, i] += (1.0 - abs(at - pixel)) / points[k]
            counts[k, cell] = count
