"""Text that came from a file or over the network, fit for a terminal.

A tensor, a class or a file may be called anything. Printed as it is, a line break in its name makes
one message look like two, and an escape sequence moves the cursor, recolours or overwrites what was
printed before; marks that turn the writing direction do the same for readers.
"""

from __future__ import annotations

import unicodedata

MOST = 1000  # characters of a name or a message that say enough
DIRECTIONS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # Unicode's annex 9, section 2
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # control characters, half characters, breaks


def printable(text: object, most: int = MOST) -> str:
    """``str(text)`` in one line, what would act on the terminal written as ``\\x1b``.

    Of more than ``most`` characters the middle is left out.
    """
    text = str(text)
    if len(text) > most:
        text = f"{text[: most // 2]} ... {text[-(most // 2) :]}"
    return "".join(_escaped(c) if _acts(c) else c for c in text)


def _acts(character: str) -> bool:
    return unicodedata.category(character) in UNPRINTABLE or ord(character) in DIRECTIONS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
