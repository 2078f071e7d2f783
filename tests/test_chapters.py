"""The chapters as files: what is stored, how cells look, links, formulas, exercises.

That they run is for ``make chapters`` to find out; nothing here executes a chapter.
"""

from __future__ import annotations

import ast
import importlib
import json
import re

import nbformat
import pytest
from small_book import need_the_extra

from book.folders import CHAPTERS, notebooks
from exercises.exercise import Exercise

NOTEBOOKS = notebooks()
README = (CHAPTERS / "README.md").read_text(encoding="utf-8")
LISTED = re.findall(r"\| (\d\d) \| \[([^]]+)\]\((\w+\.ipynb)\)", README)
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def cells(path, kind):
    return [cell for cell in read(path).cells if cell.cell_type == kind]


def test_the_list_of_the_chapters():
    assert [number for number, _, _ in LISTED] == [f"{number:02}" for number in range(1, 17)]
    assert [path.name for path in NOTEBOOKS] == [name for _, _, name in LISTED]


@every_notebook
def test_nothing_is_stored_that_running_makes(path):
    notebook = read(path)
    for cell in notebook.cells:
        assert cell.cell_type in ("markdown", "code") and cell.metadata == {}, cell.id
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, f"{cell.id}: clear outputs"
    assert notebook.metadata.kernelspec.name == "python3"
    # One line of the file for a line of a cell: a change of one word is a change of one line.
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert all(isinstance(cell["source"], list) for cell in stored["cells"])


@every_notebook
def test_the_format(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9-]{2,10}", name) for name in ids), ids


@every_notebook
def test_a_chapter_begins_with_its_title_as_listed(path):
    number, title = {name: (number, title) for number, title, name in LISTED}[path.name]
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.splitlines()[0] == f"# {number} · {title}"


@every_notebook
def test_one_cell_is_one_step(path):
    for cell in cells(path, "code"):
        lines = cell.source.splitlines()
        assert lines and len(lines) <= 45, f"{cell.id} has {len(lines)} lines"
        assert max(map(len, lines)) <= 100, cell.id
        ast.parse(cell.source)


@every_notebook
def test_a_chapter_begins_with_one_thread(path):
    """Before NumPy is imported; threads are the subject of chapter 13 alone."""
    first, *rest = [cell.source for cell in cells(path, "code")]
    assert re.match(r"from support.threads import one_thread\n\none_thread\(\)", first)
    more = re.findall(r"\b(?:use_|set_num_)threads\(", "\n".join(rest))
    assert bool(more) == (path.name[:2] == "13")


@every_notebook
def test_links_lead_somewhere(path):
    for cell in cells(path, "markdown"):
        for link in re.findall(r"\]\(([^)\s]+)\)", without_code(cell.source)):
            if not link.startswith(("https://", "#")):
                assert (path.parent / link.partition("#")[0]).exists(), f"{cell.id}: {link}"


def without_code(markdown):
    return re.sub(r"```.*?```|`[^`]*`", "", markdown, flags=re.DOTALL)


@every_notebook
def test_prose_can_be_rendered(path):
    """Formulas above all: each is set as the book sets it."""
    need_the_extra()
    from book.prose import Prose

    prose = Prose(path.stem)
    for cell in cells(path, "markdown"):
        text = prose.render(cell.source)
        assert "$" not in re.sub(r"<(code|pre|svg).*?</\1>", "", text, flags=re.DOTALL), cell.id
    # Of two sections with one name the contents would not say which is which.
    titles = [section.title for section in prose.sections]
    assert len(set(titles)) == len(titles)


@every_notebook
def test_open_questions_stand_at_the_end_and_say_that_they_are(path):
    (cell,) = [c for c in cells(path, "markdown") if c.source.startswith("## Open questions")]
    assert "Nobody checks these" in cell.source and 3 <= cell.source.count("\n- ") <= 5
    sources = [each.source for each in read(path).cells]
    last_check = max(i for i, source in enumerate(sources) if ".check(" in source)
    assert sources.index(cell.source) > last_check


# ---------------------------------------------------------------------------------- exercises


def exercises(path):
    module = importlib.import_module(f"exercises.chapter_{path.name[:2]}")
    return {name: each for name, each in vars(module).items() if isinstance(each, Exercise)}


def questions(path):
    """The exercise cells: every code cell that has an answer checked."""
    return [
        cell for cell in cells(path, "code") if re.search(r"\bexercises\.\w+\.check\(", cell.source)
    ]


@every_notebook
def test_exercises_and_questions_belong_together(path):
    asked = [
        name
        for cell in questions(path)
        for name in re.findall(r"exercises\.(\w+)\.check", cell.source)
    ]
    assert 4 <= len(asked) <= 8 and sorted(asked) == sorted(exercises(path))
    for name, exercise in exercises(path).items():
        assert exercise.name == name and exercise.hints


@every_notebook
def test_references_are_accepted(path, capsys):
    for exercise in exercises(path).values():
        exercise.verify()
    assert capsys.readouterr().out == ""


@every_notebook
def test_stubs_are_not_answered(path, capsys, monkeypatch):
    monkeypatch.chdir(CHAPTERS)
    imports = [
        node
        for cell in cells(path, "code")
        for node in ast.parse(cell.source).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    names = {}
    exec(compile(ast.Module(imports, []), path.name, "exec"), names)
    for cell in questions(path):
        exec(cell.source, names)
        said = capsys.readouterr().out.strip().splitlines()
        assert said and all(line.startswith("Not answered yet.") for line in said), cell.id


def returns_nonsense(*arguments, **options):
    return "nonsense"


def fails(*arguments, **options):
    raise ZeroDivisionError("on purpose")


@every_notebook
def test_wrong_answers_are_told_why(path, capsys):
    for name, exercise in exercises(path).items():
        for answer in (returns_nonsense, fails, "nonsense", -12345.678, object()):
            exercise.check(answer)
            said = capsys.readouterr().out.strip()
            assert said.startswith("Not yet: ") and len(said) > 20, f"{name}, {answer!r}: {said}"
            assert len(said.splitlines()) == 1, f"{name}, {answer!r}: {said}"


@every_notebook
def test_hints_lead_to_the_answer(path, capsys):
    for exercise in exercises(path).values():
        for _ in exercise.hints:
            exercise.hint()
        exercise.show_answer()
        answer = capsys.readouterr().out.splitlines()[len(exercise.hints) :]
        assert answer and "show_answer" not in answer[0]
