"""Batch normalisation: every channel to mean 0 and variance 1, then scaled and shifted.

Between a convolution and its activation. Ioffe and Szegedy, Batch Normalization, 2015: algorithm 1,
and for the gradient section 3. Over the M = N P values of channel c:

    mean = 1/M sum x,   variance = 1/M sum (x - mean)^2,   xhat = (x - mean) / sqrt(variance + eps)
    out  = weight xhat + bias

Arrays: input, out and the gradients (N, C, P) with P = H W; weight, bias, mean, variance and
everything else of one number a channel (C,) float64, so that no sum loses digits.
"""

import numpy as np
from numba import prange

from nn.kernels.jit import device, kernel

# A loop that adds into one number cannot use vector instructions, because they would change the
# order of the sum. So value i of a plane goes to partial sum i mod LANES: a fixed order, and eight
# times faster. The partial sums are added up at the end.
LANES = 64


def batch_norm_forward_reference(input, weight, bias, eps, mean, variance, out):
    mean[:] = input.mean(axis=(0, 2), dtype=np.float64)
    centred = input - mean[:, None]
    variance[:] = np.mean(centred * centred, axis=(0, 2))
    out[:] = centred * (weight / np.sqrt(variance + eps))[:, None] + bias[:, None]


def batch_norm_apply_reference(input, mean, scale, bias, out):
    out[:] = (input - mean[:, None]) * scale[:, None] + bias[:, None]


def batch_norm_backward_reference(
    grad_output, input, mean, inverse_std, weight, training, grad_input, grad_weight, grad_bias
):
    xhat = (input - mean[:, None]) * inverse_std[:, None]
    grad_bias[:] = grad_output.sum(axis=(0, 2), dtype=np.float64)
    grad_weight[:] = (grad_output * xhat).sum(axis=(0, 2))
    grad = grad_output.astype(np.float64)
    if training:
        count = input.shape[0] * input.shape[2]
        grad -= (grad_bias[:, None] + xhat * grad_weight[:, None]) / count
    grad_input[:] = grad * (weight * inverse_std)[:, None]


@device
def _add_values(plane, lanes):
    whole = plane.size // LANES * LANES
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            lanes[lane] += plane[start + lane]
    for lane in range(plane.size - whole):
        lanes[lane] += plane[whole + lane]


@device
def _add_products(left, left_mean, right, right_mean, lanes):
    whole = left.size // LANES * LANES
    for start in range(0, whole, LANES):
        for lane in range(LANES):
            i = start + lane
            lanes[lane] += (left[i] - left_mean) * (right[i] - right_mean)
    for i in range(whole, left.size):
        lanes[i - whole] += (left[i] - left_mean) * (right[i] - right_mean)


@device
def _total(lanes):
    """The sum of the partial sums, which are set back to zero."""
    total = 0.0
    for lane in range(LANES):
        total += lanes[lane]
        lanes[lane] = 0.0
    return total


@device
def _scale_and_shift(plane, mean, scale, bias, out):
    # In the arrays' own precision: twice as many float32 as float64 fit into a vector.
    number = plane.dtype.type
    mean, scale, bias = number(mean), number(scale), number(bias)
    for i in range(plane.size):
        out[i] = (plane[i] - mean) * scale + bias


@device
def _subtract_projection(grad, plane, mean, slope, offset, scale, out):
    number = plane.dtype.type
    mean, slope, offset, scale = number(mean), number(slope), number(offset), number(scale)
    for i in range(plane.size):
        out[i] = (grad[i] - offset - (plane[i] - mean) * slope) * scale


@kernel(twin=batch_norm_forward_reference)
def batch_norm_forward(input, weight, bias, eps, mean, variance, out):
    """Training mode: fills ``out`` and the batch's own ``mean`` and ``variance`` (biased).

    One channel at a time, so that the second and third pass find its planes in the cache.
    """
    images, channels, size = input.shape
    for c in prange(channels):
        lanes = np.zeros(LANES)
        for n in range(images):
            _add_values(input[n, c], lanes)
        centre = _total(lanes) / (images * size)
        for n in range(images):
            _add_products(input[n, c], centre, input[n, c], centre, lanes)
        spread = _total(lanes) / (images * size)
        scale = weight[c] / np.sqrt(spread + eps)
        for n in range(images):
            _scale_and_shift(input[n, c], centre, scale, bias[c], out[n, c])
        mean[c] = centre
        variance[c] = spread


@kernel(twin=batch_norm_apply_reference)
def batch_norm_apply(input, mean, scale, bias, out):
    """Evaluation mode: (x - mean) scale + bias with numbers that do not depend on the batch."""
    images, channels = input.shape[:2]
    for plane in prange(images * channels):
        n, c = plane // channels, plane % channels
        _scale_and_shift(input[n, c], mean[c], scale[c], bias[c], out[n, c])


@kernel(twin=batch_norm_backward_reference)
def batch_norm_backward(
    grad_output, input, mean, inverse_std, weight, training, grad_input, grad_weight, grad_bias
):
    """Fills all three gradients. In training, mean and variance depend on the input as well::

        grad_input = weight inverse_std (g - mean(g) - xhat mean(g xhat))

    and in evaluation they do not, so the two means drop out.
    """
    images, channels, size = input.shape
    for c in prange(channels):
        lanes = np.zeros(LANES)
        for n in range(images):
            _add_values(grad_output[n, c], lanes)
        grad_bias[c] = _total(lanes)
        for n in range(images):
            _add_products(grad_output[n, c], 0.0, input[n, c], mean[c], lanes)
        grad_weight[c] = _total(lanes) * inverse_std[c]

        scale = weight[c] * inverse_std[c]
        offset = slope = 0.0
        if training:
            offset = grad_bias[c] / (images * size)
            slope = grad_weight[c] * inverse_std[c] / (images * size)
        for n in range(images):
            _subtract_projection(
                grad_output[n, c], input[n, c], mean[c], slope, offset, scale, grad_input[n, c]
            )
