"""What becomes of the time when other programs want the processors: alone, and beside loops.

A pool of threads waits for each of them, so with all threads a call can take many times as long as
with one as soon as one of them has lost its processor.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.bars import Line, plural
from benchmarks.cases import Classifier, ClassifierTraining
from benchmarks.contestants import COMPILED, FOLDED, OURS
from benchmarks.measurement import Measurement
from benchmarks.turns import Pace, Turns, all_threads

CASES = (Classifier(1.0, (224, 224)), ClassifierTraining(0.5, (64, 64), 8))
BAR = 1.2  # of the time with one thread that all threads may take beside the loops


@contextlib.contextmanager
def endless_loops(count: int) -> Iterator[None]:
    """So many programs that always want a processor."""
    command = [sys.executable, "-S", "-c", "while True: pass"]
    loops = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def measure(
    contest: Turns, threads: list[int], pace: Pace
) -> tuple[list[Measurement], list[Measurement]]:
    """All cases without and with a loop for each processor."""
    without = (COMPILED, FOLDED)
    alone = contest.measure("busy", CASES, threads, pace, without)
    with endless_loops(all_threads()):
        beside = contest.measure("busy", CASES, threads, pace, without, crowded=True)
    for measurement in beside:
        measurement.name += f", beside {all_threads()} loops"
    return alone, beside


def lines(beside: list[Measurement], threads: int) -> list[Line]:
    """The promise, for each case."""
    keys = (OURS.name, threads), (OURS.name, 1)
    return [
        Line(f"{m.name}: {plural(threads)} / 1", m.ratio(*keys), BAR)
        for m in beside
        if all(m.has(*key) for key in keys)
    ]
