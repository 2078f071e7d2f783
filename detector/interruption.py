"""Ctrl-C during training: finish the iteration, save, and say how to go on."""

from __future__ import annotations

import signal
import threading


class Interrupted(Exception):  # noqa: N818 (it is no error)
    """Training stopped because it was asked to; everything is saved."""


class InterruptionWatch:
    """While active, the first SIGINT or SIGTERM only sets ``requested``; the second one aborts.

    Use as a context manager. Signals can only be watched from the main thread; elsewhere (a test, a
    notebook) nothing is watched and ``requested`` stays False.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict = {}

    def __enter__(self) -> InterruptionWatch:
        if threading.current_thread() is threading.main_thread():
            self._previous = {
                number: signal.signal(number, self._notice) for number in self.SIGNALS
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
