"""Reads annotations from a table, CSV: a row for each box, with file, corners and class.

Everybody writes such tables, each with names of columns of their own: ``COLUMNS`` has those that
are known (TensorFlow's tutorials, Roboflow, Kaggle, Open Images). Without a line of names the
columns are those of keras-retinanet: file, x1, y1, x2, y2, class. A row with a file and no box is a
picture without objects. Boxes that all lie between 0 and 1 are parts of their pictures.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

from detector.datasets.assembly import Assembly
from detector.datasets.box_checks import are_parts_of_pictures
from detector.datasets.dataset import Dataset
from detector.datasets.files import composed, files_in, folders_in, is_file
from detector.datasets.finding import PictureFinder, data_folder
from detector.datasets.numbers import to_number
from detector.datasets.problems import shorten
from detector.datasets.splitting import by_split, split_of_file
from detector.errors import UserError

MAX_BYTES = 2**29
Line = tuple[int, list[str]]  # its number, and its cells
COLUMNS = {
    "file": (
        "filename", "file", "filepath", "path", "image", "imagename", "imagepath", "imgpath",
        "imageid", "img", "imgname", "picture",
    ),
    "x1": ("x1", "xmin", "left", "bboxx1", "bboxxmin"),
    "y1": ("y1", "ymin", "top", "bboxy1", "bboxymin"),
    "x2": ("x2", "xmax", "right", "bboxx2", "bboxxmax"),
    "y2": ("y2", "ymax", "bottom", "bboxy2", "bboxymax"),
    "x": ("x", "bboxx"),
    "y": ("y", "bboxy"),
    "width": ("width", "w", "bboxwidth", "bboxw"),
    "height": ("height", "h", "bboxheight", "bboxh"),
    "box": ("bbox", "box", "boundingbox"),
    "class": (
        "class", "label", "classname", "labelname", "name", "category", "categoryname", "object",
    ),
}  # fmt: skip
PLAIN = ("file", "x1", "y1", "x2", "y2", "class")
# The columns of a box, the likeliest first; one column holds x, y, width and height in brackets.
BOXES = (("x1", "y1", "x2", "y2"), ("x", "y", "width", "height"), ("box",))


def csv_splits(place: Path) -> dict[str, Callable[[], Dataset]]:
    """How to read each split: a table for each, in the folder or in those of the splits.

    {} if there is no table with the columns that are needed. ``place`` may also be a table.
    """
    if is_file(place):
        files, folder = [place], data_folder(place)
    else:
        folder = place
        holders = (folder, folder / "annotations", *folders_in(folder))
        files = [path for holder in holders for path in files_in(holder, (".csv",))]
    files = [path for path in dict.fromkeys(files) if columns_of(path) is not None]
    names = {split_of_file(path, folder) or "all": path for path in files}
    if len(names) < len(files):
        names = {path.relative_to(folder).as_posix(): path for path in files}
    read = cache(lines_of)  # for the classes, which are those of all tables, and the boxes
    return {
        name: partial(read_csv, folder, path, files, read)
        for name, path in sorted(names.items(), key=lambda pair: by_split(pair[0]))
    }


def lines_of(path: Path) -> list[Line]:
    """The numbers of the lines of a table and what stands in them, without the names of columns.

    Raises:
        UserError: it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is larger than {MAX_BYTES >> 20} MB: split it")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:  # as spreadsheets on Windows save it
        text = content.decode("cp1252", "replace")
    first = text.partition("\n")[0]
    try:
        rows = list(csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count)))
    except csv.Error as error:
        raise UserError(f"{path} is no table ({error}): write it anew") from None
    has_names = not any(to_number(word) is not None for word in words_of(rows[0], columns_of(path)))
    return [(count, row) for count, row in enumerate(rows, start=1) if any(row)][has_names:]


def columns_of(path: Path) -> dict[str, int] | None:
    """Which column holds what; None if it is no table of boxes."""
    try:
        with open(path, "rb") as file:
            first = file.readline(2**14).decode("utf-8-sig", "replace")
    except OSError:
        return None
    sign = max(",;\t", key=first.count)
    words = next(csv.reader([first.rstrip("\r\n")], delimiter=sign), [])
    keys = [re.sub(r"[^a-z0-9]", "", word.lower()) for word in words]
    found = {
        meaning: keys.index(next(name for name in names if name in keys))
        for meaning, names in COLUMNS.items()
        if any(name in keys for name in names)
    }
    if {"file", "class"} <= set(found) and any(set(box) <= set(found) for box in BOXES):
        return found
    if len(words) == len(PLAIN) and all(to_number(word) is not None for word in words[1:5]):
        return {meaning: k for k, meaning in enumerate(PLAIN)}
    return None


def words_of(row: list[str], columns: dict[str, int]) -> list[str]:
    """What stands for the numbers of a box, four where it is one."""
    box = next(box for box in BOXES if set(box) <= set(columns))
    words = [row[columns[key]].strip() for key in box]
    return re.findall(r"[^\s,;]+", words[0].strip("[]() ")) if box == ("box",) else words


def class_names(tables: Sequence[Path], read: Callable[[Path], list[Line]]) -> list[str]:
    """The classes of all tables, in alphabetical order."""
    found = set()
    for path in tables:
        column = columns_of(path)["class"]
        found |= {composed(row[column].strip()) for _, row in read(path) if len(row) > column}
    return sorted(found - {""})


def read_csv(
    folder: Path, path: Path, tables: Sequence[Path], read: Callable[[Path], list[Line]]
) -> Dataset:
    """The data set of one of the tables; mistakes stand in its ``problems``."""
    columns, lines = columns_of(path), read(path)
    assembly = Assembly(str(path), class_names(tables, read))
    least = 1 + max(columns.values())
    for count, row in lines:
        if len(row) < least:
            assembly.complain(path, f"has {len(row)} columns, not {least}", f"line {count}")
    lines = [(count, row) for count, row in lines if len(row) >= least]
    names = [row[columns["file"]].strip() for _, row in lines]
    places = [path.parent, path.parent / "images", folder, folder / "images", folder / "JPEGImages"]
    places += folders_in(folder)
    files, _ = PictureFinder(folder, places).find(names)
    files = [file or with_suffix(places, name) for file, name in zip(files, names, strict=True)]
    lost = [name for name, file in zip(names, files, strict=True) if file is None]
    for name in dict.fromkeys(lost):
        assembly.leave_out(path, f"there is no picture {shorten(name)}")
    boxes = [[to_number(word) for word in words_of(row, columns)] for _, row in lines]
    are_parts = are_parts_of_pictures([box for box in boxes if len(box) == 4 and None not in box])
    if are_parts:
        why = "its boxes lie between 0 and 1: they are taken for parts of the picture"
        assembly.complain(path, why, fatal=False)
    images = {}
    for (count, row), file in zip(lines, files, strict=True):
        if file is None:
            continue
        if file not in images:
            images[file] = assembly.picture(file)
        if images[file] is not None:
            add_row(assembly, images[file], path, f"line {count}", row, columns, are_parts)
    return assembly.dataset()


def with_suffix(places: list[Path], name: str) -> Path | None:
    """The picture that a name without a suffix means."""
    if not re.fullmatch(r"[\w .-]+", name):
        return None
    for place in places:
        for suffix in (".jpg", ".png", ".jpeg"):
            if is_file(place / f"{name}{suffix}"):
                return place / f"{name}{suffix}"
    return None


def add_row(assembly, image, path, entry, row, columns, are_parts) -> None:
    """One row as a box; nothing where it has none, a complaint where it is no box."""
    words = words_of(row, columns)
    name = composed(row[columns["class"]].strip())
    if not any(words):
        return
    numbers = [to_number(word) for word in words]
    if None in numbers:
        wrong = words[numbers.index(None)]
        return assembly.complain(path, f"{shorten(wrong)!r} is no finite number", entry)
    if len(numbers) != 4:
        return assembly.complain(path, "a box has four numbers: x, y, width, height", entry)
    if not name:
        return assembly.complain(path, "the name of its class is missing", entry)
    if are_parts:
        sides = (image.width, image.height) * 2
        numbers = [number * side for number, side in zip(numbers, sides, strict=True)]
    a, b, c, d = numbers
    corners = (a, b, c, d) if set(BOXES[0]) <= set(columns) else (a, b, a + c, b + d)
    assembly.box(image, name, corners, path, entry, tuple(words))
