"""What kernels expect of arrays: one piece of memory in C order that may be written to."""

from __future__ import annotations

import math

import numpy as np

from nn.kernels.machine.copy_planes import copy_planes

MANY = 2**16  # elements, above which copying is worth waking the threads


def contiguous(array: np.ndarray) -> np.ndarray:
    """``array`` itself if it is C-contiguous and writable, else a copy that is.

    Gradients arrive here as views as well: transposed, sliced or broadcast (and then read-only,
    which for a compiled kernel would be another type and another compilation).
    """
    if array.flags.c_contiguous and array.flags.writeable:
        return array
    copy = np.empty(array.shape, array.dtype)
    assign(copy, array)
    return copy


def assign(target: np.ndarray, source: np.ndarray) -> None:
    """target[...] = source, with all threads where both consist of many whole planes."""
    if source.size >= MANY and _has_planes(source) and _has_planes(target):
        copy_planes(_planes(source), _planes(target))
    else:
        target[...] = source


def _has_planes(array: np.ndarray) -> bool:
    """Whether it is (N, C, ...) with everything behind C in one piece of memory."""
    is_float = array.dtype in (np.float32, np.float64)
    return is_float and array.ndim > 2 and array.flags.writeable and array[0, 0].flags.c_contiguous


def _planes(array: np.ndarray) -> np.ndarray:
    """(N, C, ...) -> (N, C, P), without a copy."""
    return array.reshape(*array.shape[:2], math.prod(array.shape[2:]))
