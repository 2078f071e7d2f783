"""Cutting a length into parts: how many they are and where they begin."""

from __future__ import annotations

import numpy as np

from nn.kernels.machine.jit import device, shared


@shared
def ceil_div(a, b):
    """a / b rounded up: how many parts of ``b`` cover ``a``. Of whole numbers or arrays of them."""
    return -(-a // b)


@device
def multiples(step, count):
    """0, step, 2 step, ...: where equally spaced rows begin."""
    offsets = np.empty(count, np.int64)
    for i in range(count):
        offsets[i] = i * step
    return offsets
