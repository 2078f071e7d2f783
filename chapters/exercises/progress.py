"""Which exercises were answered so far, kept beside the chapters: "34 of 96 exercises"."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

from detector.training.live_curves import in_kernel
from nn.files import read_json, write_json

CHAPTERS = Path(__file__).resolve().parent.parent
CHECK = re.compile(r"\bexercises\.(\w+)\.check\(")


def note(exercise: object) -> None:
    """Keep that an exercise was answered, and print how many were.

    In a notebook only: a test or a program that asks a check has no progress to make. What cannot
    be read or written is left alone; no check fails for it.
    """
    if not in_kernel():
        return
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        asked = exercises()
        number, name = place(exercise)
        if name in asked.get(number, ()):
            done = answered()
            done[number] = sorted({*done.get(number, ()), name})
            write_json(CHAPTERS / "progress.json", done)
            count = sum(len(asked[n].intersection(done.get(n, ()))) for n in asked)
            print(f"{count} of {sum(map(len, asked.values()))} exercises.")


def place(exercise: object) -> tuple[str, str]:
    """The number of the chapter whose exercise it is, "" if of none, and its name there."""
    for module, content in list(sys.modules.items()):
        if module.startswith("exercises.chapter_"):
            for name, value in vars(content).items():
                if value is exercise:
                    return module[-2:], name
    return "", ""


def exercises() -> dict[str, set[str]]:
    """The names of all exercises that the notebooks ask, by chapter."""
    return {
        path.name[:2]: set(CHECK.findall(path.read_text(encoding="utf-8")))
        for path in CHAPTERS.glob("[0-9][0-9]_*.ipynb")
    }


def answered() -> dict[str, list[str]]:
    """Those that were answered, also of chapters that do not lie here any more.

    Raises:
        ValueError, AttributeError: the file is none of ours.
    """
    path = CHAPTERS / "progress.json"
    kept = read_json(path) if path.exists() else {}
    for number, names in kept.items():
        if not re.fullmatch(r"\d\d", number) or not isinstance(names, list):
            raise ValueError(f"{path} is none of ours")
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path} is none of ours")
    return kept
