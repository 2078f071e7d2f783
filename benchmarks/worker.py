"""The process of one contestant: builds what it is told to and runs it when it is its turn.

    python -m benchmarks.worker PEER

Reads requests from stdin and writes answers to stdout, both pickled by our own processes. Between
two requests it waits for input, which costs no processor time.
"""

from __future__ import annotations

import importlib
import os
import pickle
import statistics
import sys
import time
import warnings

from benchmarks.memory import high_water_mark, resident
from benchmarks.processors import seconds_waited, spread_threads

LONG = 0.1  # seconds: a longer call's cold start does not show
WARM = 0.01  # seconds of warm-up, at least one call


class Worker:
    """Holds cases by number, and the works made of them by case, variant and threads."""

    def __init__(self, peer: str):
        self.name = peer
        self.peer = importlib.import_module(f"benchmarks.peers.{peer}")
        self.imports = resident()
        self.forget()

    def describe(self) -> str:
        return self.peer.describe()

    def forget(self) -> None:
        self.cases, self.works, self.last = {}, {}, {}

    def take(self, number: int, case, arrays) -> None:
        self.cases[number] = case, arrays

    def build(self, number: int, variant: str, threads: int):
        """Make a work ready; its outputs for the comparison, or None if there is no such work."""
        self.peer.use_threads(threads)
        case, arrays = self.cases[number]
        work = self.peer.build(case, arrays, variant, threads)
        if work is None:
            return None
        key = number, variant, threads
        for _ in range(case.calls):
            begun = time.perf_counter()
            outputs = work()
            self.last[key] = time.perf_counter() - begun
        self.works[key] = work
        return outputs

    def turn(
        self, number: int, variant: str, threads: int, seconds: float, average: str = "median"
    ) -> tuple[float, float]:
        """Work for about so long.

        Returns:
            the median (or "mean") time of one call, and which part of the time threads waited for a
            processor that somebody else had.
        """
        self.peer.use_threads(threads)
        key = number, variant, threads
        work = self.works[key]
        if self.last[key] < LONG:
            until = time.perf_counter() + WARM
            work()
            while time.perf_counter() < until:
                work()
        spread_threads()
        times = []
        waited, begun = seconds_waited(), time.perf_counter()
        while not times or time.perf_counter() - begun < seconds:
            call = time.perf_counter()
            work()
            times.append(time.perf_counter() - call)
        waited = (seconds_waited() - waited) / (time.perf_counter() - begun)
        self.last[key] = getattr(statistics, average)(times)
        return self.last[key], waited

    def shares(self, number: int) -> dict[str, dict[str, float]]:
        """Seconds of one call by kind, for each variant; see ``benchmarks.shares``."""
        module = importlib.import_module(f"benchmarks.shares.{self.name}")
        case, arrays = self.cases[number]
        return {variant: module.shares(case, arrays, variant) for variant in module.VARIANTS}

    def memory(self) -> dict[str, int]:
        """Bytes: the whole process at its highest, and of that the imports."""
        return {"peak": high_water_mark(), "imports": self.imports}


def main() -> None:
    # The stream of answers gets a descriptor of its own: what anybody prints goes to stderr.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = sys.stdin.buffer
    warnings.simplefilter("ignore")
    worker = None
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        try:
            worker = worker or Worker(sys.argv[1])
            answer = "done", getattr(worker, name)(*arguments)
        except Exception as error:
            answer = "failed", f"{type(error).__name__}: {error}"
        pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    main()
