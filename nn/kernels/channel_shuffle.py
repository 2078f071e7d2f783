"""Channel shuffle: lets information cross between the groups of a grouped convolution.

The last step of every ShuffleNet block. Zhang et al., ShuffleNet (2017), figure 1: seen as a table
of ``groups`` rows, the channels are read column by column.

    out[n, j groups + g] = input[n, g (C / groups) + j]

Arrays: input and out (N, C, P) with P = H W. The inverse, and so the gradient, is the shuffle with
C / groups groups.
"""

from numba import prange

from nn.kernels.machine.jit import kernel


def channel_shuffle_reference(input, groups, out):
    images, channels, size = input.shape
    table = input.reshape(images, groups, channels // groups, size)
    out[:] = table.swapaxes(1, 2).reshape(input.shape)


@kernel(twin=channel_shuffle_reference)
def channel_shuffle(input, groups, out):
    images, channels, size = input.shape
    columns = channels // groups
    for plane in prange(images * channels):
        n, c = plane // channels, plane % channels
        source = c % groups * columns + c // groups
        for i in range(size):
            out[n, c, i] = input[n, source, i]
