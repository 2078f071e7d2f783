"""The promises about speed: a ratio and a bar for each, measured in one run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.cases import Case, Classifier, Detection, Network
from benchmarks.contestants import EAGER, ONNX, OURS
from benchmarks.groups import TRAINING
from benchmarks.measurement import Measurement, Spread

SMALL = Classifier(1.0, (224, 224))
LARGE = Classifier(1.0, (800, 1200))
NETWORK = Network(1.0, (800, 1200))
DETECTION = Detection(1.0, (800, 1200))
# 16 times the pixels of SMALL; whole numbers of cells at every stride, unlike 200x300.
GROWN = Classifier(1.0, (896, 896))
CLASSIFIER_STEP, DETECTOR_STEP = TRAINING

# Cases that are measured together, so that they can be compared with each other.
TOGETHER: tuple[tuple[Case, ...], ...] = (
    (SMALL, GROWN),
    (LARGE,),
    (NETWORK,),
    (DETECTION,),
    (CLASSIFIER_STEP,),
    (DETECTOR_STEP,),
)
NEEDS_MEMORY = TRAINING

EAGER_BAR, ONNX_BAR = "PyTorch eager", ONNX.name


class Promise(NamedTuple):
    """Ours divided by the peer's time is at most ``bar``; ``threads`` 0 stands for all."""

    case: Case
    threads: int
    peer: str
    bar: float


PROMISES = (
    Promise(SMALL, 0, EAGER_BAR, 0.35),
    Promise(SMALL, 0, ONNX_BAR, 0.9),
    Promise(SMALL, 1, EAGER_BAR, 0.6),
    Promise(SMALL, 1, ONNX_BAR, 0.7),
    Promise(LARGE, 0, EAGER_BAR, 0.6),
    Promise(LARGE, 0, ONNX_BAR, 0.75),
    Promise(DETECTION, 0, EAGER_BAR, 0.5),
    Promise(NETWORK, 0, ONNX_BAR, 0.9),
    Promise(CLASSIFIER_STEP, 0, EAGER_BAR, 0.7),
    Promise(DETECTOR_STEP, 0, EAGER_BAR, 0.7),
)
SPEED_UP = 1.6  # of two threads over one
MEMORY = 1.0  # peak of a training step against PyTorch's
GROWTH = 17.0  # of the time when the pixels grow 16-fold


class Line(NamedTuple):
    """One line of the table: ``value`` is None where it could not be measured."""

    what: str
    value: Spread | None
    bar: float
    at_least: bool = False

    @property
    def holds(self) -> bool | None:
        if self.value is None:
            return None
        median = self.value.median
        return median >= self.bar if self.at_least else median <= self.bar


def lines(measurements: list[Measurement], threads: int) -> list[Line]:
    """Every promise beside what was measured; ``threads`` is how many "all" are."""
    by_name = {measurement.name: measurement for measurement in measurements}
    found = []
    for promise in PROMISES:
        measured = by_name.get(promise.case.name)
        count = promise.threads or threads
        what = f"{promise.case.name}, {plural(count)}: ours / {promise.peer}"
        found.append(Line(what, measured and against(measured, promise.peer, count), promise.bar))
    if threads > 1:
        for measured in measurements:
            found.append(speed_up(measured, threads))
    found += [memory(by_name[case.name]) for case in NEEDS_MEMORY if case.name in by_name]
    if SMALL.name in by_name and GROWN.name in by_name:
        found += [growth(by_name[SMALL.name], by_name[GROWN.name], n) for n in {1, threads}]
    return found


def against(measured: Measurement, peer: str, threads: int) -> Spread | None:
    return measured.against(measured.eager(threads) if peer == EAGER_BAR else peer, threads)


def speed_up(measured: Measurement, threads: int) -> Line:
    what = f"{measured.name}: {plural(threads)} against 1"
    keys = (OURS.name, 1), (OURS.name, threads)
    value = measured.ratio(*keys) if all(measured.has(*key) for key in keys) else None
    return Line(what, value, SPEED_UP, at_least=True)


def memory(measured: Measurement) -> Line:
    """The better of PyTorch's layouts counts here, too."""
    theirs = [measured.memory[c.name]["peak"] for c in EAGER if c.name in measured.memory]
    value = None
    if theirs and OURS.name in measured.memory:
        ratio = measured.memory[OURS.name]["peak"] / min(theirs)
        value = Spread(ratio, ratio, ratio)
    return Line(f"{measured.name}: peak memory, ours / {EAGER_BAR}", value, MEMORY)


def growth(small: Measurement, large: Measurement, threads: int) -> Line:
    value = None
    if small.has(OURS.name, threads) and large.has(OURS.name, threads):
        key = OURS.name, threads
        value = Spread.of(np.divide(large.rounds[key], small.rounds[key]))
    return Line(f"{large.name} / {small.name}, {plural(threads)}", value, GROWTH)


def plural(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"
