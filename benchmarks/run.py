"""One run of ``lighthead bench``: measure the groups, print their tables, write the report."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks import bars, busy, report
from benchmarks.cases import MultiplyAdds
from benchmarks.contestants import ALL, COMPILED, EAGER, FOLDED, OURS, RUNTIMES
from benchmarks.groups import DESCRIPTIONS, PEAK, cases_of
from benchmarks.measurement import Measurement
from benchmarks.plot import draw
from benchmarks.turns import Pace, Turns, measure_memory
from detector.errors import UserError
from detector.own_files import make_folder
from detector.progress import format_seconds
from nn.files import atomic_file

TITLE = "# Speed, side by side"
GROUPS = ("bars", *DESCRIPTIONS, "busy")

QUICK = Pace(rounds=5, seconds=0.05)
QUICK_TRAINING = Pace(rounds=3, seconds=0.0)  # a step a turn
FULL = Pace(rounds=11, seconds=0.1)
BUSY = Pace(rounds=7, seconds=0.2)  # a processor changes hands every few milliseconds
OPERATIONS = Pace(rounds=7, seconds=0.03)  # there are more than a hundred of them

INSTALL = "install what is missing with: pip install 'lighthead[bench]'"
NAMES = {"ours": "lighthead", "torch_peer": "PyTorch", "torch_compiled": COMPILED.name}
NAMES |= {runtime.peer: runtime.name for runtime in RUNTIMES}


class Run:
    """
    Args:
        threads: the numbers of threads to measure with, the largest stands for "all".
        quick: fewer and smaller cases, and without what takes minutes to compile.
        folder: where ``report.md``, ``results.json`` and a picture for each group go.
    """

    def __init__(self, threads: list[int], quick: bool, folder: Path):
        self.threads, self.quick, self.folder = threads, quick, folder
        self.measurements: list[Measurement] = []
        self.sections: list[str] = []
        self.begun = time.monotonic()

    def groups(self, names: list[str]) -> None:
        """Measure these groups (and the machine's peak) and write everything down.

        Raises:
            UserError: ``folder`` holds something else than an earlier report.
        """
        self.claim()
        contestants = [c for c in ALL if not (self.quick and c in (COMPILED, FOLDED))]
        with self.contest(contestants) as contest:
            peak = self.peak(contest)
            for name in names:
                if name == "bars":
                    self.bars(contest)
                elif name == "layers":
                    self.layers(contest)
                elif name == "busy":
                    self.busy(contest)
                else:
                    self.group(contest, name, peak)
        self.save()

    def claim(self) -> None:
        """Make the folder; all in it is ours where it is empty or has our report."""
        make_folder(self.folder)
        path = self.folder / "report.md"
        is_ours = path.is_file() and path.read_bytes().startswith(TITLE.encode())
        if any(self.folder.iterdir()) and not is_ours:
            raise UserError(f"{self.folder} holds no report but other files: choose another --out")
        if not is_ours:
            write(path, f"{TITLE}\n")

    @contextlib.contextmanager
    def contest(self, contestants):
        with Turns(contestants) as contest:
            for peer, reason in contest.missing.items():
                hint = f" ({INSTALL})" if "ModuleNotFoundError" in reason else ""
                print(f"lighthead: without {NAMES[peer]}: {reason}{hint}", file=sys.stderr)
            versions = dict.fromkeys(contest.versions.values())
            self.say(f"{TITLE}\n\n{report.machine()}; {', '.join(versions)}.")
            yield contest

    def peak(self, contest: Turns) -> report.Peak:
        """Of the machine; and, for comparison, of the libraries."""
        (product,) = contest.measure("peak", [PEAK], self.threads, FULL)
        peak: report.Peak = {}
        for count in self.threads:
            peak |= report.peak_of(*contest.measure("peak", [MultiplyAdds(count)], [count], FULL))
        self.say(
            f"Peak, multiply-adds in registers: {report.speeds(peak)}; the fastest matrix product "
            f"of all libraries here: {report.speeds(report.peak_of(product))}."
        )
        return peak

    def group(self, contest: Turns, name: str, peak: report.Peak) -> None:
        measured = []
        for case in cases_of(name, self.quick):
            measured += self.together(contest, name, [case])
            is_network = name != "ops" and not (self.quick and name != "training")
            if is_network:
                measure_memory(measured[-1], case, max(self.threads))
        self.say(f"## {name}\n\n{report.group_table(measured, peak)}")
        if any(m.memory for m in measured):
            self.say(report.memory_table(measured))
        self.say_absences(measured)
        draw(measured, max(self.threads), self.folder / f"{name}.png")

    def bars(self, contest: Turns) -> None:
        measured = []
        for cases in bars.TOGETHER:
            group = self.together(contest, "bars", cases, without=(COMPILED, FOLDED))
            for measurement, case in zip(group, cases, strict=True):
                if case in bars.NEEDS_MEMORY:
                    measure_memory(measurement, case, max(self.threads), (OURS, *EAGER))
            measured += group
        self.say(f"## bars\n\n{report.bars_table(bars.lines(measured, max(self.threads)))}")
        self.say(report.memory_table(measured))
        if len(self.threads) > 1:
            self.say(report.scaling_table(measured, max(self.threads)))
        self.say_absences(measured)

    def busy(self, contest: Turns) -> None:
        pace = QUICK if self.quick else BUSY
        alone, beside = busy.measure(contest, self.threads, pace)
        self.measurements += alone + beside
        threads = max(self.threads)
        self.say(f"## busy\n\n{report.busy_table(alone, beside, threads)}")
        if threads > 1:
            self.say(report.bars_table(busy.lines(beside, threads)))
        self.say_absences(alone)

    def layers(self, contest: Turns) -> None:
        self.say("## layers")
        for case in cases_of("layers", self.quick):
            shares = {
                f"{NAMES[peer]} {variant}".strip(): seconds
                for (peer, variant), seconds in contest.shares(case).items()
            }
            self.say(f"{case.name}:\n\n{report.shares_table(shares)}")

    def together(self, contest: Turns, group: str, cases, without=()) -> list[Measurement]:
        if self.quick:
            pace = QUICK_TRAINING if group == "training" else QUICK
        else:
            pace = OPERATIONS if group == "ops" else FULL
        spent = format_seconds(time.monotonic() - self.begun)
        print(f"{spent}  {', '.join(case.name for case in cases)}", file=sys.stderr, flush=True)
        measured = contest.measure(group, cases, self.threads, pace, without)
        self.measurements += measured
        return measured

    def say_absences(self, measured: list[Measurement]) -> None:
        for line in report.absences(measured):
            self.say(f"- {line}")

    def say(self, text: str) -> None:
        """Print a part of the report as soon as it is there."""
        print(f"{text}\n", flush=True)
        self.sections.append(text)

    def save(self) -> None:
        load = f", load at the end {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
        took = format_seconds(time.monotonic() - self.begun)
        turns = [m for m in self.measurements for times in m.rounds.values() for _ in times]
        disturbed = sum(m.disturbed for m in self.measurements) / max(len(turns), 1)
        self.say(f"Took {took}; {disturbed:.0%} of the turns were disturbed by others{load}.")
        write(self.folder / "report.md", "\n\n".join(self.sections) + "\n")
        write(self.folder / "results.json", json.dumps([plain(m) for m in self.measurements]))
        print(f"the report is in {self.folder / 'report.md'}")


def plain(measurement: Measurement) -> dict:
    """For JSON, whose keys are strings: the rounds become a list of rows."""
    rows = [[*key, seconds] for key, seconds in measurement.rounds.items()]
    return {**asdict(measurement), "rounds": rows}


def write(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode())
