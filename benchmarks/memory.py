"""How much memory this process holds, and has ever held."""

from __future__ import annotations

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def high_water_mark() -> int:
    """Bytes of main memory at the highest; 0 where the system does not say.

    On Linux from /proc: ``resource`` would count the process that started this one, too, whose
    memory the new process shares for a moment.
    """
    if STATUS.exists():
        return _status("VmHWM")
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident() -> int:
    """Bytes of main memory now; the high-water mark where the system does not say."""
    return _status("VmRSS") if STATUS.exists() else high_water_mark()


def _status(name: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
