"""One thread for what a chapter computes: its times mean the same when the machine is busy.

NumPy's matrix products and Numba's loops each keep threads of their own, which wait for each other
when there are more of them than free processors: chapter 13 has a section on it.
"""

from __future__ import annotations

import os
import sys

BLAS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def one_thread() -> None:
    """Make NumPy, the chapter's own Numba loops and ``nn`` use one thread: call it first of all.

    Processes that the chapter starts inherit it for NumPy.

    Raises:
        RuntimeError: NumPy is imported already and was not told; it looks only once.
    """
    if "numpy" in sys.modules and any(os.environ.get(name) != "1" for name in BLAS):
        raise RuntimeError("NumPy is imported already: restart the kernel and run this cell first")
    os.environ.update(dict.fromkeys(BLAS, "1"))
    use_threads(1)


def use_threads(count: int) -> None:
    """Let ``nn`` and the chapter's own ``prange`` use ``count`` threads; NumPy keeps its one."""
    import numba

    import nn

    nn.set_num_threads(count)
    numba.set_num_threads(count)


def most_threads() -> int:
    """How many ``use_threads`` may be given in this process."""
    import numba

    return numba.config.NUMBA_NUM_THREADS
