"""One process at a time in a folder of results, and no link that leads its files elsewhere."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from detector.errors import UserError
from nn.files import ordinary

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None


@contextlib.contextmanager
def alone_in(folder: str | os.PathLike, who: str, option: str = "--out") -> Iterator[None]:
    """Keep other processes out of ``folder``, which must be there, while the ``with`` block runs.

    The system lifts the lock when the process ends, however it ends. Where there is no such lock
    (some networks' file systems) nothing is locked.

    Args:
        who: is at work there, for the message.

    Raises:
        UserError: somebody else is in the folder.
    """
    with _handle(Path(folder)) as handle:
        if not _lock(handle):
            raise UserError(f"{who} is at work in {folder}: choose another {option}")
        yield


@contextlib.contextmanager
def _handle(folder: Path) -> Iterator[int]:
    if fcntl:
        handle = os.open(folder, os.O_RDONLY)  # the folder itself: there is no file to tamper with
        try:
            yield handle
        finally:
            os.close(handle)
        return
    path = folder / ".lock"  # Windows cannot open a folder
    with open(path, "ab", opener=ordinary) as file:
        yield file.fileno()
    with contextlib.suppress(OSError):
        path.unlink()


def _lock(handle: int) -> bool:
    """False if somebody else has it."""
    try:
        if fcntl:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True
