"""What you wrote stays: an accepted answer becomes a file of ``mine/``, a detector of your own.

``keep`` writes one file, ``fill`` those that are missing, from the exercises' own answers. A file
holds what it needs and imports nothing of the chapters. Its first lines say whose it is, with a sum
of the rest: what you change by hand no longer fits that sum, is yours alone and never replaced.
"""

from __future__ import annotations

import hashlib
import importlib
import itertools
import os
import pkgutil
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import exercises
from exercises.progress import place
from exercises.source import NoSource, whole_source
from nn.files import atomic_file

#: Where the files lie; ``LIGHTHEAD_MINE`` names another folder: one called ``mine``, as the files'
#: imports of each other say, or one that gets such a folder.
FOLDER = Path(os.environ.get("LIGHTHEAD_MINE") or Path(__file__).parents[1] / "mine").absolute()
FOLDER = FOLDER if FOLDER.name == "mine" else FOLDER / "mine"
ASSEMBLY = Path(__file__).parents[1] / "support" / "assembly.py"
YOURS, REFERENCE, GIVEN = "your answer", "the exercise's own answer", "given"
HEAD = re.compile(r"# mine/(\w+)\.py, (.+): change it, and no exercise replaces it\.\n# (\w{16})\n")


def keep(name: str, answer: Callable, judge: Callable, whose: str = YOURS) -> str:
    """Write an answer as ``mine/FILE.py``, if what is written passes the check as well.

    Args:
        name: "file" or "file:name", the second what others import from the file.
        answer: a function or class that was accepted.
        judge: the check that accepted it; raises what is wrong.
        whose: one of the three above.

    Returns:
        A sentence that says what became of it.
    """
    file, attribute = _place(name)
    refresh()
    kept = {
        each.reference: "from mine.{} import {}".format(*_place(each.keeps))
        for each in keepsakes()
        if each.reference is not answer
    }
    try:
        text = whole_source(answer, kept)
        if answer.__name__ != attribute:
            text += f"\n\n{attribute} = {answer.__name__}\n"
        judge(_run(text, file)[attribute])
    except NoSource as reason:
        return f"(mine/{file}.py was not written: {reason})"
    except Exception as error:
        return (
            f"(mine/{file}.py was not written: alone, without the rest of the notebook, it stops "
            f"with {type(error).__name__}: {error})"
        )
    try:
        return _write(file, text, whose)
    except OSError as error:
        return f"(mine/{file}.py was not written: {error.strerror}: {error.filename})"


def fill() -> list[tuple[str, str, int]]:
    """Write the files that are missing; afterwards ``from mine.nms import nms`` and so on work.

    Returns:
        The name, whose it is, and the number of lines of code of each file, in the order of the
        chapters.
    """
    for exercise in keepsakes():
        file, attribute = _place(exercise.keeps)
        path = FOLDER / f"{file}.py"
        if not path.exists() and exercise.answers_out_of_sight:  # it has no text to be kept
            number, name = place(exercise)
            text = f"from exercises.chapter_{number} import {name}\n\n"
            _write(file, f"{text}{attribute} = {name}.reference\n", REFERENCE)
        elif not path.exists():
            said = exercise.keep(exercise.reference, REFERENCE)
            if not path.exists():
                raise RuntimeError(said)
    if _whose("detector") in (None, GIVEN):
        _write("detector", ASSEMBLY.read_text(encoding="utf-8"), GIVEN)
    refresh()
    names = [*(_place(each.keeps)[0] for each in keepsakes()), "detector"]
    return [(name, _whose(name), lines_of_code(FOLDER / f"{name}.py")) for name in names]


def module(name: str) -> ModuleType:
    """``mine/NAME.py``, imported; ``fill`` comes first."""
    return importlib.import_module(f"mine.{name}")


def keepsakes() -> list:
    """The exercises whose answers are kept, chapter by chapter."""
    numbers = sorted(
        module.name
        for module in pkgutil.iter_modules(exercises.__path__)
        if module.name.startswith("chapter_")
    )
    modules = [importlib.import_module(f"exercises.{name}") for name in numbers]
    found = [each for module in modules for each in vars(module).values()]
    return [each for each in found if getattr(each, "keeps", "")]


def lines_of_code(path: Path) -> int:
    """Lines that are neither empty nor a comment alone."""
    lines = map(str.strip, path.read_text(encoding="utf-8").splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


def _place(name: str) -> tuple[str, str]:
    """The file and the name in it: ``keeps`` of an exercise taken apart."""
    file, _, attribute = name.partition(":")
    return file, attribute or file


def _run(text: str, file: str) -> dict:
    """What a text defines, when it stands alone."""
    module = ModuleType(f"mine.{file}")
    exec(compile(text, f"mine/{file}.py", "exec"), vars(module))
    return vars(module)


def _write(file: str, text: str, whose: str) -> str:
    text = text.rstrip() + "\n"
    head = f"# mine/{file}.py, {whose}: change it, and no exercise replaces it.\n# {_sum(text)}\n"
    for number in itertools.count(1):
        name = file if number == 1 else f"{file}_{number}"
        before = _whose(name)
        if before != "changed by hand":
            break
    FOLDER.mkdir(parents=True, exist_ok=True)
    with atomic_file(FOLDER / f"{name}.py") as target:
        target.write((head + text).encode())
    refresh()
    if name == file:
        return f"(Kept as mine/{file}.py.)"
    return f"(You have changed mine/{file}.py by hand: it stays. This answer is mine/{name}.py.)"


def refresh() -> None:
    """Let the next ``import mine.FILE`` read the file that lies in the folder now."""
    if str(FOLDER.parent) not in sys.path:
        sys.path.insert(0, str(FOLDER.parent))
    for module in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[module]
    importlib.invalidate_caches()


def _whose(name: str) -> str | None:
    """Who wrote a file of ``mine/``; None if there is none."""
    path = FOLDER / f"{name}.py"
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    head = HEAD.match(text)
    if head is None or head[3] != _sum(text[head.end() :]):
        return "changed by hand"
    return head[2]


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
