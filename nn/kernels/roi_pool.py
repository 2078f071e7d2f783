"""Region pooling on whole pixels: RoIPool and PSRoIPool.

What region pooling was before interpolation (``roi_align``): a bin is a rectangle of whole pixels,
and its number their maximum (RoIPool: Girshick, Fast R-CNN, 2015, section 2.1) or their mean
(PSRoIPool: Dai et al., R-FCN, 2016, equation 1). As in ``roi_align`` the position-sensitive kind
takes bin (ph, pw) of output channel c from input channel (c PH + ph) PW + pw.

    out[k, c, ph, pw] = max or mean of input[images[k], channel, rows[k, ph], columns[k, pw]]

Arrays: input (N, C, H, W); out (K, OC, PH, PW); images (K,) int64, each region's index in the
batch; rows (K, PH, 2) and columns (K, PW, 2) int64, each bin's first pixel and the one after its
last, clipped to the map; argmax like out, int32, row W + column of the maximum (the first of equal
ones). An empty bin gives 0 and its argmax is -1.
"""

import numpy as np
from numba import prange

from nn.kernels.machine.jit import kernel


def roi_pool_forward_reference(
    input, images, rows, columns, position_sensitive, use_max, out, argmax
):
    for k, c, ph, pw in np.ndindex(out.shape):
        source = (c * out.shape[2] + ph) * out.shape[3] + pw if position_sensitive else c
        across = slice(*columns[k, pw])
        pixels = input[images[k], source, slice(*rows[k, ph]), across]
        if use_max:
            argmax[k, c, ph, pw] = -1
        if pixels.size == 0:
            out[k, c, ph, pw] = 0
        elif use_max:
            out[k, c, ph, pw] = pixels.max()
            row, column = np.unravel_index(pixels.argmax(), pixels.shape)
            place = (rows[k, ph, 0] + row) * input.shape[3] + across.start + column
            argmax[k, c, ph, pw] = place
        else:
            out[k, c, ph, pw] = pixels.mean(dtype=np.float64)


def roi_pool_backward_reference(
    grad_output, images, rows, columns, position_sensitive, use_max, argmax, grad_input
):
    grad_input[:] = 0
    for k, c, ph, pw in np.ndindex(grad_output.shape):
        source = c
        if position_sensitive:
            source = (c * grad_output.shape[2] + ph) * grad_output.shape[3] + pw
        plane = grad_input[images[k], source]
        if use_max:
            if argmax[k, c, ph, pw] >= 0:
                plane.reshape(-1)[argmax[k, c, ph, pw]] += grad_output[k, c, ph, pw]
        else:
            pixels = plane[slice(*rows[k, ph]), slice(*columns[k, pw])]
            pixels += grad_output[k, c, ph, pw] / max(pixels.size, 1)


@kernel(twin=roi_pool_forward_reference)
def roi_pool_forward(input, images, rows, columns, position_sensitive, use_max, out, argmax):
    """``argmax`` is filled in if ``use_max``."""
    W = input.shape[3]
    K, C, PH, PW = out.shape
    for k in prange(K):
        for c in range(C):
            for bin in range(PH * PW):
                ph, pw = bin // PW, bin % PW
                source = c * PH * PW + bin if position_sensitive else c
                top, bottom = rows[k, ph]
                left, right = columns[k, pw]
                total, largest, place = 0.0, -np.inf, -1
                for y in range(top, bottom):
                    for x in range(left, right):
                        value = input[images[k], source, y, x]
                        total += value
                        if value > largest or value != value:
                            largest, place = value, y * W + x
                if use_max:
                    argmax[k, c, ph, pw] = place
                area = max(bottom - top, 0) * max(right - left, 0)
                if area == 0:
                    out[k, c, ph, pw] = 0
                elif use_max:
                    out[k, c, ph, pw] = largest
                else:
                    out[k, c, ph, pw] = total / area


@kernel(twin=roi_pool_backward_reference)
def roi_pool_backward(
    grad_output, images, rows, columns, position_sensitive, use_max, argmax, grad_input
):
    """Regions share pixels, so the work is split by output channels, whose input channels are their
    own: a thread adds the regions in their order."""
    W = grad_input.shape[3]
    K, C, PH, PW = grad_output.shape
    bins = PH * PW
    own = bins if position_sensitive else 1
    for c in prange(C):
        grad_input[:, c * own : (c + 1) * own] = 0
        for k in range(K):
            for bin in range(bins):
                ph, pw = bin // PW, bin % PW
                plane = grad_input[images[k], c * own + (bin if position_sensitive else 0)]
                grad = grad_output[k, c, ph, pw]
                if use_max:
                    place = argmax[k, c, ph, pw]
                    if place >= 0:
                        plane[place // W, place % W] += grad
                    continue
                top, bottom = rows[k, ph]
                left, right = columns[k, pw]
                for y in range(top, bottom):
                    for x in range(left, right):
                        plane[y, x] += grad / ((bottom - top) * (right - left))
