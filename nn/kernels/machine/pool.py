"""The threads that kernels share: they serve one caller at a time, and they do not outlive a fork.

Numba's threads tolerate no second caller. One of its three layers ends the process when two
threads start a parallel kernel at once, the other two give each caller threads of its own, which
wait for each other's processors. So whoever runs kernels holds ``one_at_a_time``: each kernel takes
it by itself, and what works in memory of its own (a compiled network, a compiled detector) keeps it
until it has read its result. That takes half a microsecond a kernel. There is one such lock and no
other, so no two can wait for each other.

A fork copies a process without its threads. It waits for the lock, so that no kernel is half
done in the copy, and there kernels run on one thread: GNU OpenMP would wait for ever for the ones
that are missing, and Numba ends the process (``Terminating: fork() called ...``) before it comes to
that.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable

import numba

from nn.kernels.machine.crowding import Crowding

one_at_a_time = threading.RLock()

_most = numba.config.NUMBA_NUM_THREADS  # a process may have
_crowding = Crowding(_most)


class _Told(threading.local):
    count = 0  # Numba keeps the number for each calling thread


_told = _Told()


def set_num_threads(count: int) -> None:
    """Let the kernels use up to ``count`` threads from now on (1 up to the number of cores).

    The results do not depend on it: every kernel splits its work in a fixed way.
    """
    if not 1 <= count <= _most:
        raise ValueError(f"{count} threads asked for, this process has 1 to {_most}")
    _crowding.allow(count)


def get_num_threads() -> int:
    """The most threads that the kernels use; beside other programs they use fewer."""
    return _crowding.most


def run(kernel: Callable, arguments: tuple):
    """Call a compiled kernel when it is its turn, with as many threads as it may use."""
    with one_at_a_time:
        count = _crowding.threads()
        if _told.count != count:
            numba.set_num_threads(count)
            _told.count = count
        return kernel(*arguments)


def _after_fork() -> None:
    global _most
    one_at_a_time.release()
    try:
        layer = numba.threading_layer()
    except ValueError:  # no kernel has run yet: no thread is missing
        return
    _most = 1
    _crowding.allow(1)
    if layer == "omp":
        from numba.np.ufunc import omppool

        # Starting over, with one thread, is how Numba's layer learns that it is in another process.
        ctypes.CFUNCTYPE(None, ctypes.c_int)(omppool.launch_threads)(1)
    numba.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=one_at_a_time.acquire,
        after_in_parent=one_at_a_time.release,
        after_in_child=_after_fork,
    )
