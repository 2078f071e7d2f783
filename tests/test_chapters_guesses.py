"""Before you run it: what a guess says, and that none stops a chapter."""

from __future__ import annotations

import re

import nbformat
import numpy as np
import pytest

from book.folders import notebooks
from exercises.guess import guess

GUESS = re.compile(r"^(\w+) = guess\(", re.MULTILINE)
BESIDE = re.compile(r"^(\w+)\.beside\(", re.MULTILINE)


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_each_guess_is_asked_before_it_is_answered(path, capsys):
    asked, answered = [], []
    cells = nbformat.read(path, as_version=4).cells
    for before, cell in zip(cells, cells[1:], strict=False):
        if cell.cell_type != "code":
            continue
        asked += GUESS.findall(cell.source)
        answered += BESIDE.findall(cell.source)
        assert set(answered) <= set(asked), cell.id
        if GUESS.search(cell.source):
            exec(cell.source, {"guess": guess})
            assert capsys.readouterr().out == "" and before.cell_type == "markdown"
            assert before.source.startswith("**Before you run it.** ")
    assert asked and sorted(asked) == sorted(answered) and len(set(asked)) == len(asked)


def test_there_are_thirty():
    sources = [c.source for path in notebooks() for c in nbformat.read(path, as_version=4).cells]
    assert sum(len(GUESS.findall(source)) for source in sources) >= 30


@pytest.mark.parametrize(
    ("answer", "result", "said"),
    [
        (..., 262144, "The answer to the question above: 262,144."),
        (None, 0.5, "The answer to the question above: 0.5."),
        (100, 262144, "You guessed 100. It is 262,144, 2,621 times as much."),
        (8, 2, "You guessed 8. It is 2, 4 times as little."),
        (10, np.float32(10.5), "You guessed 10. It is 10.5: within a tenth."),
        (7, np.int64(7), "You guessed 7. It is 7: right!"),
        ("12 %", 12.0, "You guessed 12. It is 12: right!"),
        ("1,000", 1000, "You guessed 1,000. It is 1,000: right!"),
        ("0,5", 0.5, "The answer to the question above: 0.5."),
        (5, 0, "You guessed 5. It is 0, 5 less."),
        (0, 5, "You guessed 0. It is 5, 5 more."),
        (-1, 2, "You guessed -1. It is 2, 3 more."),
        (float("nan"), 2, "The answer to the question above: 2."),
        (1e400, 2, "The answer to the question above: 2."),
        ("many", 2, "The answer to the question above: 2."),
        ([1, 2], 2, "The answer to the question above: 2."),
        (np.ones(3), 2, "The answer to the question above: 2."),
        (True, 2, "The answer to the question above: 2."),
        (3, 0.00013, "You guessed 3. It is 0.00013, 23,077 times as little."),
    ],
)
def test_a_number(answer, result, said, capsys):
    asked = guess(answer)
    capsys.readouterr()
    asked.beside(result)
    assert capsys.readouterr().out == said + "\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("no", "You guessed no. It is no: right!"),
        (" Yes ", "You guessed yes. It is no."),
        (..., "The answer to the question above: no."),
        ("perhaps", "The answer to the question above: no."),
        (1, "The answer to the question above: no."),
    ],
)
def test_a_choice(answer, said, capsys):
    asked = guess(answer, "yes", "no")
    capsys.readouterr()
    asked.beside("no")
    assert capsys.readouterr().out == said + "\n"


def test_what_is_no_guess_is_told_so(capsys):
    guess()
    guess(..., "yes", "no")
    guess(12)
    guess("many")
    guess("perhaps", "yes", "no")
    guess(18, 0).beside(18000)
    guess(5).beside("yes")
    assert capsys.readouterr().out.splitlines() == [
        "No guess: 'many' is not a number. (You may go on all the same.)",
        "No guess: 'perhaps' is not one of 'yes', 'no'. (You may go on all the same.)",
        "No guess: (18, 0) is not a number. (You may go on all the same.)",
        "The answer to the question above: 18,000.",
        "The answer to the question above: yes.",
    ]


def test_a_result_that_nobody_could_choose_is_the_chapters_mistake():
    with pytest.raises(ValueError, match="'maybe' is none of yes, no"):
        guess("no", "yes", "no").beside("maybe")
