"""Three lines of Python, in a script and in a notebook."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import detector
import nn
from detector.datasets import write_shapes
from detector.errors import UserError

SMALL = {
    "image__short_side": 48,
    "image__max_side": 96,
    "steps__epochs": 1,
    "crops__iterations": 0,
    "head__hidden_channels": 32,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_shapes(folder / "shapes", train=8, val=4)
    return detector.train(folder / "shapes", folder / "run", preset="tiny", **SMALL)


def test_a_run_and_what_it_finds(run, tmp_path):
    assert set(run.classes) == {"circle", "square", "star", "triangle"}
    assert run.figures["AP50"] is None or 0 <= run.figures["AP50"] <= 1
    (picture, *_) = sorted((run.path.parent / "shapes" / "val").glob("*.png"))
    found = run.predict(picture, score=0.0)
    assert len(found) == len(found.boxes) == len(found.names) > 0
    assert found.image.shape == (160, 160, 3) and set(found.names) <= set(run.classes)
    drawn = np.asarray(Image.open(io.BytesIO(found._repr_png_())))
    assert drawn.shape[2] == 3 and drawn.shape[0] >= 480
    again = detector.load(run.path / "best.ckpt").predict(
        np.asarray(Image.open(picture)), score=0.0
    )
    np.testing.assert_array_equal(again.boxes, found.boxes)
    assert repr(found).startswith("Found(")


def test_a_run_that_is_there_is_gone_on_with(run):
    before = nn.checkpoint.load(run.path / "last.ckpt")
    again = detector.train(run.path.parent / "shapes", run.path, preset="tiny", **SMALL)
    after = nn.checkpoint.load(again.path / "last.ckpt")
    assert after["position"]["iteration"] == before["position"]["iteration"] > 0
    for name, array in before["model"].items():
        np.testing.assert_array_equal(after["model"][name], array)


def test_mistakes_are_exceptions(tmp_path):
    with pytest.raises(UserError, match="no folder"):
        detector.train(tmp_path / "nowhere")
    with pytest.raises(UserError, match="did you mean 'tiny'"):
        detector.train("shapes", tmp_path / "run", preset="tny")
    with pytest.raises(UserError):
        detector.train("shapes", tmp_path / "run", preset="tiny", steps__epochz=3)
    with pytest.raises(UserError, match="nowhere"):
        detector.load(tmp_path / "nowhere")
    with pytest.raises(AttributeError):
        detector.no_such_thing  # noqa: B018


def test_in_a_notebook(run):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    code = (
        "import detector\n"
        f"run = detector.load({str(run.path)!r})\n"
        f"run.predict({str(next((run.path.parent / 'shapes' / 'val').glob('*.png')))!r}, 0.0)"
    )
    cells = [nbformat.v4.new_code_cell(source) for source in (code, "run.report()")]
    book = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, timeout=120).execute()
    (output,), (report,) = (cell.outputs for cell in book.cells)
    assert "<iframe" in report.data["text/html"]
    assert "image/png" in output.data and "Found(" in output.data["text/plain"]


def test_curves_grow_in_a_notebook(run, tmp_path):
    """One picture, which is replaced while the training runs and when it has ended."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    options = {**SMALL, "steps__epochs": 3}
    code = (
        "import IPython.display, detector\n"
        "from detector.training import live_curves\n"
        "live_curves.SECONDS, live_curves.MOST = 0.0, 1e9\n"
        "updates, Handle = [], IPython.display.DisplayHandle\n"
        "update = Handle.update\n"
        "Handle.update = lambda self, shown: (updates.append(shown.data), update(self, shown))\n"
        f"run = detector.train({str(run.path.parent / 'shapes')!r}, {str(tmp_path / 'run')!r}, "
        f"preset='tiny', **{options!r})\n"
        "assert len(set(updates)) > 2, len(updates)\n"
        "assert updates[-1] == (run.path / 'curves.png').read_bytes()"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(book, timeout=300).execute()
    pictures = [o for o in book.cells[0].outputs if "image/png" in o.get("data", {})]
    assert len(pictures) == 1


def test_outside_a_notebook_no_curves_are_drawn_before_the_end(run, tmp_path, monkeypatch):
    from detector.training import live_curves

    def never(*arguments):
        raise AssertionError

    monkeypatch.setattr(live_curves, "SECONDS", 0.0)
    monkeypatch.setattr(live_curves, "draw_curves", never)
    detector.train(run.path.parent / "shapes", tmp_path / "run", preset="tiny", **SMALL)
    assert (tmp_path / "run" / "curves.png").exists()


def test_importing_the_package_stays_light():
    code = (
        "import detector, sys; print('detector.runs' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
