"""Reading a map at points that are learned, and where these points lie before they are moved."""

from __future__ import annotations

import numpy as np

from nn.kernels import deformable
from nn.ops.geometry import Geometry
from nn.ops.layout import contiguous
from nn.ops.operation import Operation
from nn.ops.region_pooling import to_nearest


class SamplePoints(Operation):
    """The values of a map at points between its pixels, see ``nn.kernels.deformable``.

    Args of forward: input (N, C, H, W); points (K, G, 2, M), rows and columns in pixels of the map,
    for each of G groups of C / G channels; mask (K, G, M), by which the values are multiplied. All
    three get gradients. images (K,): the index of the image that each set of points reads. The
    output is (K, C, M).

    Source: Dai et al., Deformable Convolutional Networks, 2017, section 2.1.
    """

    @staticmethod
    def output_shape(input, points, mask, *, images):
        return len(images), input[1], points[3]

    def forward(self, input, points, mask, *, images):
        input, points, mask = (contiguous(array) for array in (input, points, mask))
        out = np.empty((len(images), input.shape[1], points.shape[3]), input.dtype)
        self.input, self.where = input, (images, points, mask)
        deformable.sample_points_forward(input, *self.where, out)
        return out

    def backward(self, grad_output):
        grad_output, grads = contiguous(grad_output), [None, None, None]
        if self.needs_grad[0]:
            grads[0] = np.empty_like(self.input)
            deformable.sample_points_grad_input(grad_output, *self.where, grads[0])
        if self.needs_grad[1] or self.needs_grad[2]:
            grads[1:] = (np.empty_like(array) for array in self.where[1:])
            deformable.sample_points_grad_points(grad_output, self.input, *self.where, *grads[1:])
        return tuple(grads)


def tap_points(geometry: Geometry, size: tuple[int, int]) -> np.ndarray:
    """Where a convolution reads: (2, KH KW, OH OW), rows and columns of each tap of each output."""
    (KH, KW), (OH, OW) = geometry.kernel_size, geometry.output_size(size)
    axes = zip((KH, KW), (OH, OW), *geometry.spacing, strict=True)
    rows, columns = (
        np.arange(out) * stride - padding + np.arange(taps)[:, None] * dilation
        for taps, out, stride, padding, dilation in axes
    )
    grid = np.broadcast_arrays(rows[:, None, :, None], columns[None, :, None, :])
    return np.stack(grid).reshape(2, KH * KW, OH * OW).astype(np.float64)


def bin_points(
    rois: np.ndarray, bins: tuple[int, int], spatial_scale: float, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the bins of regions (K, 4) read: (K, PH PW, 2, samples^2), rows and columns; and the
    regions' sizes (K, 2), height and width, in pixels of the map.

    The geometry of the authors' code: corners are rounded to whole pixels of the image, the lower
    right one belongs to the region, and a bin's samples begin at its upper left corner.
    """
    corners = to_nearest(rois)[:, [1, 0, 3, 2]]
    start = corners[:, :2] * spatial_scale - 0.5
    sizes = np.maximum((corners[:, 2:] + 1) * spatial_scale - 0.5 - start, 0.1)
    steps = np.indices((*bins, samples, samples)).reshape(4, bins[0] * bins[1], samples**2)
    within = (steps[:2] + steps[2:] / samples) / np.reshape(bins, (2, 1, 1))
    within = within.swapaxes(0, 1)
    return start[:, None, :, None] + sizes[:, None, :, None] * within, sizes
