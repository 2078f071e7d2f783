"""The measuring itself: contestants are built, compared, and then take turns."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.cases import Case
from benchmarks.contestants import ALL, COMPILED, OURS, Contestant, PeerError, Process
from benchmarks.measurement import Measurement

# A thread pool spins for a few milliseconds after its last work before it sleeps.
PAUSE = 0.02
# A turn is disturbed when its threads waited so much of the time for a processor.
DISTURBED = 0.2
ATTEMPTS = 3
# Peers that have a file in ``shares``.
SHARING = ("ours", "torch_peer", "onnx_peer")


@dataclass(frozen=True)
class Pace:
    """How long to measure: so many rounds, and in each of them so many seconds a contestant."""

    rounds: int = 11
    seconds: float = 0.1


def all_threads() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Turns:
    """A process for each library that is there.

    Attributes:
        versions: of each peer that is there.
        missing: of each that is not, why.
    """

    def __init__(self, contestants: Sequence[Contestant] = ALL):
        self.contestants = contestants
        self.processes: dict[str, Process] = {}
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        for peer in dict.fromkeys(contestant.peer for contestant in contestants):
            self.start(peer)

    def start(self, peer: str) -> None:
        process = Process(peer)
        try:
            self.versions[peer] = process.call("describe")
            self.processes[peer] = process
        except PeerError as error:
            process.close()
            self.missing[peer] = str(error)

    def ready(self) -> None:
        """Forget the cases before; start again what has ended."""
        for peer, process in list(self.processes.items()):
            if process.is_alive:
                process.call("forget")
            else:
                process.close()
                self.start(peer)

    def measure(
        self,
        group: str,
        cases: Sequence[Case],
        threads: Sequence[int],
        pace: Pace,
        without: Sequence[Contestant] = (),
        crowded: bool = False,
    ) -> list[Measurement]:
        """Everybody does all these cases with all these numbers of threads, in turns.

        ``crowded``: other programs are meant to be there. No turn is repeated on their account, and
        a time is the mean of its calls instead of the median.
        """
        self.ready()
        measurements, entries = [], []
        for number, case in enumerate(cases):
            measurement = Measurement(group, case.name, case.multiply_adds, case.times)
            entries += self.entries(number, case, threads, measurement, without)
            measurements.append(measurement)
        for turn in range(pace.rounds):
            # Every second round backwards, so that nobody always follows the same one.
            for number, contestant, count in entries[:: -1 if turn % 2 else 1]:
                arguments = number, contestant.variant, count, pace.seconds
                measured = measurements[number]
                if crowded:
                    seconds, _ = self.turn(contestant.peer, *arguments, "mean")
                else:
                    seconds, waited = self.undisturbed_turn(contestant.peer, *arguments)
                    measured.disturbed += waited > DISTURBED
                measured.rounds.setdefault((contestant.name, count), []).append(seconds)
        return measurements

    def turn(self, peer: str, *arguments) -> tuple[float, float]:
        """See ``worker.Worker.turn``."""
        time.sleep(PAUSE)
        return self.processes[peer].call("turn", *arguments)

    def undisturbed_turn(self, peer: str, *arguments) -> tuple[float, float]:
        """A turn, repeated a few times if other programs were in its way; the best of them."""
        turns = []
        while not turns or (turns[-1][1] > DISTURBED and len(turns) < ATTEMPTS):
            turns.append(self.turn(peer, *arguments))
        return min(turns, key=lambda turn: turn[1])

    def entries(
        self,
        number: int,
        case: Case,
        threads: Sequence[int],
        measurement: Measurement,
        without: Sequence[Contestant],
    ) -> Iterator[tuple[int, Contestant, int]]:
        """Who can do this case and agrees with us about its result, with how many threads."""
        arrays = case.arrays()
        expected = None
        for contestant in self.contestants:
            if contestant.peer not in self.processes or contestant in without:
                continue
            process = self.processes[contestant.peer]
            try:
                process.call("take", number, case, arrays)
                for count in threads:
                    outputs = process.call("build", number, contestant.variant, count)
                    if outputs is None:
                        break
                    expected = outputs if contestant == OURS else expected
                    if expected is not None:
                        agree(case, expected, outputs)
                    yield number, contestant, count
            except PeerError as error:
                measurement.absent[contestant.name] = str(error)

    def shares(self, case: Case) -> dict[tuple[str, str], dict[str, float]]:
        """Seconds of one call by kind of layer, for each peer that can tell and its variants."""
        self.ready()
        arrays = case.arrays()
        found = {}
        for peer in (peer for peer in SHARING if peer in self.processes):
            with contextlib.suppress(PeerError):
                self.processes[peer].call("take", 0, case, arrays)
                for variant, seconds in self.processes[peer].call("shares", 0).items():
                    found[peer, variant] = seconds
        return found

    def close(self) -> None:
        for process in self.processes.values():
            process.close()

    def __enter__(self) -> Turns:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def agree(case: Case, ours, theirs) -> None:
    """
    Raises:
        PeerError: the outputs differ more than rounding explains.
    """
    difference = case.difference(ours, theirs)
    if not difference <= case.tolerance:
        raise PeerError(f"its outputs differ from ours by {difference:.2g}")


def peak_memory(case: Case, contestant: Contestant, threads: int) -> dict[str, int]:
    """Bytes that a fresh process needs to do this case three times.

    Raises:
        PeerError: it cannot.
    """
    with Process(contestant.peer) as process:
        process.call("take", 0, case, case.arrays())
        if process.call("build", 0, contestant.variant, threads) is None:
            raise PeerError("has no such work")
        process.call("turn", 0, contestant.variant, threads, 0.0)
        return process.call("memory")


def measure_memory(
    measurement: Measurement, case: Case, threads: int, contestants: Sequence[Contestant] = ALL
) -> None:
    """Add the memory of those who took part: after the timing, so that no kernel is compiled."""
    for contestant in contestants:
        if contestant.name != COMPILED.name and measurement.has(contestant.name, threads):
            with contextlib.suppress(PeerError):
                measurement.memory[contestant.name] = peak_memory(case, contestant, threads)
