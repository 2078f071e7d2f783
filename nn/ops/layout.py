"""What kernels expect of arrays: one piece of memory in C order that may be written to."""

from __future__ import annotations

import numpy as np


def contiguous(array: np.ndarray) -> np.ndarray:
    """``array`` itself if it is C-contiguous and writable, else a copy that is.

    Gradients arrive here as views as well: transposed, sliced or broadcast (and then read-only,
    which for a compiled kernel would be another type and another compilation).
    """
    if array.flags.c_contiguous and array.flags.writeable:
        return array
    return array.copy()
