"""Progress is remembered, and stops no check."""

from __future__ import annotations

import json
import sys
import types

import pytest

from book.folders import ROOT
from detector.training.live_curves import in_kernel
from exercises import progress
from exercises.exercise import Exercise


def accept(answer):
    """A check that takes anything."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two chapters with three exercises, in a notebook's kernel."""
    for name, asked in (("01_one", "ab"), ("02_two", "c")):
        text = "".join(f"exercises.{letter}.check(x) " for letter in asked)
        (tmp_path / f"{name}.ipynb").write_text(text)
    monkeypatch.setattr(progress, "CHAPTERS", tmp_path)
    monkeypatch.setattr(progress, "in_kernel", lambda: True)
    return tmp_path


@pytest.fixture
def answer(capsys, monkeypatch):
    """Answer an exercise of a chapter; what it prints, line by line."""

    def ask(number, name, value=1):
        module = types.ModuleType(f"exercises.chapter_{number}")
        exercise = Exercise(name, accept, ["None."], 1)
        setattr(module, name, exercise)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exercise.check(value)
        return capsys.readouterr().out.splitlines()

    return ask


def test_it_counts_what_was_accepted(folder, answer):
    assert answer("01", "a") == ["Right.", "1 of 3 exercises."]
    assert answer("02", "c") == ["Right.", "2 of 3 exercises."]
    assert answer("01", "a") == ["Right.", "2 of 3 exercises."]
    assert json.loads((folder / "progress.json").read_text()) == {"01": ["a"], "02": ["c"]}
    assert len(answer("01", "b", ...)) == 1 and "..." not in (folder / "progress.json").read_text()
    assert [path.name for path in folder.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize(
    "content",
    ["[]", "{", '{"01": 3}', "3", '{"01": [[]]}', '"text"', '{"name": ["Eve"]}', '{"01": "b"}'],
)
def test_a_file_that_is_none_of_ours_is_left_alone(folder, answer, content):
    (folder / "progress.json").write_text(content)
    assert answer("01", "a")[0] == "Right."
    assert (folder / "progress.json").read_text() == content


def test_an_exercise_that_is_gone_is_not_counted_and_not_forgotten(folder, answer):
    (folder / "progress.json").write_text('{"01": ["a", "gone"], "77": ["x"]}')
    assert answer("01", "b") == ["Right.", "2 of 3 exercises."]
    kept = json.loads((folder / "progress.json").read_text())
    assert kept == {"01": ["a", "b", "gone"], "77": ["x"]}


def test_where_nothing_can_be_written_the_check_says_what_it_has_to(folder, answer):
    (folder / "progress.json").mkdir()
    assert answer("01", "a") == ["Right."]
    (folder / "01_one.ipynb").write_bytes(b"\xff")
    assert answer("01", "a") == ["Right."]


def test_outside_of_a_notebook_nothing_is_kept(folder, answer, monkeypatch):
    monkeypatch.setattr(progress, "in_kernel", in_kernel)
    pytest.importorskip("ipykernel.kernelapp")  # who imports it is no kernel
    assert answer("01", "a") == ["Right."]
    assert not (folder / "progress.json").exists()
    assert answer("03", "other") == ["Right."]


def test_the_teachers_page_knows_how_many_there_are():
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    assert f"of {sum(map(len, progress.exercises().values()))} exercises" in text
