"""What a command may replace: what this program wrote, and nothing else.

A name proves nothing: the folder that is named for results may hold the only copy of somebody's
photographs. So whatever is written into a folder of the user's is recognised by how it begins: a
picture by a note that only ours have, a page and a table by their first words, detections by COCO's
results as only ``write_json`` sets them; a video by how it ends.
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
# JPEG's comment, which Pillow writes behind the signature and the JFIF header (ISO/IEC 10918-1,
# B.2.4.5): marker, length, text.
COMMENT = b"\xff\xfe" + (len(SOFTWARE) + 2).to_bytes(2, "big") + SOFTWARE.encode()
COMMENT_AT = 20
# Nobody sees the difference: fine steps, and colours as sharp as brightness, for thin lines.
JPEG = {"quality": 95, "subsampling": 0, "comment": SOFTWARE.encode()}
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
LONGEST_JPEG_SIDE = 65_500  # pixels, libjpeg's
# A box of free space, which players pass over (ISO/IEC 14496-12, 8.1.2), at the end of an MP4.
VIDEO_NOTE = (len(SOFTWARE) + 8).to_bytes(4, "big") + b"free" + SOFTWARE.encode()
PAGE = f"<!doctype html><!-- {SOFTWARE} -->"
TABLE = f"picture ({SOFTWARE}),"
# A graph begins with ONNX's version of its format, 8, and with who made it (onnx.proto: fields 1
# and 2, in protocol buffers' encoding); weights with the length of their header and its first word.
GRAPH = b"\x08\x08\x12\x09" + SOFTWARE.encode()
CODE = f"Written by {SOFTWARE} export"
WEIGHTS = f"{SOFTWARE}-weights-1"
NETWORKS = f"network ({SOFTWARE}),"
GRADES = f"hand-in ({SOFTWARE}),"
EXPERIMENT = f"model ({SOFTWARE}),"
RESULTS = re.compile(
    rb'\[\n  \{\n    "image_id": \d+,\n    "category_id": \d+,\n    "bbox": \[\n|\[\]\n\Z'
)


def is_own_picture(path: str | os.PathLike) -> bool:
    """Whether ``write_picture`` wrote what lies there."""
    start = _start(path)
    if start.startswith(b"\xff\xd8"):
        return start[COMMENT_AT:].startswith(COMMENT)
    return start.startswith(b"\x89PNG") and start[NOTE_AT:].startswith(NOTE)


def is_own_video(path: str | os.PathLike) -> bool:
    """Whether it is an MP4 that was written with ``VIDEO_NOTE`` at its end."""
    if _start(path)[4:8] != b"ftyp":
        return False
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - len(VIDEO_NOTE)))
        return file.read() == VIDEO_NOTE


def is_own_table(path: str | os.PathLike) -> bool:
    """Whether it is a table of ours."""
    tables = (TABLE, NETWORKS, GRADES, EXPERIMENT)
    return _start(path).startswith(tuple(text.encode("utf-8-sig") for text in tables))


def is_own_page(path: str | os.PathLike) -> bool:
    """Whether it is a page of ours."""
    return _start(path).startswith(PAGE.encode())


def is_own_graph(path: str | os.PathLike) -> bool:
    """Whether it is an ONNX graph of ours."""
    return _start(path).startswith(GRAPH)


def is_own_code(path: str | os.PathLike) -> bool:
    """Whether it is a Python file that ``lighthead export`` wrote."""
    return _start(path).startswith(f'"""{CODE}'.encode())


def is_own_weights(path: str | os.PathLike) -> bool:
    """Whether they are weights that ``lighthead export`` wrote."""
    return _start(path)[8:].startswith(f'{{"__metadata__":{{"format":"{WEIGHTS}"'.encode())


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
    """UserError if ``path`` cannot be written, as ``option`` wants.

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


def check_new_folder(path: str | os.PathLike) -> None:
    """UserError if there is anything at ``path`` but an empty folder.

    For what people work on afterwards, and nothing in it tells from what was written.
    """
    path = Path(path)
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(
            f"{path} is there already, and what is in it may have been corrected: move it away, or "
            "choose another place"
        )


def write_picture(path: str | os.PathLike, picture: np.ndarray, **options) -> None:
    """Save (H, W, 3) uint8 RGB so that we recognise it as ours, complete or not at all.

    Args:
        path: a JPEG if it is called so (``JPEG_SUFFIXES``), else a PNG.
        options: more for Pillow.

    Raises:
        UserError: something lies there that is not our own, or the picture is too long for JPEG.
    """
    check_free(path, is_own_picture)
    note = PngInfo()
    note.add_text("Software", SOFTWARE)
    name, own = "png", {"pnginfo": note}
    if Path(path).suffix.lower() in JPEG_SUFFIXES:
        name, own = "jpeg", JPEG
        if max(picture.shape[:2]) > LONGEST_JPEG_SIDE:
            raise UserError(
                f"{path} would have more than {LONGEST_JPEG_SIDE:,} pixels on a side, which no "
                "JPEG has: rename the picture to .png"
            )
    with atomic_file(path) as file:
        Image.fromarray(picture).save(file, name, **own, **options)


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
