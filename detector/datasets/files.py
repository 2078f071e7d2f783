"""Which files of a folder count: the same for every reader and every command.

Names that begin with a dot are not what the user put there: copies that a Mac leaves on foreign
disks (``._photo.jpg``), checkpoints of notebooks, lists of file managers. ``__MACOSX`` is in the
archives that a Mac packs.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection
from pathlib import Path

PASSED_OVER = ("__MACOSX",)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is passed over."""
    return name.startswith(".") or name in PASSED_OVER


def files_in(folder: Path, suffixes: Collection[str] | None = None) -> list[Path]:
    """The files in a folder with one of these suffixes (lower case, with the dot), by name; None:
    of any suffix.

    A link that leads nowhere is among them, so that whoever opens it can say so. No such folder, no
    files.
    """
    files = _entries(folder)[0]
    return [path for path in files if suffixes is None or path.suffix.lower() in suffixes]


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, and links to folders, by name."""
    return _entries(folder)[1]


def files_below(folder: Path, suffixes: Collection[str] | None = None) -> list[Path]:
    """``files_in`` at any depth; None: of any suffix.

    Links to folders are followed, each folder once.
    """
    found, seen = [], {os.path.realpath(folder)}

    def visit(place: Path) -> None:
        files, folders = _entries(place)
        found.extend(p for p in files if suffixes is None or p.suffix.lower() in suffixes)
        # Links last, so that a folder is found by its own name where it has one.
        for inner in sorted(folders, key=lambda path: path.is_symlink()):
            real = os.path.realpath(inner)
            if real not in seen:
                seen.add(real)
                visit(inner)

    visit(folder)
    return sorted(found)


def is_file(path: Path) -> bool:
    """Whether there is such a file. Names that no file can have (too long, with lone surrogates)
    are answered too, where ``Path.is_file`` raises."""
    return os.path.isfile(path)


def composed(name: str) -> str:
    """The name with its letters composed: a Mac takes "ö" apart into "o" and a diaeresis."""
    return unicodedata.normalize("NFC", name)


def spelled(name: str) -> str:
    """A name as somebody would type it: composed, with single blanks."""
    return composed(" ".join(name.split()))


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """What is in a folder and not hidden: files and whatever else is no folder, and folders."""
    files, folders = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if not is_hidden(entry.name):
                    (folders if _is_folder(entry) else files).append(folder / entry.name)
    except (FileNotFoundError, NotADirectoryError):
        pass
    return files, folders


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
