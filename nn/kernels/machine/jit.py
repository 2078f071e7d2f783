"""How every kernel is compiled, and the switch between a kernel and its NumPy twin.

The only place that names Numba's compiler flags. A kernel file holds, in this order, the formula,
the twin (plain NumPy, reads like the formula) and the kernel::

    def scale_reference(input, factor, out):
        out[:] = input * factor

    @kernel(twin=scale_reference)
    def scale(input, factor, out):
        for i in prange(input.size):
            out[i] = input[i] * factor

Calling ``scale`` runs the compiled loop, or the twin inside ``with twins():`` and whenever the
environment says ``NUMBA_DISABLE_JIT=1``. The twin is named after its kernel, with ``_reference``
behind it, and needs no docstring where the kernel's says all.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator

import numba
from numba.extending import register_jitable

from nn.kernels.machine.cache import compile_cached
from nn.kernels.machine.pool import run

# No fastmath: results keep IEEE semantics (NaN and infinity travel, no re-association), which is
# what lets the same seed give the same bits. nogil: image decoding goes on in other threads.
FLAGS = {"nogil": True, "fastmath": False, "error_model": "numpy"}


class _State(threading.local):
    twins = bool(numba.config.DISABLE_JIT)


_state = _State()


def kernel(twin: Callable, parallel: bool = True) -> Callable:
    """Decorator: compile a loop on first use for each combination of argument types.

    ``twin`` is the NumPy function with the same signature; it stays reachable as ``.twin``.
    """

    def decorate(function: Callable) -> Callable:
        compiled = compile_cached(function, parallel=parallel, **FLAGS)

        @functools.wraps(function)
        def call(*arguments):
            return twin(*arguments) if _state.twins else run(compiled, arguments)

        call.twin = twin
        call.compiled = compiled
        return call

    return decorate


def device(function: Callable) -> Callable:
    """Decorator: a helper that kernels call, those of the same file or of one that imports it."""
    return compile_cached(function, **FLAGS)


def inlined(function: Callable) -> Callable:
    """Decorator: a ``device`` whose body takes the place of every call.

    For innermost loops: an array that is passed to a function is counted as in use and released
    again, atomically, which for a few arrays takes longer than the work.
    """
    return compile_cached(function, inline="always", **FLAGS)


def shared(function: Callable) -> Callable:
    """Decorator: a helper that kernels call compiled and Python calls as it stands."""
    return register_jitable(**FLAGS)(function)


@contextlib.contextmanager
def twins() -> Iterator[None]:
    """Run the NumPy twins instead of the compiled kernels inside this ``with`` block.

    In the thread that enters it, like ``no_grad``.
    """
    before = _state.twins
    _state.twins = True
    try:
        yield
    finally:
        _state.twins = before
