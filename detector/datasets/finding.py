"""Finds the pictures that annotations name, however their tool wrote the names.

Tools write the folder in front once too often (``images/a.jpg`` beside ``images/``), another
machine's path (``C:\\data\\a.jpg``, ``/home/me/data/a.jpg``), a URL (``a%20b.jpg``) or a query
(``/data/local-files/?d=a.jpg``). A picture counts as found where exactly one file below the data
folder can be meant; nothing outside it is ever looked at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from detector.datasets.files import composed, files_below, files_in, folders_in, is_file
from detector.datasets.images import SUFFIXES


def data_folder(file: Path) -> Path:
    """The folder of the data set that a file describes: its own, or the one above if the pictures
    lie in a folder beside its own."""
    own = file.absolute().parent
    is_beside = any(files_in(place, SUFFIXES) for place in folders_in(own.parent))
    if own.name == "annotations" or (is_beside and not files_below(own, SUFFIXES)):
        return own.parent
    return own


class PictureFinder:
    """The pictures of one split.

    Args:
        folder: the data folder.
        places: the folders below it to which names are relative, the likeliest first.
        elsewhere: folders with the pictures of other splits, which a bare name cannot mean.
    """

    def __init__(self, folder: Path, places: Sequence[Path], elsewhere: Sequence[Path] = ()):
        self.folder, self.places, self.elsewhere = folder, list(places), list(elsewhere)

    @property
    def place(self) -> Path:
        """Where a picture belongs that is nowhere: the first of the places that there is."""
        return next((place for place in self.places if place.is_dir()), self.folder)

    def find(self, names: Sequence[str]) -> tuple[list[Path | None], dict[str, Path]]:
        """The file of each name, None where there is none or several could be meant.

        Where a name leads to its picture, that is not what another name, which only ends like it,
        can mean.

        Returns:
            the files, and those among them to which their names do not lead, by name.
        """
        led = {name: self.lead(name) for name in dict.fromkeys(names)}
        guesses = {name: self.guess(name) for name, path in led.items() if path is None}
        claims = Counter(path for path in (*led.values(), *guesses.values()) if path is not None)
        sure = {name: path for name, path in guesses.items() if claims[path] == 1}
        return [led[name] or sure.get(name) for name in names], sure

    def lead(self, name: str) -> Path | None:
        """The file that the name leads to from one of the places."""
        for form in forms(name):
            for place in self.places if is_inside(form) else ():
                if is_file(place / form):
                    return place / form
        return None

    def guess(self, name: str) -> Path | None:
        """The one file whose path ends as the name does, by as many folders as possible."""
        for form in forms(name):
            tail = [part for part in PurePosixPath(form).parts if part not in ("/", "..")]
            candidates = self._by_name[folded(tail[-1])] if tail else []
            for length in range(len(tail), 0, -1):
                alike = [path for path in candidates if self._ends(path, tail[-length:], folded)]
                if length == 1:
                    alike = [path for path in alike if not self._is_elsewhere(path)]
                exact = [path for path in alike if self._ends(path, tail[-length:], composed)]
                if len(exact or alike) == 1:
                    return (exact or alike)[0]
                if alike:
                    break
        return None

    def why_not(self, name: str) -> str:
        """What to tell about a name that ``find`` has no file for."""
        last = PurePosixPath(forms(name)[-1]).name
        alike = [str(path.relative_to(self.folder)) for path in self._by_name[folded(last)]]
        if not alike:
            return f"no picture below {self.folder} is called {last}: put it there"
        return (
            f"{self.folder} holds {' and '.join(alike[:2])}{' and more' * (len(alike) > 2)}, and "
            "nothing says that one of them is meant: put the picture where its name leads"
        )

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        index = defaultdict(list)
        for path in files_below(self.folder, SUFFIXES):
            index[folded(path.name)].append(path)
        return index

    def _ends(self, path: Path, tail: Sequence[str], form) -> bool:
        own = path.relative_to(self.folder).parts[-len(tail) :]
        return [form(part) for part in own] == [form(part) for part in tail]

    def _is_elsewhere(self, path: Path) -> bool:
        return any(folder in path.parents for folder in self.elsewhere)


def forms(name: str) -> list[str]:
    """The name as it is, and as it may have been before a tool wrote it; with slashes only."""
    slashed = name.replace("\\", "/")
    path, _, query = slashed.partition("?")
    if query.startswith("d="):  # Label Studio's local files
        path = query.removeprefix("d=").partition("&")[0]
    unquoted = [unquote(text).replace("\\", "/") for text in (slashed, path)]
    return list(dict.fromkeys([name, slashed, *unquoted]))


def is_inside(name: str) -> bool:
    """Whether a relative name stays inside the folder it is relative to, on every system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    is_absolute = posix.is_absolute() or windows.drive or windows.root
    return bool(name) and "\0" not in name and not is_absolute and ".." not in windows.parts


def folded(name: str) -> str:
    """The name as file systems see it that do not mind upper and lower case."""
    return composed(name).casefold()
