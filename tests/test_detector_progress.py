"""The time left: from what its parts took, neither from compilations nor from validations."""

from __future__ import annotations

import io
import re

import pytest
import standin_detector as standin

from detector import progress
from detector.progress import Progress, Stopwatch, format_seconds, typical
from nn.kernels.machine import notice


class Clock:
    """Stands for the time: ``seconds`` pass when told so, ``compiling`` of them in the compiler."""

    def __init__(self, monkeypatch):
        self.now = self.compiled = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(progress, "seconds_compiling", lambda: self.compiled)

    def passes(self, seconds: float, compiling: float = 0.0) -> None:
        self.now += seconds
        self.compiled += compiling


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    "durations, step",
    [
        ([], None),
        ([90.0, 2.0], None),
        ([90.0, 2.0, 2.0], 2.0),
        ([2.0, 4.0, 3.0, 2.0], 2.5),
        ([1.0] * 30 + [60.0] * 20, 1.0),
    ],
)
def test_a_typical_step(durations, step):
    assert typical(durations) == step


def test_a_stopwatch_leaves_compilations_out(clock):
    watch = Stopwatch()
    clock.passes(100.0, compiling=97.0)
    assert watch.lap() == 3.0
    clock.passes(2.0)
    assert watch.lap() == 2.0


def test_the_first_lines_know_nothing_of_the_compilation(clock, capsys):
    """As reported: "1/520 it, 35:54:25 left", because the first step had compiled for minutes."""
    with Progress("training", 520) as bar:
        for seconds, compiling in ((250.0, 240.0), (31.0, 0.0), (31.0, 0.0), (31.0, 0.0)):
            clock.passes(seconds, compiling)
            bar.step("loss 1.000")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        f"training: {done}/520 it, time left not known yet, loss 1.000" for done in (1, 2)
    ]
    assert lines[3] == f"training: 4/520 it, {format_seconds(516 * 31)} left, loss 1.000"


def test_a_webcam_has_no_end(clock, monkeypatch, capsys):
    with Progress("detecting", None, unit="images") as bar:
        for _ in range(4):
            clock.passes(31.0)
            bar.step()
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "detecting: 4 images, time left not known"
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    with Progress("detecting", None, unit="images") as bar:
        bar.step()
        bar.bar.refresh()
        assert "1/? images [" in terminal.getvalue().split("\r")[-1]


def test_a_video_may_have_more_frames_than_it_says(clock):
    bar = Progress("detecting", 3)
    for _ in range(5):
        clock.passes(1.0)
        bar.step()
    assert bar.time_left() == "0:00 left"


def test_only_the_last_steps_count(clock):
    bar = Progress("training", 1000)
    for seconds in [1.0] * 100 + [3.0] * 50:
        clock.passes(seconds)
        bar.step()
    assert bar.time_left() == f"{format_seconds(850 * 3)} left"


def test_what_is_skipped_is_no_step(clock):
    bar = Progress("training", 10)
    for _ in range(5):
        clock.passes(2.0)
        bar.step()
        clock.passes(1000.0)
        bar.skip()
    assert bar.time_left() == "0:10 left"


def test_several_steps_at_once_and_steps_taken_back(clock):
    """A parameter server that was restarted may send its sites back."""
    bar = Progress("site", 20)
    for count in (2, 4, 4, -4, 0):
        clock.passes(2.0 * max(count, 3))
        bar.step(count=count)
    assert bar.done == 6 and bar.time_left() == "0:28 left"


def test_the_bar_says_the_same_as_the_lines(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    with Progress("training", 8, besides=lambda step: 100 * step) as bar:
        for _ in range(4):
            clock.passes(3.0)
            bar.step("loss 2.000")
        bar.bar.refresh()
        assert terminal.getvalue().split("\r")[-1].endswith("5:12 left, loss 2.000]")
        assert re.search(r"4/8 it \[", terminal.getvalue())


def test_compilations_are_timed():
    import numba

    before = notice.seconds_compiling()
    numba.njit(lambda x: x + 1)(1)
    assert notice.seconds_compiling() > before


class TestTraining:
    """The stand-in: 4 epochs of 5 iterations of 2 pictures, a validation after each."""

    def trainer(self, folder, **changes):
        run = standin.trainer(folder, standin.STEPS.updated(changes))
        run.objective.measured = 40
        return run

    def test_before_the_first_validation_it_is_estimated(self, tmp_path, monkeypatch):
        monkeypatch.setattr("detector.training.trainer.MEASURED_FASTER", 0.5)
        run = self.trainer(tmp_path)
        # Four validations and the last figures; a picture takes 0.5 * 4 s / 2.
        assert run.besides(4.0) == 5 * 40 * 1.0

    @pytest.mark.parametrize(
        "every, epochs, count", [(1, 0, 5), (1, 3, 2), (3, 0, 3), (3, 2, 3), (3, 3, 2), (9, 3, 2)]
    )
    def test_then_it_is_known(self, tmp_path, every, epochs, count):
        run = self.trainer(tmp_path, evaluate_every=every)
        run.position.epoch, run.seconds_a_validation = epochs, 7.0
        assert run.besides(4.0) == 7.0 * count

    def test_validations_are_measured_and_no_iterations(self, tmp_path, clock, monkeypatch):
        run, said = self.trainer(tmp_path), []
        monkeypatch.setattr(run.objective, "measure", self.measure(clock, run.objective.measure))
        step, finish = run.step, run.finish_epoch

        def slow_step(batch):
            clock.passes(2.0)
            return step(batch)

        def finish_epoch():
            finish()
            said.append(run.progress.time_left())

        run.step, run.finish_epoch = slow_step, finish_epoch
        run.fit()
        # After an epoch: 15 iterations of 2 s, 3 validations and the last figures of 50 s each.
        expected = [15 * 2 + 4 * 50, 10 * 2 + 3 * 50, 5 * 2 + 2 * 50, 50]
        assert said == [f"{format_seconds(seconds)} left" for seconds in expected]

    def measure(self, clock, measure):
        def slow(check):
            # The first one compiles.
            clock.passes(*((50.0,) if clock.compiled else (650.0, 600.0)))
            return measure(check)

        return slow
