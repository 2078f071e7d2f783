"""The pictures and videos that were meant by what stands on the command line."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from detector.datasets.files import files_below
from detector.datasets.images import SUFFIXES, read_image
from detector.datasets.video import Frame, count_frames, is_webcam, read_frames
from detector.errors import UserError
from detector.evaluation.validation import unused
from detector.results.result import Source
from nn.printable import printable

STDIN = "-"
JPEG_START = b"\xff\xd8\xff"
MOST_BYTES = 2**30  # of a picture from standard input


def find_sources(given: list[str], out: Path, spool: Path) -> tuple[list[Source], list[str]]:
    """All pictures and videos that were meant, and a complaint for what is not there.

    A folder means the pictures in it and below, ``-`` what comes from standard input.

    Args:
        out: results of an earlier run, which are not searched even inside a given folder.
        spool: an empty folder for what comes from standard input.
    """
    files: dict[Path, str] = {}
    complaints = []
    for name in dict.fromkeys(given):
        path = Path(name)
        if name == STDIN:
            files[read_stdin(spool)] = STDIN
        elif path.is_dir():
            try:
                files |= dict.fromkeys(pictures_below(path, out), "")
            except UserError as error:
                complaints.append(str(error))
        elif os.path.lexists(path) or is_webcam(path):
            files[path] = ""  # what is no picture is complained about when it is read
        elif matches := sorted(Path(match) for match in glob.glob(name, recursive=True)):
            files |= dict.fromkeys((match for match in matches if match.is_file()), "")
        else:
            complaints.append(f"{path} does not exist")
    taken: set[str] = set()
    sources = [
        Source(path, called or str(path), unused(stem_of(path), taken))
        for path, called in files.items()
    ]
    return sources, complaints


def pictures_below(folder: Path, out: Path) -> list[Path]:
    """The pictures in a folder; says which other files are passed over.

    Raises:
        UserError: there is none, or it is where results go.
    """
    place = real_path(out)
    if place in (real_path(folder), *real_path(folder).parents):
        raise UserError(f"{folder} is where results go: choose another --out than {out}")
    inside = [file for file in files_below(folder) if place not in real_path(file).parents]
    others = Counter(file.suffix.lower() or "no suffix" for file in inside)
    counts = [f"{n} {suffix}" for suffix, n in sorted(others.items()) if suffix not in SUFFIXES]
    if counts:
        print(printable(f"passed over in {folder}: {', '.join(counts)}"))
    pictures = [file for file in inside if file.suffix.lower() in SUFFIXES]
    if not pictures:
        raise UserError(f"there is no picture in {folder} ({', '.join(SUFFIXES)})")
    return pictures


def read_stdin(spool: Path) -> Path:
    """A file with the picture that comes from standard input, named for its kind.

    Raises:
        UserError: it is far too large for one.
    """
    stream = getattr(sys.stdin, "buffer", sys.stdin)
    content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UserError(f"standard input is larger than {MOST_BYTES >> 20} MB: give one picture")
    path = spool / "stdin"
    path.write_bytes(content)
    return path.rename(path.with_suffix(".jpg")) if content.startswith(JPEG_START) else path


def frames_of(source: Source) -> Iterator[Frame]:
    """The frames of a video, or a picture as the only one.

    Raises:
        UserError: it cannot be read, or not to its end.
    """
    try:
        if source.is_video:
            yield from read_frames(source.path)
        else:
            yield Frame(read_image(source.path), 1, 0.0)
    except UserError as error:
        if source.given != STDIN:
            raise
        raise UserError(str(error).replace(str(source.path), "standard input")) from error


def count_looks(sources: Iterable[Source]) -> int | None:
    """How many frames and pictures there are, None if nobody knows."""
    counts: list[int | None] = []
    for source in sources:
        try:
            counts.append(count_frames(source.path) if source.is_video else 1)
        except UserError:
            counts.append(0)  # complained about when it is read
    return None if None in counts else sum(counts)


def stem_of(path: Path) -> str:
    return str(path).partition(":")[0] if is_webcam(path) else path.stem


def real_path(path: Path) -> Path:
    """Where links lead. ``Path.resolve`` does not bear one that leads to itself."""
    return Path(os.path.realpath(path))
