"""Moving whole planes: splitting channels, joining them by turns, and both backward.

    target[n, c] = source[n, c]

Arrays (N, C, P) in which the P numbers of a plane lie side by side, the planes anywhere: both may
be views of every second channel, or of half of them.
"""

from __future__ import annotations

from numba import prange

from nn.kernels.machine.copy_rows import copy_rows
from nn.kernels.machine.jit import kernel


def copy_planes_reference(source, target):
    target[:] = source


@kernel(twin=copy_planes_reference)
def copy_planes(source, target):
    N, C, P = source.shape
    item = source.itemsize
    for plane in prange(N * C):
        n, c = plane // C, plane % C
        at = (n * source.strides[0] + c * source.strides[1]) // item
        target_at = (n * target.strides[0] + c * target.strides[1]) // item
        copy_rows(source, at, 0, 0, P, target, target_at, 0, P, 1)
