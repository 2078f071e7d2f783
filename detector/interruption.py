"""Ctrl-C during training, or the end of its terminal: finish the iteration, save, and say how to go
on."""

from __future__ import annotations

import signal
import threading


class Interrupted(Exception):  # noqa: N818 (it is no error)
    """Training stopped because it was asked to; everything is saved."""


class InterruptionWatch:
    """While active, the first SIGINT, SIGTERM or SIGHUP only sets ``requested``; the second aborts.

    What the program was started to ignore (``nohup`` does that to SIGHUP) stays ignored. Use as a
    context manager. Signals can only be watched from the main thread; elsewhere (a test, a
    notebook) nothing is watched and ``requested`` stays False.
    """

    NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict = {}

    def __enter__(self) -> InterruptionWatch:
        if threading.current_thread() is threading.main_thread():
            self._previous = {
                number: signal.signal(number, self._notice)
                for number in self.SIGNALS
                if signal.getsignal(number) is not signal.SIG_IGN
            }
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _notice(self, number: int, frame) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def check(self) -> None:
        """Raise ``Interrupted`` if a signal has arrived."""
        if self.requested:
            raise Interrupted
