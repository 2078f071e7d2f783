"""Threads and processors: what the system's scheduler does to a measurement, on Linux.

On a busy machine two threads of one pool may be put on the same processor, where one spins while
the other waits for its turn: a call then takes milliseconds longer, every time.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

TASKS = Path("/proc/self/task")


def spread_threads() -> None:
    """Move this process's other threads off the main thread's processor; they may move again."""
    if not (TASKS.exists() and hasattr(os, "sched_setaffinity")):
        return
    allowed = os.sched_getaffinity(0)
    first = {min(allowed)}
    threads = [int(task.name) for task in TASKS.iterdir()]
    for thread in threads:
        own = first if thread == os.getpid() else allowed - first
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(thread, own or allowed)
            os.sched_setaffinity(thread, allowed)


def seconds_waited() -> float:
    """How long this process's threads have been ready to run without a processor, together."""
    total = 0
    for task in TASKS.iterdir() if TASKS.exists() else ():
        with contextlib.suppress(OSError):  # it has ended
            # Nanoseconds run, nanoseconds waited, number of times.
            total += int((task / "schedstat").read_text().split()[1])
    return total / 1e9
