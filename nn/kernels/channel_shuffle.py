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
    N, C, P = input.shape
    table = input.reshape(N, groups, C // groups, P)
    out[:] = table.swapaxes(1, 2).reshape(input.shape)


@kernel(twin=channel_shuffle_reference)
def channel_shuffle(input, groups, out):
    N, C, P = input.shape
    columns = C // groups
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        source = c % groups * columns + c // groups
        for i in range(P):
            out[n, c, i] = input[n, source, i]
