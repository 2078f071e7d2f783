"""Grade what students handed in: their notebooks of the chapters, one row each in a table.

Each runs from its first cell to its last in a fresh kernel, and after each answer our own check,
from this repository, says "right", "wrong" and why, or "unanswered". A check that was changed or
taken out is noted, and the answer judged all the same. What does not end, crashes or is no notebook
is a row too, with the reason.

A hand-in is somebody else's program, and this runs it as you: in a temporary folder, with a limit
of time, and of memory where the system has one, but with no wall around it. For people whom you do
not trust use an account or a container of its own. The command needs the repository, not only the
installed packages, and pip install 'lighthead[notebooks]'. docs/teaching.md says more.
"""

from __future__ import annotations

import argparse
import csv
import glob
import importlib.util
import io
import os
import re
from pathlib import Path

from book.folders import CHAPTERS
from detector import own_files
from detector.errors import UserError
from detector.progress import Progress
from nn.files import atomic_file
from nn.printable import printable
from teaching.hand_in import Chapter, Unreadable, read_chapters, read_hand_in

EXAMPLES = """examples:
  lighthead grade hand-ins/*.ipynb --out grades.csv
  lighthead grade hand-ins --out grades.csv --cell-seconds 30 --memory 2

A folder stands for all notebooks in it. A chapter takes up to three minutes to run, so does a
hand-in of it.
"""
FIRST = own_files.GRADES.rstrip(",")
COLUMNS = [FIRST, "chapter", "right", "asked", "note"]
OF_EXERCISE = re.compile(r"\d\d \w+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hand_ins", nargs="+", metavar="NOTEBOOK", help="or folders with some")
    parser.add_argument(
        "--out", default="grades.csv", metavar="FILE", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--cell-seconds", type=positive, default=60, metavar="S",
        help="limit for the cell of an answer, and for its check (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=positive, default=10, metavar="M",
        help="limit for a whole hand-in (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--memory", type=positive, default=4, metavar="GB",
        help="limit of memory, on Linux (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--chapters", type=Path, default=CHAPTERS, metavar="DIR",
        help="your own chapters, if you changed them (default: the repository's)",
    )  # fmt: skip


def positive(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def run(args: argparse.Namespace) -> int:
    paths = hand_ins(args.hand_ins)
    own_files.check_results_file(args.out, "--out", is_own_table)
    if importlib.util.find_spec("nbclient") is None or not importlib.util.find_spec("ipykernel"):
        raise UserError("grade runs notebooks: pip install 'lighthead[notebooks]'")
    try:
        chapters = read_chapters(args.chapters)
    except Unreadable as error:
        raise UserError(f"a chapter in {args.chapters} is {error}") from None
    if not chapters:
        raise UserError(f"{args.chapters} holds no chapter with exercises, NN_title.ipynb")
    rows = []
    with Progress("grading", len(paths), unit="hand-in") as bar:
        for path in paths:
            rows.append(grade(path, chapters, args))
            write(args.out, rows, chapters)  # what is graded stays if the next is interrupted
            bar.step()
    right = sum(row["right"] != "" and row["right"] == row["asked"] for row in rows)
    print(f"{len(rows)} hand-ins, {right} with every answer right: {args.out}")
    return 0


def hand_ins(named: list[str]) -> list[Path]:
    """The notebooks that are named, in folders or by patterns that the shell left alone."""
    found = []
    for name in named:
        if Path(name).is_dir():
            these = sorted(Path(name).glob("*.ipynb"))
        elif os.path.lexists(name):
            these = [Path(name)]
        else:
            these = [Path(each) for each in sorted(glob.glob(name))]
        if not these:
            raise UserError(f"there is no notebook {printable(name)}")
        found += these
    return list(dict.fromkeys(found))


def grade(path: Path, chapters: dict[str, Chapter], args: argparse.Namespace) -> dict[str, object]:
    """The row of one hand-in, by column."""
    row = {FIRST: str(path), "chapter": "", "right": "", "asked": "", "note": ""}
    try:
        hand_in = read_hand_in(path, chapters)
    except Unreadable as error:
        return row | {"note": str(error)}
    from teaching import kernel  # only now: it needs what a notebook needs

    limits = kernel.Limits(args.cell_seconds, 60 * args.minutes, int(args.memory * 2**30))
    found, note = kernel.grade(hand_in, args.chapters, limits)
    number = hand_in.chapter.number
    right = sum(text.startswith("right") for text in found.values())
    row |= {"chapter": number, "right": right, "asked": len(found), "note": note}
    return row | {f"{number} {name}": text for name, text in found.items()}


def write(out: str, rows: list[dict[str, object]], chapters: dict[str, Chapter]) -> None:
    """The table: what every hand-in has, then a column for each exercise of their chapters."""
    seen = {row["chapter"] for row in rows}
    columns = list(COLUMNS)
    for number in sorted(seen - {""}):
        columns += [f"{number} {name}" for name in chapters[number].answers]
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns, restval="")
    table.writeheader()
    for row in rows:
        table.writerow({name: harmless(value) for name, value in row.items()})
    with atomic_file(out) as file:
        file.write(text.getvalue().encode("utf-8-sig"))


def is_own_table(path: str | os.PathLike) -> bool:
    """Whether it is a table of grades with no column but ours: a teacher's own would be lost."""
    if not own_files.is_own_table(path):
        return False
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        columns = next(csv.reader([file.readline(2**16)]), [])
    known = columns[: len(COLUMNS)] == COLUMNS
    return known and all(map(OF_EXERCISE.fullmatch, columns[len(COLUMNS) :]))


def harmless(value: object) -> str:
    """Text that a spreadsheet takes for no formula, whatever a student named a file."""
    text = printable(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
