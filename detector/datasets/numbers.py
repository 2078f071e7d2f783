"""Numbers as the tools of this world write them: 128, 128.0 or "128"."""

from __future__ import annotations

import re

LARGEST = 1e9  # of any coordinate, side or area; NaN and infinity are not below it either
LARGEST_ID = 2**63 - 1
WRITTEN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
LONGEST = 40  # characters of a number that is written as a text


def to_number(value: object, largest: float = LARGEST) -> int | float | None:
    """The number that ``value`` is or spells, None if it does neither or is larger."""
    if isinstance(value, str):
        text = value.strip()
        if len(text) > LONGEST or not WRITTEN.fullmatch(text):
            return None
        value = float(text) if re.search("[.eE]", text) else int(text)
    if type(value) not in (int, float):
        return None
    return value if -largest <= value <= largest else None


def to_whole(value: object, largest: float = LARGEST_ID) -> int | None:
    """The same where it is a whole number, as an int."""
    number = to_number(value, largest)
    return int(number) if number is not None and number == int(number) else None
