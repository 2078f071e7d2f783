"""What carries the chapters: exercises that check themselves, pictures, boxes in figures."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from book.folders import CHAPTERS
from exercises.exercise import Exercise, Wrong
from support import figures, photographs


def doubled(x):
    return 2 * x


def check_doubled(answer):
    if answer(3) == 3:
        raise Wrong("the factor is missing.")
    if answer(3) != 6:
        raise Wrong("3 doubled is 6.")


@pytest.fixture
def exercise():
    return Exercise("double", check=check_doubled, hints=("Add.", "Twice."), reference=doubled)


def said(capsys, exercise, answer):
    exercise.check(answer)
    return capsys.readouterr().out.strip()


def test_a_right_answer(capsys, exercise):
    assert said(capsys, exercise, lambda x: x + x) == "Right."
    exercise.verify()
    assert capsys.readouterr().out == ""


def test_a_check_may_have_its_own_sentence(capsys):
    exercise = Exercise("number", lambda answer: f"{answer} it is.", (), 7)
    assert said(capsys, exercise, 7) == "7 it is."


def test_a_wrong_answer_is_told_why(capsys, exercise):
    assert said(capsys, exercise, lambda x: x) == "Not yet: the factor is missing."
    assert said(capsys, exercise, lambda x: 7) == "Not yet: 3 doubled is 6."


def stub(x): ...  # your answer


def stub_that_returns(x):
    return ..., x


class Stub:
    def forward(self, x):
        """Twice x."""
        ...


class Half:
    def __init__(self):
        self.factor = 2

    def forward(self, x): ...


@pytest.mark.parametrize("answer", [..., None, (..., 1), stub, stub_that_returns, Stub, Half])
def test_a_stub_is_not_answered(capsys, exercise, answer):
    expected = "Not answered yet. For a hint: exercises.double.hint()"
    assert said(capsys, exercise, answer) == expected


def test_a_check_that_catches_errors_lets_the_stub_pass(capsys):
    def check(answer):
        try:
            answer(1)
        except Exception:
            raise Wrong("it fails.") from None

    exercise = Exercise("caught", check, (), doubled)
    assert said(capsys, exercise, stub).startswith("Not answered yet")


def test_arrays_and_classes_are_answers(capsys):
    class Twice:
        def forward(self, x):
            return 2 * x

    array = Exercise("array", lambda answer: answer.sum() and None, (), np.ones(3))
    kind = Exercise("kind", lambda answer: f"{answer().forward(3)}", (), Twice)
    pair = Exercise("pair", lambda answer: None, (), (np.ones(3), np.ones(2)))
    assert said(capsys, array, np.ones(3)) == "Right."
    assert said(capsys, kind, Twice) == "6"
    assert said(capsys, pair, pair.reference) == "Right."


def test_an_answer_that_raises_is_explained_in_one_line(capsys, exercise):
    def answer(x):
        return np.ones(2) @ np.ones(3)

    text = said(capsys, exercise, answer)
    assert text.startswith("Not yet: it stops with ValueError: matmul") and "\n" not in text
    assert f"(line {answer.__code__.co_firstlineno + 1} of your cell)" in text
    assert said(capsys, exercise, 5).startswith("Not yet: it stops with TypeError: 'int' object")


def test_hints_come_before_the_answer(capsys, exercise):
    exercise.show_answer()
    exercise.hint()
    exercise.show_answer()
    exercise.hint()
    exercise.hint()
    exercise.show_answer()
    assert capsys.readouterr().out.splitlines() == [
        "There are 2 more hints before the answer: exercises.double.hint()",
        "Hint 1 of 2: Add.",
        "There is one more hint before the answer: exercises.double.hint()",
        "Hint 2 of 2: Twice.",
        "There are no more hints. For an answer: exercises.double.show_answer()",
        "def doubled(x):",
        "    return 2 * x",
    ]


def test_the_answer_to_a_question_for_a_value(capsys):
    Exercise("shape", lambda answer: None, (), (1, 2)).show_answer()
    assert capsys.readouterr().out == "(1, 2)\n"


@pytest.mark.parametrize("reference", [stub, ...])
def test_a_reference_must_be_an_answer(reference):
    with pytest.raises(Wrong, match="counts as not answered"):
        Exercise("bad", check_doubled, (), reference).verify()


def test_a_wrong_reference_is_found():
    with pytest.raises(Wrong, match="factor"):
        Exercise("bad", check_doubled, (), lambda x: x).verify()


@pytest.mark.parametrize("kind", ["coco", "bccd"])
def test_pictures_with_boxes(kind):
    pictures = photographs.with_boxes(3, kind)
    for (image, boxes, names), plain in zip(pictures, photographs.load(3, kind), strict=True):
        assert image.dtype == np.uint8 and image.shape[2:] == (3,)
        assert boxes.dtype == np.float32 and boxes.shape == (len(names), 4) and len(names)
        assert all(isinstance(name, str) for name in names)
        height, width = image.shape[:2]
        assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
        np.testing.assert_array_equal(image, plain)
    assert photographs.source.startswith("The pictures are ")


def test_shapes_stand_in_for_photographs(monkeypatch, tmp_path):
    monkeypatch.setattr(photographs, "_root", tmp_path)
    (image, boxes, names), *rest = photographs.with_boxes(4)
    assert image.shape == (320, 320, 3) and len(rest) == 3
    assert set(names) <= {"circle", "square", "triangle", "star"} and len(boxes) == len(names)


def test_photographs_that_are_not_there():
    with pytest.raises(ValueError, match="coco and bccd, not of 'cats'"):
        photographs.load(1, "cats")


def lightness(color):
    """Y of CIE 1931, which grey print keeps."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 116 * np.dot([0.2126, 0.7152, 0.0722], linear) ** (1 / 3) - 16


def test_colours_differ_in_grey():
    assert len(figures.GREYS) == len(figures.LINES)
    assert (np.diff([lightness(color) for color in figures.GREYS]) > 10).all()


def test_boxes_are_drawn_where_they_are():
    from matplotlib.figure import Figure

    axis = Figure().subplots()
    image = np.zeros((40, 60, 3), np.uint8)
    figures.show_boxes(axis, image, np.array([[-3, 5, 25, 30.5], [0, 0, 9, 9]]), ["a", "b"])
    first = axis.patches[0]
    assert first.get_bbox().extents.tolist() == [-3, 5, 25, 30.5]
    assert [text.get_text() for text in axis.texts] == ["a", "b"]
    assert axis.get_xlim() == (0, 60) and axis.get_ylim() == (40, 0)
    with pytest.raises(ValueError, match=r"\(2, 5\)"):
        figures.show_boxes(axis, image, np.zeros((2, 5)))
    with pytest.raises(ValueError, match="R texts or none: 1"):
        figures.show_boxes(axis, image, np.zeros((2, 4)), ["a"])


def test_a_figure_says_what_it_shows():
    from matplotlib.figure import Figure

    from support.seeing import describe

    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.plot([1, 2, 3], [8.0, 4.0, 2.5], label="with $\\beta$")
    left.plot([1, 2], [0, 0])
    left.set(title="Losses", xlabel="step", ylabel="loss")
    right.bar(["a", "b"], [1, 20.25])
    right.text(0, 1, "here")
    assert describe(figure) == (
        "2 panels. 1: Losses, across step, up loss: with \\beta from 8 at 1 to 2.5 at 3; "
        "1 more line. 2: a 1, b 20.2; marked here."
    )
    three = Figure()
    counted, alone, grouped = three.subplots(1, 3)
    counted.set(xticks=[0, 2, 4])  # as many as bars, and names of none
    counted.bar([0.5, 1.5, 2.5], [7, 8, 9])
    for row, size in ((1, 5), (0, 6)):
        alone.barh(row, size)
    alone.set(yticks=[0, 1], yticklabels=["first", "second"])
    for shift, sizes, label in ((-0.2, [1, 2], "before"), (0.2, [3, 4], "after")):
        grouped.bar(np.arange(2) + shift, sizes, width=0.38, label=label)
    grouped.set(xticks=[0, 1], xticklabels=["a", "b"])
    assert describe(three) == (
        "3 panels. 1: 3 bars from 7 to 9. 2: second 5; first 6. "
        "3: before: a 1, b 2; after: a 3, b 4."
    )
    shared = Figure()
    for axis in shared.subplots(1, 2, sharey=True):  # the second hides the labels of its ticks
        axis.barh(["a", "b"], [1, 2])
    assert describe(shared) == "2 panels, each: a 1, b 2."
    figures.show_boxes(Figure().subplots(), np.zeros((40, 60)), np.zeros((0, 4)))
    assert describe(Figure()) == "An empty figure."
    many = Figure()
    for axis in many.subplots(3, 3).ravel():
        axis.imshow(np.zeros((4, 6)))
    assert describe(many) == "9 panels, each: a picture of 6 by 4."
    crowd = Figure()
    for index in range(400):
        crowd.gca().plot([0, 1], [index, 1], label=f"a long name {index}" * 40)
    assert len(describe(crowd)) <= 700 and describe(crowd).endswith(" ...")


THREADS = """
import os
{begin}
import numpy as np
square = np.ones((700, 700), np.float32)
for _ in range(3):
    square @ square
print(len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_one_thread_holds_numpy_too():
    """Counted by the system: another thread of NumPy's or Numba's would be in the list."""
    begin = "from support.threads import one_thread\none_thread()\none_thread()"
    assert chapter_says(THREADS.format(begin=begin)) == "1\n"


def test_one_thread_is_the_first_thing_to_ask_for():
    program = "import numpy\nfrom support.threads import one_thread\none_thread()"
    with pytest.raises(subprocess.CalledProcessError) as failed:
        chapter_says(program)
    assert "restart the kernel and run this cell first" in failed.value.stderr


def chapter_says(program):
    """What a program prints whose NumPy may use as many threads as it likes."""
    free = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    command = [sys.executable, "-c", program]
    free["PYTHONPATH"] = os.pathsep.join((str(CHAPTERS), str(CHAPTERS.parent)))
    return subprocess.run(command, env=free, capture_output=True, text=True, check=True).stdout
