"""For teachers: a class of hand-ins is graded, and the answers are out of sight."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from field_cases import complaint, run
from small_book import CODE, TEXT, write

from book.folders import CHAPTERS, ROOT, notebooks
from exercises.exercise import Exercise
from teaching.hand_in import Unreadable, checks, read_chapters, read_hand_in
from teaching.student import answered, write_student

CHECKS = '''
"""The exercises of a small chapter."""

from __future__ import annotations

from exercises.exercise import Exercise, Wrong


def _check_sum(answer):
    if answer != 5:
        raise Wrong("count again.")


def _check_double(answer):
    for x in (1, 2, 7):
        if answer(x) != 2 * x:
            raise Wrong(f"of {x} you return {answer(x)!r}.")


def _double_reference(x):
    return x + x


sum = Exercise("sum", _check_sum, ["2 + 3."], 5)
double = Exercise("double", _check_double, ["Add it to itself."], _double_reference)
'''
TITLE = TEXT("# 01 · Small")
IMPORT = "from exercises import chapter_01 as exercises\n\n"


def asked(answer="...", body="...", start=IMPORT):
    return [
        TITLE,
        CODE("base = 1"),
        CODE(f"{start}answer = {answer}\nexercises.sum.check(answer)"),
        CODE(f"def double(x):\n    return {body}\n\n\nexercises.double.check(double)"),
    ]


FORGED = "class Yes:\n    def check(self, answer): print('Right.')\nexercises.sum = Yes()"
HEAD, (SUM, DOUBLE) = asked()[:2], asked("5", "2 * x")[2:]
RIGHT, BLANK = "right", "unanswered"
TIME = "wrong: its cell stops with the limit of time: it does not come to an end"

# name: its cells, or its bytes; then what the two columns hold, and words of the note.
CLASS = {
    "right": (asked("5", "2 * x"), RIGHT, RIGHT, ""),
    "another-way": (asked("4 + base", "x * 2.0"), RIGHT, RIGHT, ""),
    "not-among-mine": (asked("5 + ('LIGHTHEAD_MINE' in __import__('os').environ)", "2 * x"),
                       RIGHT, RIGHT, ""),
    "wrong-sum": (asked("6", "2 * x"), "wrong: count again.", RIGHT, ""),
    "wrong-double": (asked("5", "x * x"), RIGHT, "wrong: of 1 you return 1.", ""),
    "both-wrong": (asked("23", "x"), "wrong: count again.", "wrong: of 1 you return 1.", ""),
    "wrong-and-prints": (asked("6", "print(x, end=' ') or x * x"), "wrong: count again.",
                         "wrong: of 1 you return 1.", ""),
    "blank": (asked(), BLANK, BLANK, ""),
    "first-only": (asked("5"), RIGHT, BLANK, ""),
    "second-only": (asked("...", "x + x"), BLANK, RIGHT, ""),
    "text": (asked("'5'"), "wrong: a number, please", BLANK, ""),
    "raises": (asked("5", "x / 0"), RIGHT, "wrong: it stops with ZeroDivisionError", ""),
    "syntax": (asked("5 5", "2 * x"), "wrong: its cell stops with SyntaxError", RIGHT, ""),
    "stopped-cell": (asked("1 / 0", "2 * x"), "wrong: its cell stops with Zero", RIGHT, ""),
    "endless-cell": (asked("[0 for _ in iter(int, 1)]", "2 * x"), TIME, RIGHT, ""),
    "endless-answer": (
        asked("5", "[0 for _ in iter(int, 1)]"), RIGHT, "wrong: its cell stops with the limit", ""
    ),
    "stubborn": (
        asked("5", "2 * x")[:3]
        + [CODE("while True:\n    try:\n        while True: pass\n    except BaseException: pass")]
        + [DOUBLE],
        RIGHT, "not asked: stopped after 18 s", "stopped after 18 s"
    ),
    "printing": (asked("5", "2 * x") + [CODE("while True: print('x' * 1000)")], RIGHT, RIGHT, "s"),
    "exit": (asked("5", "2 * x")[:3] + [CODE("import os; os._exit(1)"), DOUBLE], RIGHT,
             "not asked: the kernel died", "the kernel died"),
    "exit-in-answer": (asked("5", "__import__('os')._exit(3)"), RIGHT, "not asked", "died"),
    "system-exit": (asked("5", "__import__('sys').exit()"), RIGHT, "wrong: it", ""),
    "memory": (asked("len(bytearray(2**40))", "2 * x"), "wrong: its cell stops with MemoryE",
               RIGHT, ""),
    "check-taken-out": (HEAD + [CODE(IMPORT + "answer = 6"), DOUBLE],
                        "wrong: count again. (its check was taken out)", RIGHT, ""),
    "check-changed": (
        HEAD + [CODE(IMPORT + "answer = 6\nexercises.sum.check(5)"), DOUBLE],
        "wrong: count again. (its check was changed)", RIGHT, ""
    ),
    "cell-taken-out": (HEAD + [SUM], RIGHT, "unanswered (its", ""),
    "import-taken-out": (asked("5", "2 * x", start=""), RIGHT, RIGHT, ""),
    "forged": (HEAD + [CODE(IMPORT + FORGED), *asked("6", "2 * x")[2:]],
               "wrong: count again.", RIGHT, ""),
    "patched": (
        HEAD + [CODE(IMPORT + "from exercises import exercise\n"
                     "exercise.Exercise.check = lambda *a: print('Right.')\n"
                     "open('exercises/chapter_01.py', 'w').write('')"), *asked("6")[2:]],
        "wrong: count again.", BLANK, ""
    ),
    "copied-from-us": (asked("exercises.sum.reference", "2 * x"), "right (the hand-in looks at",
                       "right (the hand-in looks at", ""),
    "broken-json": (b'{"cells": [', "", "", "no notebook"),
    "empty": (b"", "", "", "no notebook"),
    "another-notebook": ([TEXT("# My diary"), CODE("1 + 1")], "", "", "no chapter"),
}  # fmt: skip


@pytest.fixture(scope="module")
def chapters(tmp_path_factory):
    """A folder of one chapter with two exercises."""
    folder = tmp_path_factory.mktemp("chapters")
    write(folder / "01_small.ipynb", *asked())
    leave = shutil.ignore_patterns("chapter_*", "__pycache__")
    shutil.copytree(CHAPTERS / "exercises", folder / "exercises", ignore=leave)
    (folder / "exercises" / "chapter_01.py").write_text(CHECKS.strip() + "\n")
    return folder


def grade_class(names, chapters, folder):
    """Hand in what these names stand for; the rows of the table, by name."""
    pytest.importorskip("nbclient", reason="no nbclient: grading runs notebooks")
    (folder / "in").mkdir()
    for name in names:
        content = CLASS[name][0]
        if isinstance(content, bytes):
            (folder / "in" / f"{name}.ipynb").write_bytes(content)
        else:
            write(folder / "in" / f"{name}.ipynb", *content)
    command = [sys.executable, "-m", "lighthead", "grade", folder / "in", "--chapters", chapters]
    command += ["--out", folder / "grades.csv", "--cell-seconds", 3, "--minutes", 0.3]
    done = subprocess.run(
        [*map(str, command), "--memory", "3"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert f"{len(names)} hand-ins" in done.stdout
    with open(folder / "grades.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[1:] == ["chapter", "right", "asked", "note", "01 sum", "01 double"]
    return {Path(row["hand-in (lighthead)"]).stem: row for row in rows}


def hold_to(name, row):
    """The row of a hand-in says what the class has in its place."""
    _, first, second, note = CLASS[name]
    for found, wanted in ((row["01 sum"], first), (row["01 double"], second)):
        assert found.startswith(wanted) and bool(found) == bool(wanted), row
        assert wanted not in (RIGHT, BLANK) or found == wanted, row
    assert note in row["note"] and bool(row["note"]) == bool(note), row
    if first:
        right = sum(text.startswith("right") for text in (row["01 sum"], row["01 double"]))
        assert (row["chapter"], row["right"], row["asked"]) == ("01", str(right), "2")


def test_some_hand_ins(chapters, tmp_path):
    names = ("right", "not-among-mine", "wrong-and-prints", "blank", "check-changed", "patched")
    names += ("exit", "broken-json")
    rows = grade_class(names, chapters, tmp_path)
    assert sorted(rows) == sorted(names)
    for name in names:
        hold_to(name, rows[name])


@pytest.mark.nightly
def test_a_whole_class(chapters, tmp_path):
    rows = grade_class(CLASS, chapters, tmp_path)
    assert len(rows) == len(CLASS) >= 30
    for name in CLASS:
        if name != "memory" or sys.platform == "linux":  # others have no such limit
            hold_to(name, rows[name])


def test_the_table_replaces_only_a_table_of_ours(capsys, chapters, tmp_path):
    (tmp_path / "01.ipynb").write_bytes(b"")
    (tmp_path / "=1+1.ipynb").write_bytes(b"")
    words = ["grade", tmp_path, "--chapters", chapters, "--out", tmp_path / "grades.csv"]
    for _ in range(2):
        assert run(capsys, *words)[0] == 0
    text = (tmp_path / "grades.csv").read_text(encoding="utf-8-sig")
    of_detect = text.replace("hand-in (lighthead)", "picture (lighthead)", 1)
    with_a_column = text.replace("note\n", "note,my remarks\n", 1)
    assert text != with_a_column
    for other in ("name,grade\nEve,A\n", of_detect, with_a_column):
        (tmp_path / "grades.csv").write_text(other, encoding="utf-8-sig")
        assert "is there already" in complaint(capsys, *words)
        assert (tmp_path / "grades.csv").read_text(encoding="utf-8-sig") == other
    assert "no chapter with exercises" in complaint(
        capsys, "grade", tmp_path, "--chapters", tmp_path / "exercises", "--out", tmp_path / "x.csv"
    )


def test_our_own_chapters_are_read():
    chapters = read_chapters(CHAPTERS)
    assert list(chapters) == [path.name[:2] for path in notebooks()]
    for path in notebooks():
        hand_in = read_hand_in(path, chapters)
        assert hand_in.notes == {}, path.name
        assert [name for cell in hand_in.cells for name in cell.exercises] == list(
            hand_in.chapter.answers
        )
    assert checks("exercises.a.check((x, y))\nother.check(1)") == [("a", "(x, y)")]
    assert checks("this is no Python") == []
    deep = "a" + ".b" * 1500
    assert checks(f"{deep}(1)\nexercises.a.check({deep})\nexercises.c.check(1)") == [("c", "1")]


def test_a_hand_in_that_is_no_file_or_no_text_is_a_row(chapters, tmp_path):
    known = read_chapters(chapters)
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "nowhere.ipynb").symlink_to(tmp_path / "none")
    (tmp_path / "endless.ipynb").symlink_to("/dev/zero")
    half = json.dumps({"cells": [{"cell_type": "code", "source": "# 01 \ud800"}]})
    (tmp_path / "half.ipynb").write_text(half)
    write(tmp_path / "long.ipynb", TITLE, CODE("x = 1\n" * 200_000))
    write(tmp_path / "again.ipynb", TEXT("exercises " * 100_000))  # at once, not in an hour
    os.mkfifo(tmp_path / "pipe.ipynb")
    for name, reason in (
        ("folder", "no ordinary file"), ("pipe", "no ordinary file"), ("half", "no notebook"),
        ("endless", "no ordinary file"), ("nowhere", "cannot be read"), ("long", "too large"),
        ("again", "no chapter"),
    ):  # fmt: skip
        with pytest.raises(Unreadable, match=reason):
            read_hand_in(tmp_path / f"{name}.ipynb", known)


def test_each_notebook_that_is_named_must_be_there(capsys, chapters, tmp_path):
    (tmp_path / "a.ipynb").write_bytes(b"")
    words = ["grade", tmp_path / "a.ipynb", tmp_path / "b.ipynb", "--chapters", chapters]
    assert "no notebook" in complaint(capsys, *words, "--out", tmp_path / "grades.csv")
    assert not (tmp_path / "grades.csv").exists()


@pytest.mark.nightly
def test_a_chapter_as_it_is_handed_out_is_unanswered(tmp_path):
    """Chapter 08, the fastest: nothing answered, and every reference as the answer right."""
    pytest.importorskip("nbclient", reason="no nbclient: grading runs notebooks")
    from teaching.kernel import Limits, grade

    (path,) = [path for path in notebooks() if path.name.startswith("08")]
    hand_in = read_hand_in(path, read_chapters(CHAPTERS))
    found, stop = grade(hand_in, CHAPTERS, Limits(60, 600, 2**32))
    assert stop == "" and set(found.values()) == {"unanswered"}


# ------------------------------------------------------------------------------ out of sight


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student") / "chapters"
    write_student(CHAPTERS, folder)
    write_student(CHAPTERS, folder)  # and once more over it
    return folder


def python(code, folder):
    """Run it in a folder, the packages being installed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_no_answer_can_be_read(handed_out):
    assert [path.name for path in notebooks(handed_out)] == [path.name for path in notebooks()]
    for path in CHAPTERS.glob("exercises/chapter_*.py"):
        text = (handed_out / "exercises" / path.name).read_text()
        assert "reference" not in text and "Wrong" not in text and len(text) > 1000
    assert not list(handed_out.rglob("__pycache__"))


def test_what_is_handed_out_checks_and_hints_but_does_not_tell(handed_out):
    code = """
import json
from exercises import chapter_01 as one
one.paths.check(45.0); one.paths.check(25.0); one.paths.check(...)
for _ in one.paths.hints: one.paths.hint()
one.paths.show_answer()
for _ in one.softplus.hints: one.softplus.hint()
one.softplus.show_answer()
"""
    done = python(code, handed_out)
    said = done.stdout.splitlines()
    assert done.stderr == "" and said[0] == "Right."
    assert said[1].startswith("Not yet: ") and said[2].startswith("Not answered yet.")
    assert said.count("The answer is with your teacher.") == 2 and "45.0" not in done.stdout
    assert not Exercise.answers_out_of_sight


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_what_is_handed_out_is_what_we_check(handed_out, path):
    """Every exercise is there, in a process that knows the folder alone."""
    code = (
        f"import json; from exercises import chapter_{path.name[:2]} as asked, exercise; "
        "print(json.dumps([name for name, each in vars(asked).items() "
        "if isinstance(each, exercise.Exercise)]))"
    )
    done = python(code, handed_out)
    asked = read_chapters(CHAPTERS)[path.name[:2]].answers  # in the order of the notebook
    assert sorted(json.loads(done.stdout)) == sorted(asked)


def test_what_somebody_answered_in_the_notebooks_is_said(tmp_path):
    assert answered(CHAPTERS) == []
    ours, out = tmp_path / "chapters", tmp_path / "out"
    shutil.copytree(CHAPTERS / "exercises", ours / "exercises")
    (path,) = [path for path in notebooks() if path.name.startswith("10")]
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = {cell["id"]: cell for cell in notebook["cells"]}
    (hunt,) = [cell for cell in cells.values() if "exercises.hunt.check(" in cell["source"][-1]]
    hunt["source"] = [
        line.replace("length // size for", "length / size for") for line in hunt["source"]
    ]
    stub = next(cell for cell in cells.values() if "...  # your answer" in "".join(cell["source"]))
    stub["source"] = [line.replace("...  # your", "7  # your") for line in stub["source"]]
    stub |= {"outputs": [{"output_type": "stream", "name": "stdout", "text": "Indeed 7!"}]}
    (ours / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    (ours / "my solutions.ipynb").write_text("{}")
    ((name, _),) = checks("".join(stub["source"]))
    assert sorted(answered(ours)) == sorted(["10 hunt", f"10 {name}"])
    write_student(ours, out)
    assert [each.name for each in out.glob("*.ipynb")] == [path.name]
    assert "Indeed 7!" not in (out / path.name).read_text(encoding="utf-8")


def test_other_files_are_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("the only copy")
    with pytest.raises(ValueError, match="move them away"):
        write_student(CHAPTERS, tmp_path)
    assert (tmp_path / "thesis.txt").exists()
