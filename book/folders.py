"""Where chapters lie, as they are written, executed and rendered."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
CHAPTERS = ROOT / "chapters"
EXECUTED = ROOT / "build" / "chapters"
SITE = ROOT / "build" / "book"


def notebooks(folder: Path = CHAPTERS) -> list[Path]:
    """The chapters of a folder, ``NN_title.ipynb``, in order."""
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))
