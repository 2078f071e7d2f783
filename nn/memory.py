"""Keeping freed memory for the next step of training, instead of giving it back in between.

A step frees hundreds of megabytes and the next one asks for them again. The C library returns such
amounts to the system each time, and each page of 4 KB that comes back has to be filled with zeros:
7,000 page faults, a tenth of the time of a step. The two settings below make it keep them.

They hold for the whole process, so the loop of a training makes them when it begins, no layer and
no optimiser.
"""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h: what to set, and the largest values that make sense.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_BLOCK = 32 * 2**20  # bytes; glibc takes no more
LARGEST_REST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let freed memory stay with this process; the most it holds at once does not change.

    Returns whether the C library could be told (only glibc's can: Linux).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(
        mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK) and mallopt(M_TRIM_THRESHOLD, LARGEST_REST)
    )
