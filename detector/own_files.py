"""What a command may replace: what this program wrote, and nothing else.

A name proves nothing: the folder that is named for results may hold the only copy of somebody's
photographs. So whatever is written into a folder of the user's is recognised by how it begins: a
PNG by a note that only ours have, a page and a table by their first words, detections by COCO's
results as only ``write_json`` sets them.
Links, pipes and folders are never our own. (The folder of a run begins empty, and is ours whole.)
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from detector.errors import UserError
from nn.files import atomic_file

SOFTWARE = "lighthead"
# The chunk that PNG has for the name of a program, behind the signature and the header: length,
# type, keyword and text, checksum (PNG specification, sections 5.3 and 11.3.4.3).
NOTE = b"tEXtSoftware\0" + SOFTWARE.encode()
NOTE = (len(NOTE) - 4).to_bytes(4, "big") + NOTE + zlib.crc32(NOTE).to_bytes(4, "big")
NOTE_AT = 33
PAGE = f"<!doctype html><!-- {SOFTWARE} -->"
TABLE = f"picture ({SOFTWARE}),"
NETWORKS = f"network ({SOFTWARE}),"
RESULTS = re.compile(
    rb'\[\n  \{\n    "image_id": \d+,\n    "category_id": \d+,\n    "bbox": \[\n|\[\]\n\Z'
)


def is_own_picture(path: str | os.PathLike) -> bool:
    """Whether ``write_picture`` wrote what lies there."""
    start = _start(path)
    return start.startswith(b"\x89PNG") and start[NOTE_AT:].startswith(NOTE)


def is_own_table(path: str | os.PathLike) -> bool:
    """Whether it is a table of ours."""
    beginnings = tuple(text.encode("utf-8-sig") for text in (TABLE, NETWORKS))
    return _start(path).startswith(beginnings)


def is_own_page(path: str | os.PathLike) -> bool:
    """Whether it is a page of ours."""
    return _start(path).startswith(PAGE.encode())


def is_own_results(path: str | os.PathLike) -> bool:
    """Whether ``write_detections`` wrote what lies there."""
    return RESULTS.match(_start(path)) is not None


def holds(path: str | os.PathLike, content: bytes) -> bool:
    """Whether this is the content of an ordinary file: nothing is lost if it is written again."""
    return _start(path) != b"" and Path(path).read_bytes() == content


def is_free(path: str | os.PathLike, is_own: Callable[[str | os.PathLike], bool]) -> bool:
    """Whether nothing lies at ``path``, or what is our own."""
    return not os.path.lexists(path) or is_own(path)


def check_free(path: str | os.PathLike, is_own: Callable[[str | os.PathLike], bool]) -> None:
    """UserError if something lies at ``path`` that is not our own."""
    if not is_free(path, is_own):
        raise UserError(
            f"{path} is there already and no result of an earlier run: move it away, or choose "
            "another place"
        )


def check_results_file(
    path: str | os.PathLike,
    option: str,
    is_own: Callable[[str | os.PathLike], bool] = is_own_results,
) -> None:
    """UserError if results cannot be written to ``path``, as ``option`` wants.

    Made for the time before the work that ends with writing it.
    """
    check_free(path, is_own)
    folder = Path(path).parent
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} for {option} {path}: make it first")
    _check_writable(folder, option)


def make_folder(path: str | os.PathLike, option: str = "--out") -> None:
    """Make the folder that ``option`` names, unless it is there.

    Raises:
        UserError: it is a file, or cannot be written.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write to {path} ({error.strerror}): choose another {option}"
        ) from error
    _check_writable(path, option)


def write_picture(path: str | os.PathLike, picture: np.ndarray, **options) -> None:
    """Save (H, W, 3) uint8 RGB as a PNG that we recognise as ours, complete or not at all.

    Args:
        options: more for Pillow.

    Raises:
        UserError: something lies there that is not our own.
    """
    check_free(path, is_own_picture)
    note = PngInfo()
    note.add_text("Software", SOFTWARE)
    with atomic_file(path) as file:
        Image.fromarray(picture).save(file, "png", pnginfo=note, **options)


def _start(path: str | os.PathLike) -> bytes:
    """The first bytes of an ordinary file, b"" of anything else."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            return file.read(256)
    except OSError:
        return b""


def _check_writable(folder: str | os.PathLike, option: str) -> None:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror}): choose another {option}"
        ) from error
