"""A file that appears complete or not at all; checkpoints and weight files are written with it.

A process may be killed, or a disk fill up, at any byte of a write. So the bytes go to a temporary
file beside the target, are forced to the disk, and only then take the target's name in one step:
whoever opens the target finds the old content or the new one, never a mixture.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Open ``path`` for writing bytes; it takes effect when the ``with`` block ends well.

    If the block raises, the old file stays and the temporary one is removed. The temporary name is
    always the same (``.NAME.partial``), so that what a killed process left is reused by the next
    write. One writer per path at a time.

    Raises:
        OSError: naming the file, when it cannot be written (full disk, no permission).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_directory(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, str(temporary), temporary):
            error.filename = str(path)  # the name the user knows
        raise


def write_json(path: str | os.PathLike, value: object) -> None:
    """Write ``value`` as indented JSON, complete or not at all."""
    with atomic_file(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


def _flush_directory(directory: Path) -> None:
    """Force the new name to the disk too: it lives in the directory, not in the file."""
    if os.name == "nt":
        return  # Windows cannot open a directory as a file
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
