"""How many threads are worth using while other programs want the processors too.

Threads that share a kernel wait for each other at its end, spinning. If one of them has lost its
processor to another program, the others spin until it gets it back: on two processors, beside two
endless loops, a step of training with two threads took 86 to 2,373 ms, with one 46 to 56 (alone on
the machine, 22 and 32). No number of threads is right for both, but it may change from one kernel
to the next, since no result depends on it.

So the pool looks at itself. Linux counts for every thread how long it was ready to run and had no
processor. As soon as ``MUCH`` of that comes together in a ``WINDOW``, the machine is crowded and a
quarter of the threads, at least one, are given up; after some windows without, one is taken back.
Each time that was a mistake, it waits twice as long before the next try.

Only the threads that run kernels are asked, and what this program's other threads (those that
decode pictures) worked in the meantime is taken off: that is not for others to be blamed for. With
both counted, training on a quiet machine kept to one of two processors nine tenths of the time.

Other systems do not tell, and there all threads are used always.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from dataclasses import dataclass

# Nanoseconds. On a quiet machine 0.5 to 3 ms of waiting come together in a window, beside an
# endless loop 75 to 150 ms. Two threads, 1.6 times as fast as one, may lose a third of the time.
WINDOW = 100_000_000  # of work for each thread
MUCH = 40_000_000  # of waiting, all threads together
MOST_PATIENCE = 16  # windows, which is 1.6 seconds of work
PAUSE = 0.004  # seconds between two looks for each thread: a look takes 0.01 ms a thread


@dataclass(frozen=True)
class Share:
    """How many threads to use, and what is remembered of earlier windows.

    ``calm`` windows have passed since the last change; after ``patience`` of them, one more thread
    is tried.
    """

    threads: int
    patience: int = 1
    calm: int = 0

    def after(self, crowded: bool, most: int) -> Share:
        """The share after one more window, of ``most`` threads."""
        threads = min(self.threads, most)
        if crowded and threads > 1:
            return Share(threads - max(1, threads // 4), min(2 * self.patience, MOST_PATIENCE))
        if crowded:
            return Share(1, self.patience)
        if self.calm + 1 < self.patience:
            return Share(threads, self.patience, self.calm + 1)
        if threads < most:
            return Share(threads + 1, self.patience)
        return Share(most, max(1, self.patience // 2))


class Crowding:
    """Keeps a ``Share`` up to date, for this process.

    Attributes:
        most: threads that may be used.
    """

    def __init__(self, most: int):
        self.share = Share(most)
        self._callers: set[str] = set()  # Python's threads that have run kernels
        self.allow(most)

    def allow(self, most: int) -> None:
        """Change ``most``; what is known about the machine stays."""
        self.most = most
        self._begun = times() if most > 1 else {}
        self._next_look = 0.0 if self._begun else math.inf

    def threads(self) -> int:
        """How many to use for the next kernel."""
        if time.perf_counter() >= self._next_look:
            self._look()
        return min(self.share.threads, self.most)

    def _look(self) -> None:
        now, beside = times(), threads_of_python()
        self._callers.add(str(threading.get_native_id()))
        beside -= self._callers
        work = wait = 0
        for thread, (worked, waited) in now.items():
            worked_before, waited_before = self._begun.get(thread, (0, 0))
            if thread in beside:
                wait -= worked - worked_before
            else:
                work += worked - worked_before
                wait += waited - waited_before
        if wait >= MUCH or work >= WINDOW * self.share.threads:
            self.share = self.share.after(wait >= MUCH, self.most)
            self._begun = now
        self._next_look = time.perf_counter() + PAUSE * len(now)


def threads_of_python() -> set[str]:
    """By the names that ``times`` knows them by: not the pool's."""
    return {str(thread.native_id) for thread in threading.enumerate()}


def times() -> dict[str, tuple[int, int]]:
    """Of every thread of this process, nanoseconds of work and of waiting for a processor.

    Empty where the system does not say.
    """
    found = {}
    with contextlib.suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):  # it has just ended
                with open(f"/proc/self/task/{thread}/schedstat", "rb") as file:
                    work, wait, _ = file.read().split()
                found[thread] = int(work), int(wait)
    return found
