"""Region pooling by interpolation: PSRoIAlign and RoIAlign.

Between the feature map and the detector's head: cuts every region of interest into PH x PW bins and
turns each bin into one number per channel, from sample points inside the bin.

    value(y, x) = sum over i, j of t(y - i) t(x - j) input[i, j],   t(d) = max(1 - |d|, 0)

A bin's number is the mean or the maximum of its values; 0 without any. RoIAlign (He et al., Mask
R-CNN, 2017, section 3) takes all bins of output channel c from input channel c. PSRoIAlign (Li et
al., Light-Head R-CNN, 2017; position-sensitive maps: Dai et al., R-FCN, 2016, section 2) has one
input channel for every bin: (ph, pw) of output channel c comes from channel (c PH + ph) PW + pw.

Points up to one pixel outside the map take the value at its edge, points further out are 0.

Arrays: input (N, C, H, W); out (K, OC, PH, PW); images (K,) int64, each region's index in the
batch; regions (K, 4) float64 on the feature map: top, left, height, width; samples (K, 2) int64,
sample points per bin down and across; argmax like out, int32, the number of the largest sample in
its bin (row by row; the first of equal ones).
"""

import numpy as np
from numba import prange

from nn.kernels.jit import device, kernel

# RoIAlign's backward pass works out the place of a sample once for this many channels.
CHANNEL_BLOCK = 8


def roi_align_forward_reference(
    input, images, regions, samples, position_sensitive, use_max, out, argmax
):
    for k in range(len(out)):
        rows, columns = _weights(k, regions, samples, input.shape[2:], out.shape[2:])
        values = _bins(rows @ input[images[k]] @ columns.T, position_sensitive, out.shape[1:])
        values = values.reshape(*out.shape[1:], -1)
        if values.shape[-1] == 0:
            out[k] = 0
        elif use_max:
            argmax[k] = values.argmax(axis=-1)
            out[k] = values.max(axis=-1)
        else:
            out[k] = values.mean(axis=-1)


def roi_align_backward_reference(
    grad_output, images, regions, samples, position_sensitive, use_max, argmax, grad_input
):
    grad_input[:] = 0
    pooled = grad_output.shape[1:]
    for k in range(len(grad_output)):
        count = samples[k, 0] * samples[k, 1]
        if use_max:
            share = np.arange(count) == argmax[k, ..., None]
        else:
            share = np.full((*pooled, count), 1 / max(count, 1))
        # The transpose of every step of the forward pass, in reverse order.
        rows, columns = _weights(k, regions, samples, grad_input.shape[2:], pooled[1:])
        grad = np.zeros((grad_input.shape[1], len(rows), len(columns)))
        bins = _bins(grad, position_sensitive, pooled)
        bins[:] = (grad_output[k, ..., None] * share).reshape(bins.shape)
        grad_input[images[k]] += rows.T @ grad @ columns


def _weights(k, regions, samples, size, pooled):
    """Region k's interpolation as two matrices: sampled = rows @ plane @ columns.T"""
    matrices = []
    for d in (0, 1):
        step = regions[k, 2 + d] / pooled[d] / max(samples[k, d], 1)
        points = regions[k, d] + step * (np.arange(pooled[d] * samples[k, d]) + 0.5)[:, None]
        inside = (points >= -1) & (points <= size[d])
        distance = np.abs(np.clip(points, 0, size[d] - 1) - np.arange(size[d]))
        matrices.append(np.maximum(1 - distance, 0) * inside)
    return matrices


def _bins(sampled, position_sensitive, pooled):
    """A view (OC, PH, PW, samples down, samples across) of (C, PH samples, PW samples)."""
    channels, height, width = pooled
    down, across = sampled.shape[1] // height, sampled.shape[2] // width
    if position_sensitive:
        # Of every channel only its own bin: the diagonal of bin by channel.
        split = sampled.reshape(channels, height, width, height, down, width, across)
        return np.einsum("cijisjt->cijst", split)
    return sampled.reshape(channels, height, down, width, across).transpose(0, 1, 3, 2, 4)


@device
def _neighbours(start, step, bin, sample, samples, size):
    """Where sample point ``sample`` of ``samples`` in bin ``bin`` lies along one axis.

    Returns the index below, the index above and the share of the latter; -1 below outside the map.
    """
    point = start + step * (bin + (sample + 0.5) / samples)
    # Written so that a NaN, for which every comparison is false, counts as outside.
    if not (point >= -1.0 and point <= size):
        return -1, -1, 0.0
    point = min(max(point, 0.0), size - 1.0)
    low = int(point)
    return low, min(low + 1, size - 1), point - low


@device
def _all_neighbours(start, step, bins, samples, size):
    """``_neighbours`` of every sample of every bin along one axis: three arrays."""
    low, high = np.empty(bins * samples, np.int64), np.empty(bins * samples, np.int64)
    share = np.empty(bins * samples)
    for i in range(bins * samples):
        bin, sample = i // samples, i % samples
        low[i], high[i], share[i] = _neighbours(start, step, bin, sample, samples, size)
    return low, high, share


@kernel(twin=roi_align_forward_reference)
def roi_align_forward(input, images, regions, samples, position_sensitive, use_max, out, argmax):
    """``argmax`` is filled in if ``use_max``.

    Where the samples lie is worked out once for every row and column of a region, not for every
    sample, and a mean is divided once: PSRoIAlign takes three quarters of the time.
    """
    height, width = input.shape[2:]
    count, channels, pooled_height, pooled_width = out.shape
    for k in prange(count):
        image = images[k]
        down, across = samples[k]
        step_y, step_x = regions[k, 2] / pooled_height, regions[k, 3] / pooled_width
        upper, lower, shares_y = _all_neighbours(regions[k, 0], step_y, pooled_height, down, height)
        left, right, shares_x = _all_neighbours(regions[k, 1], step_x, pooled_width, across, width)
        for bin in range(pooled_height * pooled_width):
            ph, pw = bin // pooled_width, bin % pooled_width
            for c in range(channels):
                out[k, c, ph, pw] = 0
                if use_max:
                    argmax[k, c, ph, pw] = 0
            for sample in range(down * across):
                row, column = ph * down + sample // across, pw * across + sample % across
                y0, y1, share_y = upper[row], lower[row], shares_y[row]
                x0, x1, share_x = left[column], right[column], shares_x[column]
                inside = y0 >= 0 and x0 >= 0
                for c in range(channels):
                    value = 0.0
                    if inside:
                        source = c
                        if position_sensitive:
                            source = c * pooled_height * pooled_width + bin
                        plane = input[image, source]
                        above = plane[y0, x0] * (1.0 - share_x) + plane[y0, x1] * share_x
                        below = plane[y1, x0] * (1.0 - share_x) + plane[y1, x1] * share_x
                        value = above * (1.0 - share_y) + below * share_y
                    if not use_max:
                        out[k, c, ph, pw] += value
                    elif sample == 0 or value > out[k, c, ph, pw] or value != value:
                        out[k, c, ph, pw] = value
                        argmax[k, c, ph, pw] = sample
            if not use_max:
                for c in range(channels):
                    out[k, c, ph, pw] /= max(down * across, 1)


@kernel(twin=roi_align_backward_reference)
def roi_align_backward(
    grad_output, images, regions, samples, position_sensitive, use_max, argmax, grad_input
):
    """Several regions may add to one pixel, so the work is split by input channels, never by
    regions: a thread owns its channels and adds the regions in their order."""
    images_in_batch, input_channels, height, width = grad_input.shape
    count, channels, pooled_height, pooled_width = grad_output.shape
    bins = pooled_height * pooled_width
    parts = bins if position_sensitive else (channels + CHANNEL_BLOCK - 1) // CHANNEL_BLOCK
    for n in prange(images_in_batch * input_channels):
        grad_input[n // input_channels, n % input_channels] = 0
    for part in prange(parts):
        if position_sensitive:
            first_bin, last_bin, first, last = part, part + 1, 0, channels
        else:
            first_bin, last_bin, first = 0, bins, part * CHANNEL_BLOCK
            last = min(first + CHANNEL_BLOCK, channels)
        for k in range(count):
            down, across = samples[k]
            step_y, step_x = regions[k, 2] / pooled_height, regions[k, 3] / pooled_width
            for bin in range(first_bin, last_bin):
                ph, pw = bin // pooled_width, bin % pooled_width
                for sample in range(down * across):
                    y = _neighbours(regions[k, 0], step_y, ph, sample // across, down, height)
                    x = _neighbours(regions[k, 1], step_x, pw, sample % across, across, width)
                    y0, y1, share_y = y
                    x0, x1, share_x = x
                    if y0 < 0 or x0 < 0:
                        continue
                    for c in range(first, last):
                        if use_max and argmax[k, c, ph, pw] != sample:
                            continue
                        grad = grad_output[k, c, ph, pw]
                        if not use_max:
                            grad /= down * across
                        source = c * bins + bin if position_sensitive else c
                        plane = grad_input[images[k], source]
                        plane[y0, x0] += grad * (1.0 - share_y) * (1.0 - share_x)
                        plane[y0, x1] += grad * (1.0 - share_y) * share_x
                        plane[y1, x0] += grad * share_y * (1.0 - share_x)
                        plane[y1, x1] += grad * share_y * share_x
