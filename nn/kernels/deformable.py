"""Values of a map between its pixels, at points that are learned: what deformable operations read.

Dai et al., Deformable Convolutional Networks, 2017, equations 3 and 4; the mask is that of
Deformable ConvNets v2 (Zhu et al. 2019, equation 1). At its point (y, x) a sample is

    out[k, c, m] = mask[k, g, m] sum over i, j of t(y - i) t(x - j) input[images[k], c, i, j]
    t(d) = max(1 - |d|, 0)

where pixels outside the map are 0. The gradient of a point is that of the two or four pixels around
it: t'(y - i) is -1 for the pixel above and 1 for the one below.

Arrays: input (N, C, H, W); images (K,) int64, which image each of K sets of points reads; points
(K, G, 2, M), the rows y and the columns x of M points for each of G groups of neighbouring
channels; mask (K, G, M); out (K, C, M).
"""

import math

import numpy as np
from numba import prange

from nn.kernels.machine.jit import inlined, kernel


def sample_points_forward_reference(input, images, points, mask, out):
    for k, g, channels in _groups(points, out):
        rows, columns = _shares(points[k, g], input.shape[2:])
        values = np.einsum("mi,cij,mj->cm", rows, input[images[k], channels], columns)
        out[k, channels] = mask[k, g] * values


def sample_points_grad_input_reference(grad_output, images, points, mask, grad_input):
    grad_input[:] = 0
    for k, g, channels in _groups(points, grad_output):
        rows, columns = _shares(points[k, g], grad_input.shape[2:])
        grad = grad_output[k, channels] * mask[k, g]
        grad_input[images[k], channels] += np.einsum("mi,cm,mj->cij", rows, grad, columns)


def sample_points_grad_points_reference(
    grad_output, input, images, points, mask, grad_points, grad_mask
):
    for k, g, channels in _groups(points, grad_output):
        rows, columns = _shares(points[k, g], input.shape[2:])
        slope_rows, slope_columns = _slopes(points[k, g], input.shape[2:])
        for along_y, along_x, grad in (
            (rows, columns, grad_mask[k, g]),
            (slope_rows, columns, grad_points[k, g, 0]),
            (rows, slope_columns, grad_points[k, g, 1]),
        ):
            grad[:] = np.einsum(
                "cm,mi,cij,mj->m", grad_output[k, channels], along_y,
                input[images[k], channels], along_x,
            )  # fmt: skip
        grad_points[k, g] *= mask[k, g]


def _groups(points, out):
    """Each set of points, each group of channels in it, and these channels."""
    each = out.shape[1] // points.shape[1]
    for k, g in np.ndindex(points.shape[:2]):
        yield k, g, slice(g * each, (g + 1) * each)


def _shares(points, size):
    """t(y - i) for each point and row (M, H), and t(x - j) for each point and column (M, W)."""
    for at, length in zip(points, size, strict=True):
        yield np.maximum(1 - np.abs(at[:, None] - np.arange(length)), 0)


def _slopes(points, size):
    """t'(y - i) and t'(x - j)."""
    for at, length in zip(np.floor(points), size, strict=True):
        yield (at[:, None] + 1 == np.arange(length)) * 1.0 - (at[:, None] == np.arange(length))


@inlined
def pixel(plane, y, x):
    return plane[y, x] if 0 <= y < plane.shape[0] and 0 <= x < plane.shape[1] else 0.0


@inlined
def whole(at, length):
    """The pixel before a place; -2 for places outside the map, and for what is no number."""
    return int(math.floor(at)) if at >= -1 and at < length else -2


@kernel(twin=sample_points_forward_reference)
def sample_points_forward(input, images, points, mask, out):
    K, C, M = out.shape
    each = C // points.shape[1]
    for task in prange(K * C):
        k, c = task // C, task % C
        plane, g = input[images[k], c], c // each
        for m in range(M):
            y, x = points[k, g, 0, m], points[k, g, 1, m]
            top, left = whole(y, plane.shape[0]), whole(x, plane.shape[1])
            v, u = y - top, x - left
            above = pixel(plane, top, left) * (1 - u) + pixel(plane, top, left + 1) * u
            below = pixel(plane, top + 1, left) * (1 - u) + pixel(plane, top + 1, left + 1) * u
            out[k, c, m] = mask[k, g, m] * (above * (1 - v) + below * v)


@kernel(twin=sample_points_grad_input_reference)
def sample_points_grad_input(grad_output, images, points, mask, grad_input):
    """Sets of points share images, so the work is split by channels: a thread owns its channels and
    adds the sets in their order."""
    K, C, M = grad_output.shape
    H, W = grad_input.shape[2:]
    each = C // points.shape[1]
    for c in prange(C):
        grad_input[:, c] = 0
        g = c // each
        for k in range(K):
            plane = grad_input[images[k], c]
            for m in range(M):
                y, x = points[k, g, 0, m], points[k, g, 1, m]
                top, left = whole(y, H), whole(x, W)
                grad = grad_output[k, c, m] * mask[k, g, m]
                for i in range(max(top, 0), min(top + 2, H)):
                    for j in range(max(left, 0), min(left + 2, W)):
                        plane[i, j] += grad * (1 - abs(y - i)) * (1 - abs(x - j))


@kernel(twin=sample_points_grad_points_reference)
def sample_points_grad_points(grad_output, input, images, points, mask, grad_points, grad_mask):
    """Every point sums over the channels of its group, in their order."""
    K, C, M = grad_output.shape
    G, each = points.shape[1], C // points.shape[1]
    for task in prange(K * G * M):
        k, g, m = task // (G * M), task // M % G, task % M
        y, x = points[k, g, 0, m], points[k, g, 1, m]
        top, left = whole(y, input.shape[2]), whole(x, input.shape[3])
        v, u = y - top, x - left
        total, total_y, total_x = 0.0, 0.0, 0.0
        for channel in range(g * each, (g + 1) * each):
            plane, grad = input[images[k], channel], grad_output[k, channel, m]
            a, b = pixel(plane, top, left), pixel(plane, top, left + 1)
            c, d = pixel(plane, top + 1, left), pixel(plane, top + 1, left + 1)
            total += grad * ((a * (1 - u) + b * u) * (1 - v) + (c * (1 - u) + d * u) * v)
            total_y += grad * ((c - a) * (1 - u) + (d - b) * u)
            total_x += grad * ((b - a) * (1 - v) + (d - c) * v)
        grad_mask[k, g, m] = total
        grad_points[k, g, 0, m] = mask[k, g, m] * total_y
        grad_points[k, g, 1, m] = mask[k, g, m] * total_x
