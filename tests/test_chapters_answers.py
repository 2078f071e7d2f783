"""What the exercises reply: a table of answers, wrong and right, and the mistakes known by name."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from chapter_answers import ANSWERS, RIGHT

from book.folders import notebooks
from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong

ALL = {
    f"{path.name[:2]}.{name}": exercise
    for path in notebooks()
    for name, exercise in vars(
        importlib.import_module(f"exercises.chapter_{path.name[:2]}")
    ).items()
    if isinstance(exercise, Exercise)
}
ROWS = [
    pytest.param(name, answer, reply, id=f"{name}-{number}")
    for name, rows in ANSWERS.items()
    for number, (answer, reply) in enumerate(rows)
]
MISTAKES = [
    pytest.param(exercise, reason, mistake, id=f"{name}-{number}")
    for name, exercise in ALL.items()
    if isinstance(exercise, FunctionExercise)
    for number, (reason, mistake) in enumerate(exercise.mistakes.items())
]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("name", "answer", "reply"), ROWS)
def test_the_reply(name, answer, reply, capsys):
    ALL[name].check(answer)
    said = capsys.readouterr().out
    assert reply and reply in said and said.startswith(RIGHT if reply == RIGHT else "Not yet: ")


def test_the_table_is_large_and_has_both_kinds():
    right = [name for name, rows in ANSWERS.items() for _, reply in rows if reply == RIGHT]
    assert len(ROWS) - len(right) >= 150 and len(right) >= 65


@pytest.mark.parametrize(("exercise", "reason", "mistake"), MISTAKES)
def test_a_mistake_is_told_by_its_name(exercise, reason, mistake):
    with pytest.raises(Wrong) as refused:
        exercise._judge(mistake)
    assert str(refused.value) == reason


@pytest.mark.parametrize("name", [n for n, e in ALL.items() if callable(e.reference)])
def test_no_constant_passes(name, capsys):
    """Neither a number that is right somewhere, nor an argument handed back."""
    exercise = ALL[name]
    for answer in (0, 1, 1.0, "nc", True, [], {}, np.zeros(3), np.ones((2, 3))):
        exercise.check(lambda *given, answer=answer, **options: answer)
        assert not capsys.readouterr().out.startswith(RIGHT), answer
    # (What deceives the sum may well be what was handed in.)
    for place in (0, -1) if name != "01.deceitful_backward" else ():
        exercise.check(lambda *given, place=place, **options: given[place])
        assert not capsys.readouterr().out.startswith(RIGHT), f"argument {place}"


def test_an_answer_must_leave_its_arguments(capsys):
    def doubled(x):
        return 2 * x

    def in_place(x):
        x *= 2
        return x

    exercise = FunctionExercise("doubled", doubled, [(np.ones(2),)], {}, "?", "Right, indeed.")
    for answer, reply in (
        (in_place, "Not yet: your function changes what it is given."),
        (doubled, "Right, indeed."),
        (lambda x: x, "Not yet: for x = [1., 1.] you return [1., 1.], not [2., 2.]."),
        (7, "Not yet: the answer is a function"),
        (lambda x: 1 / 0, "Not yet: it stops with ZeroDivisionError"),
    ):
        exercise.check(answer)
        assert capsys.readouterr().out.startswith(reply)


def test_what_was_wrong_before_an_error_says_more(capsys):
    def answer(x):
        return 3 if x == 1 else 1 / 0

    exercise = FunctionExercise(
        "x", lambda x: x, [(1,), (2,)], {"times three.": lambda x: 3 * x}, "?"
    )
    exercise.check(answer)
    assert capsys.readouterr().out == "Not yet: times three.\n"
