"""What a student handed in: which chapter it is, and in which cell each answer stands.

The chapter as we wrote it says what is asked: every ``exercises.NAME.check(ANSWER)`` in it is an
exercise. A hand-in may have lost, copied or changed that line; the answer is asked for all the
same, and what happened to the line is noted.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nn.printable import printable

MOST_BYTES = 2**26  # of a hand-in with all its pictures
MOST_CODE = 2**20  # characters in all its cells of code, which are taken apart
TITLE = re.compile(r"# (\d\d) · ")
IMPORT = re.compile(r"\bexercises\b.{,80}\bchapter_(\d\d)\b")  # not .*: a line may be long


class Unreadable(Exception):  # noqa: N818 (it is the hand-in that is)
    """Its message says why a file is no hand-in of a chapter."""


@dataclass
class Cell:
    """A cell with Python in it, and the exercises whose answers stand after it."""

    id: str
    source: str
    exercises: list[str] = field(default_factory=list)


@dataclass
class Chapter:
    """What a chapter asks: the expressions that are checked, by exercise, in order."""

    number: str
    answers: dict[str, str]
    cells: dict[str, str]  # the id of each exercise's cell


@dataclass
class HandIn:
    """The cells of a hand-in, and by exercise what was done to its check."""

    chapter: Chapter
    cells: list[Cell]
    notes: dict[str, str] = field(default_factory=dict)


def read_chapters(folder: Path) -> dict[str, Chapter]:
    """What is asked in the chapters of a folder, ``NN_title.ipynb``, by number."""
    found = {}
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        chapter = Chapter(path.name[:2], {}, {})
        for kind, cell in read_cells(path):
            if kind == "code":
                for name, answer in checks(cell.source):
                    chapter.answers[name], chapter.cells[name] = answer, cell.id
        if chapter.answers:
            found[chapter.number] = chapter
    return found


def read_hand_in(path: Path, chapters: dict[str, Chapter]) -> HandIn:
    """The hand-in of a file.

    Raises:
        Unreadable: it is no notebook, or none of these chapters.
    """
    told = list(read_cells(path))
    if sum(len(cell.source) for kind, cell in told if kind == "code") > MOST_CODE:
        raise Unreadable(f"too large: more than {MOST_CODE >> 20} MB of code")
    numbers = [match[1] for _, cell in told if (match := TITLE.match(cell.source))]
    numbers += [match[1] for _, cell in told if (match := IMPORT.search(cell.source))]
    numbers = [number for number in numbers if number in chapters]
    if not numbers:
        raise Unreadable("no chapter: it has neither the title of one nor its exercises")
    hand_in = HandIn(chapters[numbers[0]], [cell for kind, cell in told if kind == "code"])
    for name in hand_in.chapter.answers:
        _place(hand_in, name)
    return hand_in


def read_cells(path: Path) -> Iterator[tuple[str, Cell]]:
    """The kind of each cell of a notebook, "code" or "markdown", and the cell.

    Raises:
        Unreadable: it is no notebook.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable("no notebook: no ordinary file")
        if path.stat().st_size > MOST_BYTES:
            raise Unreadable(f"too large: more than {MOST_BYTES >> 20} MB")
        cells = json.loads(path.read_bytes())["cells"]
        for cell in cells:
            source = cell["source"]
            text = source if isinstance(source, str) else "".join(source)
            text.encode()  # half a character is a ValueError here, and none in the kernel's way
            yield cell["cell_type"], Cell(str(cell.get("id", "")), text)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    except RecursionError:
        raise Unreadable("no notebook: nested too deeply") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"no notebook: {printable(error, 120)}") from None


def checks(source: str) -> list[tuple[str, str]]:
    """The name and the answer of each ``exercises.NAME.check(ANSWER)``; none where the cell is no
    Python, or nested too deeply to be written down again."""
    found = []
    for node in _nodes(source, ast.Call):
        match node:
            case ast.Call(
                ast.Attribute(ast.Attribute(ast.Name("exercises"), name), "check"), [answer]
            ):
                with contextlib.suppress(RecursionError):
                    found.append((name, ast.unparse(answer)))
    return found


def _place(hand_in: HandIn, name: str) -> None:
    """Find the cell after which the answer of an exercise stands, and note what is odd about it."""
    answer, cells = hand_in.chapter.answers[name], hand_in.cells
    asked = [(cell, dict(checks(cell.source))[name]) for cell in cells if _asks(cell, name)]
    root = re.match(r"\W*(\w*)", answer)[1]
    same = [cell for cell in cells if cell.id == hand_in.chapter.cells[name]]
    makes = [cell for cell in cells if re.search(rf"\b{root}\b\s*(=|\(|:|,)", cell.source)]
    if asked:
        cell = asked[-1][0]
        if all(given != answer for _, given in asked):
            hand_in.notes[name] = "its check was changed"
    else:
        cell = (same or makes or [None])[-1]
        hand_in.notes[name] = "its check was taken out"
    if cell is None:
        hand_in.notes[name] = "its cell was taken out"
    else:
        cell.exercises.append(name)
    if any(_looks_at_answers(each.source) for each in cells):
        hand_in.notes.setdefault(name, "the hand-in looks at our answers")


def _asks(cell: Cell, name: str) -> bool:
    return name in dict(checks(cell.source))


def _looks_at_answers(source: str) -> bool:
    """Whether Python reads ``.reference`` or a function of that name."""
    return any(
        node.attr == "reference" or node.attr.endswith("_reference")
        for node in _nodes(source, ast.Attribute)
    )


def _nodes(source: str, kind: type) -> Iterator[ast.AST]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the student's slips are not the teacher's
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    yield from (node for node in ast.walk(tree) if isinstance(node, kind))
