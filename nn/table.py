"""Names on the command line and in checkpoints -> what they stand for, imported when asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping

from nn.printable import printable


class Table:
    """``Table("network", {"resnet50": "nn.models.resnet:resnet50"})``.

    A row is "module:attribute", or that and a line about it. Reading the table imports nothing: the
    list of names is free, and a broken file breaks its own row only.

    Args:
        what: one row is, for the error message.
        rows: what each name stands for.

    Raises:
        LookupError: there is no such row; suggests the nearest and lists them all.
    """

    def __init__(self, what: str, rows: Mapping[str, str | tuple[str, str]]):
        self.what = what
        self._rows = {
            name: (row, "") if isinstance(row, str) else row for name, row in rows.items()
        }

    def __getitem__(self, name: str):
        if name not in self:
            raise LookupError(self.complaint(name))
        module, _, attribute = self._rows[name][0].partition(":")
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found

    def complaint(self, name: object) -> str:
        """What to say of a name that is none: the nearest one, and all there are."""
        return (
            f"there is no {self.what} '{printable(name, 80)}'"
            f"{did_you_mean(printable(name, 80), self)}: choose one of {', '.join(self)}"
        )

    def line(self, name: str) -> str:
        """The line about a row."""
        return self._rows[name][1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._rows

    def __len__(self) -> int:
        return len(self._rows)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ " (did you mean 'zebra'?)" when one of ``known`` resembles ``word``, else "".

    >>> did_you_mean("zebar", ["cat", "zebra"])
    " (did you mean 'zebra'?)"
    """
    by_lower_case = {name.lower(): name for name in known}
    nearest = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.6)
    return f" (did you mean {by_lower_case[nearest[0]]!r}?)" if nearest else ""
