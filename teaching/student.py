"""``python -m teaching.student``: the chapters to hand out, in ``build/student``.

The notebooks are ours, and so are the checks and hints; their source, in which every answer
stands, is written in a form that Python reads and people do not. That is out of sight, not out of
reach: who wants the answers finds this repository.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import sys
import zlib
from pathlib import Path

from book.folders import CHAPTERS, ROOT, notebooks
from teaching.hand_in import checks, read_cells

STUDENT = ROOT / "build" / "student"
SEALED = '''"""The checks of a chapter. The answers are with your teacher."""

import base64
import zlib

exec(zlib.decompress(base64.b85decode({text!r})))
'''
OUT_OF_SIGHT = """
from exercises.exercise import Exercise

Exercise.answers_out_of_sight = True
"""
STUB = re.compile(r"\.\.\. +# your answer")
FUNCTION = re.compile(r"^def .*?(?=\n\n\n)", re.MULTILINE | re.DOTALL)
WITH_ANSWERS = ("chapter_[0-9][0-9].py", "own_*.py")
LEFT_OUT = shutil.ignore_patterns("*.ipynb", "__pycache__", ".*", "progress.json", *WITH_ANSWERS)


def left_out(folder: str, names: list[str]) -> set[str]:
    """What is not copied: what is written anew, and the teacher's own answers in ``mine``."""
    own = {name for name in names if name.endswith(".py") and Path(folder).name == "mine"}
    return LEFT_OUT(folder, names) | own


def write_student(chapters: Path, folder: Path, with_notebooks: bool = True) -> None:
    """Write the chapters of a folder into another, the answers out of sight.

    Raises:
        ValueError: the folder holds something else than such chapters.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "exercises").is_dir():
        raise ValueError(f"{folder} holds no chapters but other files: move them away")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(chapters, folder, ignore=left_out)
    exercises = chapters / "exercises"
    for path in (path for pattern in WITH_ANSWERS for path in exercises.glob(pattern)):
        text = sealed(path.read_text(encoding="utf-8"))
        (folder / "exercises" / path.name).write_text(text, encoding="utf-8")
    if with_notebooks:
        for path in notebooks(chapters):
            (folder / path.name).write_text(without_outputs(path), encoding="utf-8")


def without_outputs(path: Path) -> str:
    """A notebook as nobody has run it yet: an output may show an answer."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def answered(chapters: Path) -> list[str]:
    """The exercises, "08 iou", whose stub is gone from the notebook: somebody answered them there.

    A bug hunt is answered when its function is not the one that the exercise hands out.
    """
    found = []
    for path in notebooks(chapters):
        number = path.name[:2]
        exercises = (chapters / "exercises" / f"chapter_{number}.py").read_text(encoding="utf-8")
        for kind, cell in read_cells(path):
            for name, _ in checks(cell.source) if kind == "code" else ():
                function = FUNCTION.search(cell.source)
                as_handed_out = function and function[0] in exercises
                if not STUB.search(cell.source) and not (name == "hunt" and as_handed_out):
                    found.append(f"{number} {name}")
    return found


def sealed(source: str) -> str:
    """A module of exercises that does the same and shows no answer."""
    # Python asks for these imports before all else, which a text within exec is not.
    source = re.sub(r"^from __future__ .*\n", "", source, flags=re.MULTILINE) + OUT_OF_SIGHT
    return SEALED.format(text=base64.b85encode(zlib.compress(source.encode(), 9)).decode())


if __name__ == "__main__":
    try:
        write_student(CHAPTERS, STUDENT)
    except ValueError as error:
        raise SystemExit(f"student: {error}") from None
    shutil.copyfile(ROOT / "LICENSE", STUDENT / "LICENSE")
    if own := answered(CHAPTERS):
        print(f"answered in your notebooks, and handed out so: {', '.join(own)}", file=sys.stderr)
    print(f"the chapters to hand out: {STUDENT}")
