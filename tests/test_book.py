"""The book: chapters executed as a reader would, and rendered into a site."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
from nbformat.v4 import new_output
from small_book import CODE, TEXT, need_the_extra, png, small_site, write

import nn
from book import execute as executing
from book import playground
from book.folders import ROOT, notebooks
from detector.boxes import box_iou
from exercises import chapter_01
from exercises.exercise import Exercise

# ---------------------------------------------------------------------------------- executing


def test_a_chapter_runs_where_it_lies_in_a_fresh_kernel(tmp_path):
    (tmp_path / "neighbour.py").write_text("VALUE = 6\n")
    mine = CODE("import os; os.environ['LIGHTHEAD_MINE']")
    times = CODE("neighbour.VALUE * 7")
    path = write(tmp_path / "01_one.ipynb", CODE("import neighbour"), times, mine)
    execution = executing.execute(path)
    assert execution.complaints == []
    _, times, mine = (cell.outputs for cell in execution.notebook.cells)
    assert times[0].data["text/plain"] == "42"
    kept = mine[0].data["text/plain"].strip("'")  # not among the answers of who makes the book
    assert kept.endswith("mine") and kept != os.environ["LIGHTHEAD_MINE"]
    assert execution.seconds > 0 and execution.processor_seconds > 0


def test_what_a_reader_would_stumble_over(tmp_path):
    path = write(
        tmp_path / "01_one.ipynb",
        CODE("import warnings\nwarnings.warn('Old.', DeprecationWarning)"),
        CODE(
            "class exercises:\n    class sum:\n        check = print\nexercises.sum.check('Right.')"
        ),
        CODE("1 / 0"),
        CODE("exercises.sum.check(None)"),
    )
    execution = executing.execute(path)
    warned, answered, failed = execution.complaints
    assert "cell c00 writes to stderr" in warned and "DeprecationWarning: Old." in warned
    assert answered == "cell c01 asks a question that counts as answered"
    assert failed.startswith("cell c02 fails") and "1 / 0" in failed and "\x1b" not in failed
    assert execution.notebook.cells[3].outputs == []


def test_a_figure_that_cannot_be_shown_fails(tmp_path):
    # Figures are shown after their cell, which counts as executed whatever happens then.
    shy = "class Shy:\n    def _repr_html_(self):\n        return [][0]\n"
    show = "get_ipython().events.register('post_execute', lambda: display(Shy()))"
    path = write(tmp_path / "01_one.ipynb", CODE(shy + show))
    (complaint,) = executing.execute(path).complaints
    assert complaint.startswith("cell c00 fails") and "IndexError" in complaint


def test_a_chapter_that_kills_its_kernel(tmp_path):
    path = write(tmp_path / "01_one.ipynb", CODE("import os; os._exit(1)"))
    (complaint,) = executing.execute(path).complaints
    assert "died" in complaint


@pytest.mark.parametrize(
    "seconds, processor_seconds, too_slow",
    [(60, 100, False), (181, 181, True), (900, 100, False), (200, 390, True), (170, 340, False)],
)
def test_too_slow_is_fair_on_a_busy_machine(seconds, processor_seconds, too_slow, monkeypatch):
    monkeypatch.setattr(executing, "most_seconds", lambda: 180)
    execution = executing.Execution(None, seconds, processor_seconds)
    assert execution.too_slow is too_slow


@pytest.mark.parametrize("multiply_adds, limit", [(264e9, 180), (132e9, 180), (44e9, 540)])
def test_the_limit_is_fair_on_a_slow_processor(multiply_adds, limit, monkeypatch):
    peak = types.SimpleNamespace(multiply_adds_per_second=lambda: multiply_adds)
    monkeypatch.setitem(sys.modules, "support.peak", peak)
    monkeypatch.setitem(sys.modules, "support", types.SimpleNamespace(peak=peak))
    assert executing.most_seconds.__wrapped__() == limit


def test_references_are_checked(monkeypatch):
    module = types.ModuleType("exercises.chapter_99")
    module.good = Exercise("good", lambda answer: None, (), 1)
    module.bad = Exercise("bad", lambda answer: answer / 0, (), 1)
    monkeypatch.setitem(sys.modules, "exercises.chapter_99", module)
    (complaint,) = executing.refused_references("99")
    assert complaint == "exercise bad refuses its reference: ZeroDivisionError('division by zero')"


def test_only_chapters_without_complaints_are_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(executing, "EXECUTED", tmp_path / "executed")
    monkeypatch.setattr(executing, "refused_references", lambda number: [])
    good = write(tmp_path / "01_good.ipynb", CODE("print('fine')"))
    bad = write(tmp_path / "02_bad.ipynb", CODE("1 / 0"))
    assert executing.main([str(good)]) == 0
    assert executing.main([str(bad), str(good)]) == 1
    assert [path.name for path in (tmp_path / "executed").iterdir()] == ["01_good.ipynb"]
    table = capsys.readouterr().out
    assert "02_bad" in table and "FAILED" in table and "02_bad.ipynb: cell c00 fails" in table


# ---------------------------------------------------------------------------------- rendering


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return small_site(tmp_path_factory.mktemp("book"))


def test_pages(site):
    page = (site / "01_one.html").read_text(encoding="utf-8")
    assert "<title>01 · The first — lighthead</title>" in page
    assert '<h2 id="momentum">' in page and '<h2 id="momentum-2">' in page
    assert 'href="02_two.html#cost"' in page and 'rel="next" href="02_two.html"' in page
    assert 'rel="prev"' not in page
    assert "2 &lt; 3\nsecond half\nwide" in page and "\x1b" not in page
    assert 'width="720" height="240"' in page
    assert "<td>cell</td>" in page and "array([1])" in page
    assert page.count('class="formula"') == 2 and 'aria-label="v \\leftarrow \\beta v"' in page
    contents = (site / "index.html").read_text(encoding="utf-8")
    assert "What is a <em>zebra</em> &amp; why?" in contents and "Second" not in contents
    assert contents.index("01_one.html") < contents.index("02_two.html")


def test_the_index_of_the_search(site):
    text = (site / "sections.js").read_text(encoding="utf-8")
    rows = json.loads(text.removeprefix("const SECTIONS = ").rstrip(";\n"))
    assert [row[0] for row in rows] == [
        "01_one.html#top", "01_one.html#momentum", "01_one.html#momentum-2",
        "02_two.html#top", "02_two.html#cost",
    ]  # fmt: skip
    assert rows[0][1] == "01 · The first" and "What is a zebra & why?" in rows[0][3]
    assert "print('quagga')" in rows[1][3]


def test_mistakes_in_a_chapter_are_named(tmp_path):
    need_the_extra()
    from book.site import write_site

    path = write(tmp_path / "01_one.ipynb", TEXT("# 01 · One\n\n$\\frac{1}$"))
    with pytest.raises(ValueError, match=r"the formula \$\\frac\{1\}\$ cannot be set"):
        write_site([path], tmp_path / "site")
    path = write(tmp_path / "01_one.ipynb", TEXT("# One"))
    with pytest.raises(ValueError, match='must begin with "# 01 · Title"'):
        write_site([path], tmp_path / "site")


def test_a_site_replaces_a_site_only(tmp_path):
    need_the_extra()
    from book.site import write_site

    path = write(tmp_path / "01_one.ipynb", TEXT("# 01 · One"))
    for _ in range(2):
        write_site([path], tmp_path / "site")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    with pytest.raises(ValueError, match="mine holds no book"):
        write_site([path], tmp_path / "mine")
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"


def test_what_is_folded_and_what_a_figure_shows(tmp_path):
    need_the_extra()
    from book.site import read_chapter

    drawing = "figure, axis = plt.subplots()\n" + "axis.plot(x)\n" * 6 + "plt.show()"
    thinking = (
        "for step in range(9):\n    y = x\n    x = y + 1\n    y -= 1\nz = 1\nw = 2\nplt.plot(x)"
    )
    seen = {"image/png": png(90, 30), "text/plain": 'loss from 2 to 1 & "end"'}
    old = {"image/png": png(90, 30), "text/plain": "<Figure size 640x480 with 1 Axes>"}
    shown = [new_output("display_data", seen)]
    path = write(
        tmp_path / "01_one.ipynb",
        TEXT("# 01 · One"),
        CODE(drawing, outputs=shown),
        CODE("plt.plot(x)", outputs=[new_output("display_data", old)]),
        CODE(thinking, outputs=shown),
        CODE(drawing),
    )
    chapter = read_chapter(path)
    assert chapter.body.count("<details") == 1
    assert '<details class="drawing"><summary>8 lines draw this</summary>' in chapter.body
    assert 'alt="loss from 2 to 1 &amp; &quot;end&quot;"' in chapter.body
    assert 'alt="figure made by the code above"' in chapter.body
    assert chapter.figure.startswith("<img ")


def test_hints_stand_folded_in_place_of_not_answered(tmp_path):
    need_the_extra()
    from book.site import read_chapter

    said = [new_output("stream", text="Not answered yet. For a hint: ...")]
    cell = CODE("answer = ...\nexercises.paths.check(answer)", outputs=said)
    body = read_chapter(write(tmp_path / "01_one.ipynb", TEXT("# 01 · One"), cell)).body
    assert "Not answered" not in body
    assert body.count('<details class="hint">') == len(chapter_01.paths.hints)
    assert chapter_01.paths.hints[0] in body and "45" not in body
    path = write(tmp_path / "99_other.ipynb", TEXT("# 99 · Other"), cell)
    assert "Not answered" in read_chapter(path).body  # nobody's hints are known


def test_a_chapter_to_take_away_has_what_it_imports(tmp_path):
    from book.downloads import write_archive

    name = notebooks()[0].name
    for out in ("a.zip", "b.zip"):
        write_archive(name, tmp_path / out)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path)
    assert [path.name for path in notebooks(tmp_path / "chapters")] == [name]
    assert (tmp_path / "chapters" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert not list(tmp_path.rglob("*.pyc")) and not list(tmp_path.rglob("progress.json"))
    code = (
        "from support import figures; from exercises import chapter_01; chapter_01.paths.verify()"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=tmp_path / "chapters",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


# ---------------------------------------------------------------------------------- playing


def test_the_figures_to_play_with_compute_what_the_library_does():
    overlap = playground.overlap(40, -30)
    boxes = np.array([[0, 0, 120, 90], [40, -30, 160, 60]], np.float32)
    assert overlap[2] == pytest.approx(box_iou(boxes[:1], boxes[1:])[0, 0])
    weights, velocity = np.array(playground.START), np.zeros(2)
    for _ in range(playground.STEPS):
        velocity = 0.9 * velocity + 0.02 * np.array(playground.CURVATURES) * weights
        weights = weights - velocity
    assert playground.descent(0.02, 0.9)[-1] == pytest.approx(weights)
    for layers, kernel, stride in ((1, 3, 1), (3, 3, 1), (3, 3, 2), (2, 5, 2)):
        assert playground.seen(layers, kernel, stride)[-1] == neurons_seen(layers, kernel, stride)


def neurons_seen(layers, kernel, stride):
    """Counted: the inputs with a gradient from one output of convolutions of ones."""
    size = 1
    for _ in range(layers):
        size = (size - 1) * stride + kernel
    x = nn.Tensor(np.ones((1, 1, 1, size + 9), np.float32), requires_grad=True)
    y = x
    for _ in range(layers):
        ones = nn.Tensor(np.ones((1, 1, 1, kernel), np.float32))
        y = nn.functional.conv2d(y, ones, stride=(1, stride))
    y[0, 0, 0, 0].backward()
    return int((x.grad != 0).sum())


def test_what_an_exercise_says_may_be_broken_into_lines():
    need_the_extra()
    from book.cells import printed

    assert printed("Not answered yet. <why>\n") == (
        '<pre class="output said">Not answered yet. &lt;why&gt;</pre>'
    )
    assert printed("2 3\n") == '<pre class="output">2 3</pre>'
