"""A chapter to take away: one archive with the notebook and what it imports."""

from __future__ import annotations

import zipfile
from pathlib import Path

from book.folders import CHAPTERS, ROOT
from nn.files import atomic_file

FOLDERS = ("exercises", "support", "map")
PAGES = ("notation.md", "references.md", "mine/README.md")
PHOTOGRAPHS = "16"  # the chapter that takes them along
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same files make the same archive


def write_archive(name: str, out: Path, chapters: Path = CHAPTERS) -> None:
    """Write the chapter ``name`` (``NN_title.ipynb``), as it is not executed, into an archive."""
    files = [chapters / name, *(chapters / page for page in PAGES)]
    for folder in (*FOLDERS, *(["photographs"] if name.startswith(PHOTOGRAPHS) else [])):
        files += sorted((chapters / folder).rglob("*"))
    places = {path.relative_to(chapters).as_posix(): path for path in files}
    places["LICENSE"] = ROOT / "LICENSE"  # which goes with every copy
    with atomic_file(out) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, path in places.items():
            if path.is_file() and "__pycache__" not in path.parts:
                place = zipfile.ZipInfo(f"chapters/{inside}", LONG_AGO)
                place.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(place, path.read_bytes())
