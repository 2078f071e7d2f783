"""The bug hunts: what is handed out is refused with the test that caught it, mended it passes."""

from __future__ import annotations

import copy
import importlib
import inspect
import re

import nbformat
import numpy as np
import pytest

from book.folders import notebooks
from exercises.difference import first_difference
from exercises.hunt import Hunt

HUNTS = {
    path: importlib.import_module(f"exercises.chapter_{path.name[:2]}") for path in notebooks()
}
every_hunt = pytest.mark.parametrize(
    ("path", "hunt"), [(path, module.hunt) for path, module in HUNTS.items()], ids=lambda x: ""
)


def compiled(text, hunt):
    names = {"np": np}  # the notebook's: what is handed out needs nothing else
    exec(text, names)
    return names[hunt.reference.__name__]


@every_hunt
def test_the_notebook_hands_out_the_function_with_the_mistake(path, hunt):
    cells = nbformat.read(path, as_version=4).cells
    (cell,) = [c for c in cells if "exercises.hunt.check(" in c.source]
    assert hunt.handed_out.strip() in cell.source
    assert cell.source.endswith(f"exercises.hunt.check({hunt.reference.__name__})")


@every_hunt
def test_handed_out_is_not_answered_and_says_what_caught_it(path, hunt, capsys):
    hunt.check(compiled(hunt.handed_out, hunt))
    said = capsys.readouterr().out
    assert said.startswith("Not answered yet. A mistake is still in it: the test “"), said
    assert "catches it. For " in said and len(said.splitlines()) == 1
    assert re.search(r"“(.+?)”", said)[1] in hunt.tests


@every_hunt
def test_most_tests_pass_with_the_mistake(path, hunt):
    """Or else there would be nothing to hunt for."""
    broken, passed = compiled(hunt.handed_out, hunt), 0
    for arguments in hunt.tests.values():
        ours, theirs = copy.deepcopy(arguments), copy.deepcopy(arguments)
        try:
            passed += not first_difference([broken(*ours), ours], [hunt.reference(*theirs), theirs])
        except ConnectionError:
            pass
    assert len(hunt.tests) / 2 <= passed < len(hunt.tests)


@every_hunt
def test_the_mended_function_is_accepted(path, hunt, capsys):
    hunt.check(compiled(inspect.getsource(hunt.reference), hunt))
    assert capsys.readouterr().out == f"Right: all {len(hunt.tests)} tests pass.\n"


@every_hunt
def test_another_change_is_an_answer_and_a_wrong_one(path, hunt, capsys):
    hunt.check(compiled(hunt.handed_out.replace('"""\n', '"""\n    _ = "a change"\n', 1), hunt))
    assert capsys.readouterr().out.startswith("Not yet: the test “")


@every_hunt
def test_a_comment_is_no_answer(path, hunt, capsys):
    hunt.check(compiled("# I looked at it\n" + hunt.handed_out, hunt))
    assert capsys.readouterr().out.startswith("Not answered yet.")


@every_hunt
def test_what_one_test_wants_is_no_answer_to_all(path, hunt, capsys):
    for arguments in hunt.tests.values():
        constant = hunt.reference(*copy.deepcopy(arguments))
        hunt.check(lambda *given, constant=constant: constant)
        assert capsys.readouterr().out.startswith("Not yet: the test “")


def test_the_librarys_function_is_refused(capsys):
    from detector.boxes import nms

    def suppressed(overlap, scores, threshold):
        nms(np.zeros((len(scores), 4)), scores, threshold)
        return hunt.reference(overlap, scores, threshold)

    hunt = HUNTS[notebooks()[7]].hunt
    hunt.check(suppressed)
    assert "that is the library's" in capsys.readouterr().out


DOUBLED = """
def doubled(x, times):
    return x * 2 * times
"""
TESTS = {"a": (np.ones(2), 1), "b": (np.ones(2), 3)}
SMALL = Hunt(DOUBLED, ("2 * times", "2**times"), TESTS, ["Try 3."])


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (lambda x, times: x * 2**times, "Right: all 2 tests pass."),
        (lambda x, times: np.ldexp(x, times), "Right"),
        (lambda x, times: (x * 2**times).tolist(), "Right"),
        (
            lambda x, times: x * 6,
            "“a” catches it. For x = [1., 1.], times = 1 it returns [6., 6.],",
        ),
        (lambda x, times: x[:1] * 2**times, "it returns [2.], not [2., 2.]."),
        (lambda x, times: x + undefined, "stops with NameError: name 'undefined'"),  # noqa: F821
        (lambda x: x, "stops with TypeError"),
        (lambda x, times: np.multiply(x, 2**times, out=x), "it leaves x = [2., 2.], not [1., 1.]."),
        (7, "pass the function itself: doubled"),
        (..., "Not answered yet. For a hint"),
    ],
)
def test_what_a_hunt_says(answer, reply, capsys):
    SMALL.check(answer)
    assert reply in capsys.readouterr().out


@pytest.mark.parametrize(("piece", "times"), [("3", 0), ("times", 2)])
def test_what_is_mended_must_be_there_once(piece, times):
    with pytest.raises(ValueError, match=f"{times} times in the text: '{piece}'"):
        Hunt(DOUBLED, (piece, ""), TESTS, [])


def test_the_answer_is_shown_as_any_other(capsys):
    SMALL.hint()
    SMALL.show_answer()
    assert capsys.readouterr().out.endswith("def doubled(x, times):\n    return x * 2**times\n")


def test_the_text_of_the_module_is_not_needed(capsys):
    """Chapters may be handed out with their answers out of sight."""
    names = {"Hunt": Hunt, "DOUBLED": DOUBLED, "TESTS": TESTS}
    exec("hunt = Hunt(DOUBLED, ('2 * times', '2**times'), TESTS, ['Try 3.'])", names)
    names["hunt"].check(compiled(DOUBLED, SMALL))
    assert capsys.readouterr().out.startswith("Not answered yet. A mistake is still in it")


@pytest.mark.parametrize(
    ("got", "wanted", "said"),
    [
        (1, 1.0, ""),
        (np.float32(0.5), 0.5, ""),
        ([1, 2], np.array([1, 2]), ""),
        ("ab", "ac", "'ab', not 'ac'"),
        (None, 1, "None, not 1"),
        ({"a": 1}, {"a": 1, "b": 2}, "{'a': 1}, not {'a': 1, 'b': 2}"),
        ({"b": 1}, {"a": 1}, "{'b': 1}, not {'a': 1}"),
        ({1, 2}, {2, 1}, ""),
        (np.zeros((30, 2)), np.eye(30)[:, :2], "0 at [0, 0], not 1"),
        (np.array(["a"]), np.array(["b"]), "['a'], not ['b']"),
        (float("nan"), float("nan"), ""),
        (65.97, 65.9657284, "65.97, not 65.9657284"),
        (np.array([1.0001]), np.array([1.00013]), "[1.0001], not [1.00013]"),
    ],
)
def test_the_first_difference(got, wanted, said):
    assert first_difference(got, wanted) == said
