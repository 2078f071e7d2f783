"""Fonts that have the letters of the classes' names, in whatever script those are.

Pillow's own font knows little more than English. matplotlib brings DejaVu, which has the letters of
Europe, Arabic and many signs; for the others, this system's fonts are searched.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

from PIL import ImageFont

from nn.printable import printable

INVISIBLE = ("Cf", "Zs")  # joiners and marks of direction, blanks: no font needs to have them
VARIATIONS = range(0xFE00, 0xFE10)  # they choose between two forms of the sign before


def font(text: str, size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont | None:
    """A font that can write ``text``, ``size`` pixels high; None if this system has none."""
    if text.isascii():
        return ImageFont.load_default(size)
    path = font_file(letters(text))
    return None if path is None else ImageFont.truetype(path, size)


def legend(classes: Sequence[str]) -> str:
    """One line about the names that cannot be drawn: by which number each goes; "" for none."""
    numbers = [
        f"{label} is {printable(name)}"
        for label, name in enumerate(classes, start=1)
        if font(name, 13) is None
    ]
    if not numbers:
        return ""
    return f"no font of this system has their letters, so in the pictures {', '.join(numbers)}"


def letters(text: str) -> frozenset[str]:
    """The characters of a text that its font must have."""
    return frozenset(
        letter
        for letter in text
        if unicodedata.category(letter) not in INVISIBLE and ord(letter) not in VARIATIONS
    )


@cache
def font_file(wanted: frozenset[str]) -> str | None:
    """The first file of a font that has all these characters."""
    codes = {ord(letter) for letter in wanted}
    return next((path for path in font_files() if codes <= characters(path)), None)


@cache
def font_files() -> list[str]:
    """matplotlib's DejaVu, then the fonts of this system by name."""
    from matplotlib import font_manager  # takes a second, and few runs need it

    own = font_manager.findfont("DejaVu Sans")
    system = sorted(font_manager.findSystemFonts())
    # A Mac's font of last resort has a box for every letter there is.
    return [own, *(path for path in system if "lastresort" not in path.lower())]


@cache
def characters(path: str) -> frozenset[int]:
    """The code points a font has a sign for; none of a font that cannot be used at any size."""
    from matplotlib.ft2font import FT2Font

    try:
        ImageFont.truetype(path, 13)
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):  # broken, or of pictures in one size (emoji)
        return frozenset()
