"""Mistakes in a data set: how each is described, and the error that lists them all at once.

Readers collect ``Problem``s instead of stopping at the first, so that one run is enough to find out
everything that has to be mended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detector.errors import UserError
from nn.printable import printable

MOST_LISTED = 20
LEFT_OUT, CLIPPED = "left out", "clipped"
WITHOUT = "a picture or a file of annotations left out"
MOST_NAMED = 5


@dataclass(frozen=True)
class Problem:
    """One mistake.

    A fatal one makes the data ambiguous or unusable: nothing is trained on it. The others were
    dealt with (a box clipped, an annotation left out), which ``why`` says.
    """

    file: str  # the file to mend
    why: str
    annotation: str = ""  # which entry of the file, e.g. "annotation 17 (image 000.jpg)"
    box: tuple | None = None  # as it stands in the file
    fatal: bool = True
    outcome: str = ""  # LEFT_OUT or CLIPPED, where that happened to a box; or WITHOUT
    image: int | None = None  # the id of the image it is in, where it is in one

    def __str__(self) -> str:
        box = "" if self.box is None else f", box [{', '.join(map(shorten, self.box))}]"
        entry = f"{self.annotation}{box}: " if self.annotation else ""
        return printable(f"{self.file}: {entry}{self.why}")


class DatasetError(UserError):
    """A data set cannot be used; ``problems`` are all the fatal ones.

    The message is one line for one problem; else a line that counts them and a line for each of
    the first ``MOST_LISTED``.
    """

    def __init__(self, problems: Sequence[Problem]):
        self.problems = list(problems)
        super().__init__(listing(self.problems))

    @property
    def lines(self) -> list[str]:
        return str(self).split("\n")  # each problem is printable


def listing(problems: Sequence[Problem], most: int | None = MOST_LISTED) -> str:
    """The problems as text, one line each, at most ``most`` of them (None: all)."""
    if len(problems) == 1:
        return str(problems[0])
    shown = problems[:most]
    lines = [f"{len(problems)} mistakes in the data set:", *map(str, shown)]
    if len(shown) < len(problems):
        hidden = len(problems) - len(shown)
        lines.append(f"and {hidden} more: lighthead check-data lists them all")
    return "\n  ".join(lines)


def left_out(problems: Sequence[Problem]) -> str:
    """One line that counts and names the pictures that are missing or damaged; "" for none."""
    without = [problem for problem in problems if problem.outcome == WITHOUT]
    if not without:
        return ""
    named = "; ".join(map(str, without[:MOST_NAMED]))
    more = len(without) - MOST_NAMED
    return f"{len(without)} left out: {named}" + f"; and {more} more" * (more > 0)


def warning(problems: Sequence[Problem]) -> str:
    """One line about what else was dealt with: the first, and how many more; "" for nothing."""
    mended = [problem for problem in problems if not problem.fatal and problem.outcome != WITHOUT]
    if not mended:
        return ""
    if len(mended) == 1:
        return str(mended[0])
    return f"{mended[0]} (and {len(mended) - 1} more: lighthead check-data lists them all)"


def shorten(value: object) -> str:
    """A number or a piece of somebody's file, at most 40 characters of it."""
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else f"{text[:37]}..."
