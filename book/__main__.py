"""``python -m book``: render the executed chapters of ``build/chapters`` into ``build/book``.

The reference beside them is made of the docstrings of the packages.
"""

from __future__ import annotations

import sys

from book.folders import CHAPTERS, EXECUTED, SITE, notebooks
from book.reference import PACKAGES
from book.site import write_site

OTHERS = ("notation.md", "references.md")

if __name__ == "__main__":
    sys.path.insert(0, str(CHAPTERS))  # whose exercises have the hints
    paths = notebooks(EXECUTED)
    if not paths:
        raise SystemExit(f"there are no executed chapters in {EXECUTED}: run make chapters")
    try:
        write_site(paths, SITE, PACKAGES, [CHAPTERS / name for name in OTHERS])
    except ValueError as error:
        raise SystemExit(f"book: {error}") from None
    print(f"{len(paths)} chapters: open {SITE / 'index.html'}")
