"""ReLU and ReLU6: negative values become 0, and in ReLU6 those above 6 become 6.

After every batch normalisation. One pair of kernels serves both; ReLU has the ceiling infinity.

    out = min(max(x, 0), ceiling)        d out / d x = 1 where 0 < x < ceiling, else 0

The derivative can be read off the output alone, so the input need not be kept for backward.

Arrays: all of one shape, flattened to (size,).
"""

import numpy as np
from numba import prange

from nn.kernels.machine.jit import kernel


def relu_forward_reference(input, ceiling, out):
    np.clip(input, 0, ceiling, out=out)


def relu_backward_reference(grad_output, output, ceiling, grad_input):
    grad_input[:] = np.where((output <= 0) | (output >= ceiling), 0, grad_output)


@kernel(twin=relu_forward_reference)
def relu_forward(input, ceiling, out):
    # In the arrays' own precision: a float64 among float32 keeps half of the vector empty.
    ceiling = input.dtype.type(ceiling)
    for i in prange(input.size):
        value = input[i]
        # Written so that a NaN, for which every comparison is false, passes through.
        if value < 0:
            value = 0
        elif value > ceiling:
            value = ceiling
        out[i] = value


@kernel(twin=relu_backward_reference)
def relu_backward(grad_output, output, ceiling, grad_input):
    ceiling = output.dtype.type(ceiling)
    for i in prange(output.size):
        stopped = output[i] <= 0 or output[i] >= ceiling
        grad_input[i] = 0 if stopped else grad_output[i]
