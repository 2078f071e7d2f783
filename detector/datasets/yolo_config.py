"""The files in which YOLO's tools describe a data set: ``data.yaml`` and Darknet's ``obj.data``.

Both say where the pictures of each split are and what the classes are called. Their paths are often
those of another machine, or begin with a ``..`` too many.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import yaml

from detector.datasets.files import composed, files_below, files_in, is_file
from detector.datasets.finding import PictureFinder
from detector.datasets.images import SUFFIXES
from detector.datasets.numbers import to_whole
from detector.datasets.problems import shorten
from detector.errors import UserError

MAX_CONFIG = 2**22  # bytes


def find_config(place: Path) -> tuple[Path, dict] | None:
    """The file that describes the data set in a folder, or that file itself, and what stands in
    it."""
    files = [place] if is_file(place) else files_in(place, (".yaml", ".yml", ".data"))
    for path in (path for path in files if path.suffix.lower() in (".yaml", ".yml")):
        values = read_yaml(path)
        if "names" in values and ("train" in values or "val" in values):
            return path, values
    for path in (path for path in files if path.suffix.lower() == ".data"):
        values = read_darknet(path)
        if "names" in values and "train" in values:
            return path, values
    return None


def read_yaml(path: Path) -> dict:
    """The mapping in a YAML file, {} if it is something else.

    Raises:
        UserError: it is no YAML.
    """
    try:
        values = yaml.safe_load(path.read_bytes()[:MAX_CONFIG].decode("utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{path} is not valid YAML{where}: mend it") from None
    return values if isinstance(values, dict) else {}


def read_darknet(path: Path) -> dict:
    """The lines ``key = value`` of Darknet's ``obj.data``."""
    values = {}
    for line in read_names(path):
        key, equals, value = line.partition("=")
        if equals:
            values[key.strip()] = value.strip()
    if "valid" in values:
        values["val"] = values.pop("valid")
    return values


def is_shape(points: object) -> bool:
    return isinstance(points, list) and len(points) == 2 and all(type(n) is int for n in points)


def class_names(path: Path, values: dict) -> list[str]:
    """The names of the classes: a list, numbers and names, or the name of a file.

    Raises:
        UserError: they are something else.
    """
    names = values["names"]
    if isinstance(names, str):
        places = [path.parent / names, path.parent / PurePosixPath(names.replace("\\", "/")).name]
        file = next((place for place in places if is_file(place)), None)
        if file is None:
            raise UserError(
                f"{path}: there is no file {shorten(names)} with the names of the classes"
            )
        return read_names(file)
    if isinstance(names, dict):
        numbers = {to_whole(key): name for key, name in names.items()}
        if None in numbers or not numbers or min(numbers) < 0 or max(numbers) > 10_000:
            raise UserError(f"{path}: 'names' must give a name to each number from 0")
        names = [numbers.get(k, str(k)) for k in range(max(numbers) + 1)]
    if not isinstance(names, list) or not names:
        raise UserError(f"{path}: 'names' must be the list of the classes")
    if not all(isinstance(name, str | int | float) for name in names):  # lists may be bottomless
        raise UserError(f"{path}: each of 'names' must be a text")
    names = [composed(str(name).strip()) for name in names]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise UserError(
            f"{path}: two classes are called {shorten(doubled)!r}: give each a name of its own"
        )
    return names


@dataclass
class Places:
    """Finds what the paths of a configuration mean, on this machine."""

    folder: Path
    config: Path
    root: object
    remarks: list[tuple[Path, str]]
    anywhere: bool = False

    def pictures(self, key: str, value: object) -> list[Path]:
        """The pictures of a split: of a folder, of a list of pictures, or of several of these."""
        values = value if isinstance(value, list) else [value]
        found: dict[Path, None] = {}
        for entry in values:
            if not isinstance(entry, str):
                raise UserError(f"{self.config}: {key!r} must name a folder, not {shorten(entry)}")
            place = self.find(key, entry)
            if place is None:
                continue
            paths = files_below(place, SUFFIXES) if place.is_dir() else self.listed(place)
            found.update(dict.fromkeys(paths))
        return list(found)

    def find(self, key: str, entry: str) -> Path | None:
        """The folder or file that an entry means; a wrong path is mended, with a remark."""
        name = entry.replace("\\", "/")
        root = self.root if isinstance(self.root, str) else "."
        base = self.config.parent
        for place in (base / root / name, base / name):
            if exists(place) and (self.anywhere or self.is_near(place)):
                return place
        # Roboflow's ../valid/images beside valid; another machine's /home/me/set/valid/images.
        parts = [part for part in PurePosixPath(name).parts if part not in ("..", ".", "/")]
        for k in range(len(parts)):
            place = base.joinpath(*parts[k:])
            if exists(place) and place != base:
                taken = place.relative_to(base)
                self.remarks.append(
                    (self.config, f"{key} {shorten(entry)} is not there: taking {taken}")
                )
                return place
        if key != "train":  # Roboflow names a val and a test even where there are none
            self.remarks.append((self.config, f"{key} {shorten(entry)} is not there (left out)"))
            return None
        raise UserError(
            f"{self.config}: {key} {shorten(entry)} is not there: put the pictures there or mend it"
        )

    def is_near(self, place: Path) -> bool:
        """Whether it lies in the data folder, or beside it as Ultralytics' own sets do."""
        return self.folder.resolve().parent in place.resolve().parents

    def listed(self, path: Path) -> list[Path]:
        """The pictures that a text file lists, a line each."""
        lines = list(filter(None, read_names(path)))
        places = [path.parent, self.folder, self.folder.parent]
        files, _ = PictureFinder(self.folder, places).find(
            [line.removeprefix("./") for line in lines]
        )
        lost = [line for line, file in zip(lines, files, strict=True) if file is None]
        if lost:
            self.remarks.append(
                (path, f"{len(lost)} of its {len(lines)} pictures are not there (left out), e.g. "
                 f"{shorten(lost[0])}")
            )  # fmt: skip
        return [file for file in files if file is not None]


def exists(place: Path) -> bool:
    return place.is_dir() or is_file(place)


def read_names(path: Path) -> list[str]:
    """The names of the classes, one a line."""
    text = path.read_bytes()[:MAX_CONFIG].decode("utf-8-sig", "replace")
    lines = [composed(line.strip()) for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines
