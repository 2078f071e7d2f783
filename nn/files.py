"""A file that appears complete or not at all; checkpoints and weight files are written with it.

A process may be killed, or a disk fill up, at any byte of a write. So the bytes go to a temporary
file beside the target, are forced to the disk, and only then take the target's name in one step:
whoever opens the target finds the old content or the new one, never a mixture.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MOST_JSON = 2**22  # bytes


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open ``path`` for writing bytes; it takes effect when the ``with`` block ends well.

    If the block raises, the old file stays and the temporary one is removed. Each writer has a
    temporary file of its own, under a name that nobody can foresee and that must be new: of two
    writers the last one wins whole, and a link that was put there is not followed.

    Raises:
        OSError: naming the file, when it cannot be written (full disk, no permission).
    """
    path = Path(path)
    temporary = path.with_name(f"{_prefix(path)}.{secrets.token_hex(8)}.partial")
    try:
        file = open(temporary, "xb")
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _flush_directory(path.parent)
    except OSError as error:
        if error.filename in (None, str(temporary), temporary):
            error.filename = str(path)  # the name the user knows
        raise


def write_json(path: str | os.PathLike, value: object) -> None:
    """Write ``value`` as indented JSON, complete or not at all."""
    with atomic_file(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


def read_json(path: str | os.PathLike) -> object:
    """What ``write_json`` wrote.

    Raises:
        ValueError: it is something else, nested too deeply, or larger than anything of ours.
        OSError: there is no such file, or it cannot be read.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("it is no file")  # a pipe would be waited for for ever
    with open(path, "rb") as file:
        text = file.read(MOST_JSON + 1)
    if len(text) > MOST_JSON:
        raise ValueError(f"it is longer than {MOST_JSON:,} bytes")
    try:
        return json.loads(text.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def remove_leftovers(path: str | os.PathLike) -> None:
    """Remove what killed writers of ``path`` have left, for who knows that nobody writes it now."""
    path = Path(path)
    prefix = glob.escape(_prefix(path))
    for pattern in (f"{prefix}.partial", f"{prefix}.{16 * '[0-9a-f]'}.partial"):
        for leftover in path.parent.glob(pattern):
            with contextlib.suppress(OSError):
                leftover.unlink()


def ordinary(path: str, flags: int) -> int:
    """An ``opener`` for ``open`` that refuses links, and pipes instead of waiting for them.

    Raises:
        OSError: ``path`` is one.
    """
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    refusal = OSError(errno.ELOOP, "a link or a pipe, which leads elsewhere: remove it", str(path))
    if not hasattr(os, "O_NOFOLLOW") and os.path.islink(path):
        raise refusal
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe that nobody reads
            raise refusal from None
        raise
    if stat.S_ISFIFO(os.fstat(handle).st_mode):
        os.close(handle)
        raise refusal
    return handle


def _prefix(path: Path) -> str:
    return f".{path.name[:40]}"  # a name may be as long as the system allows, this one is longer


def _flush_directory(directory: Path) -> None:
    """Force the new name to the disk too: it lives in the directory, not in the file."""
    if os.name == "nt":
        return  # Windows cannot open a directory as a file
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
