"""Weights are read from files: a pipe that nobody writes to would be waited for for ever."""

from __future__ import annotations

import os
import stat

from nn.weights.errors import WeightsError


def only_files(path: str, flags: int) -> int:
    """An ``opener`` for ``open`` that does not wait, and refuses pipes and devices.

    Raises:
        WeightsError: ``path`` is one.
    """
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(handle).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # of folders ``open`` itself complains
        os.close(handle)
        raise WeightsError(path, "not a file but a pipe or a device")
    return handle
