"""A line that says why nothing happens the first time: kernels are being compiled.

Numba tells its listeners when it compiles a function that it did not find in its cache on disk.
The time that takes is counted too, so that nobody takes it for the time of a step.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from numba.core import event

KEPT = "they are kept, so this happens once"
NOT_KEPT = "they cannot be kept: NUMBA_CACHE_DIR can name a folder that may be written"

_timer = event.TimingListener()
event.register("numba:compile", _timer)


def seconds_compiling() -> float:
    """How long this process has compiled kernels until now."""
    return _timer.duration if _timer.done else 0.0


class _Notice(event.Listener):
    """Writes one line to a terminal that names the kernel under way, and one line elsewhere."""

    def __init__(self, stream):
        self.stream, self.begun, self.depth = stream, False, 0

    def on_start(self, event):
        self.depth += 1
        if self.depth > 1:  # a helper of the kernel under way
            return
        # Numba's own class for "no folder can be written" is NullCache.
        is_kept = type(event.data["dispatcher"]._cache).__name__ != "NullCache"
        text = f"compiling kernels for this processor; {KEPT if is_kept else NOT_KEPT}"
        if self.stream.isatty():
            name = event.data["dispatcher"].py_func.__name__
            self.stream.write(f"\r\033[K{text} ({name})")
        elif not self.begun:
            self.stream.write(f"{text}\n")
        self.begun = True
        self.stream.flush()

    def on_end(self, event):
        self.depth -= 1
        if self.depth == 0 and self.stream.isatty():
            self.stream.write("\r\033[K")
            self.stream.flush()


@contextlib.contextmanager
def compilation_notice(stream=None) -> Iterator[None]:
    """Tell the user on ``stream`` (stderr) of every compilation inside this ``with`` block."""
    notice = _Notice(sys.stderr if stream is None else stream)
    with event.install_listener("numba:compile", notice):
        yield
