"""One process at a time in a folder of results, and no link that leads its files elsewhere."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from detector.errors import UserError

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


def ordinary(path: str, flags: int) -> int:
    """An ``opener`` for ``open`` that refuses links, and pipes instead of waiting for them.

    Raises:
        UserError: ``path`` is one.
    """
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if not hasattr(os, "O_NOFOLLOW") and os.path.islink(path):
        raise UserError(_refusal(path))
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe that nobody reads
            raise UserError(_refusal(path)) from None
        raise
    if stat.S_ISFIFO(os.fstat(handle).st_mode):
        os.close(handle)
        raise UserError(_refusal(path))
    return handle


def _refusal(path: str) -> str:
    return f"{path} is a link or a pipe, and would lead elsewhere what belongs there: remove it"


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
