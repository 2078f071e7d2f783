"""A training at a glance: a line for each task, from the events of the server."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections import deque
from typing import TextIO

from detector.progress import SECONDS_BETWEEN_LINES, format_seconds, typical
from nn.printable import printable

RECENT = 20  # commits over which losses and speeds are averaged
SECONDS_BETWEEN_PICTURES = 0.2
HEADING = f"{'task':<20} {'iteration':>11} {'loss':>8} {'rate':>9} {'images/s':>8} {'waiting':>8}"

# Events that deserve a line of their own, and how it reads.
TOLD = {
    "started": "all tasks are here: {tasks}",
    "restored": "going on after iteration {iteration}, from {file}",
    "joined": "{task} has joined",
    "lost": "{task} is gone",
    "left": "{task} is done",
    "slow": "{task} keeps {waiting} waiting for {seconds} s",
    "evicted": "{task} {why}: the others go on without it from iteration {iteration}",
    "skipped": "iteration {iteration}: {why}; skipped",
    "finished": "training is over after {iteration} iterations",
    "snapshot failed": "no snapshot of iteration {iteration}: {why}",
    "stopped": "stopped: {why}",
}


class View:
    """Shows events on a stream; call it with each.

    On a terminal the table is redrawn in its place; elsewhere it appears every half minute.

    Args:
        iterations: of the training, if known.
        stream: stderr unless told otherwise.
    """

    def __init__(self, iterations: int | None = None, stream: TextIO | None = None):
        self._iterations, self._stream = iterations, stream or sys.stderr
        self._commits: dict[str, deque[dict]] = {}
        self._refused = 0
        # Old Windows consoles print the codes instead of obeying them.
        self._redraws = self._stream.isatty() and os.name != "nt"
        self._drawn = 0  # lines of the table on the screen
        self._next = time.monotonic() + (0 if self._redraws else SECONDS_BETWEEN_LINES)

    def __call__(self, event: dict) -> None:
        kind = event["event"]
        if kind == "commit":
            commits = self._commits.setdefault(event["task"], deque(maxlen=RECENT + 1))
            commits.append({"time": time.time(), **event})
        elif kind == "refused":
            self._refused = event["count"]
        elif kind in TOLD:
            facts = {k: ", ".join(v) if isinstance(v, list) else v for k, v in event.items()}
            self._erase()
            print(printable(TOLD[kind].format(**facts)), file=self._stream, flush=True)
        if time.monotonic() >= self._next:
            pause = SECONDS_BETWEEN_PICTURES if self._redraws else SECONDS_BETWEEN_LINES
            self._next = time.monotonic() + pause
            self.draw()

    def draw(self) -> None:
        """Print the table, over the one before."""
        if not self._commits:
            return
        self._erase()
        lines = self.table()
        print("\n".join(lines), file=self._stream, flush=True)
        self._drawn = len(lines) if self._redraws else 0

    def close(self) -> None:
        """Print the table for the last time."""
        self.draw()
        self._drawn = 0

    def table(self) -> list[str]:
        """A heading, for each task place, mean loss, learning rate, speed, time waiting; then the
        time left, which is that of the slowest."""
        lines, left = [HEADING], []
        for task, commits in sorted(self._commits.items()):
            last, first = commits[-1], commits[0]
            report = last["report"]
            place = f"{last['iteration'] + 1}"
            place += f"/{self._iterations}" if self._iterations else ""
            seconds = last["time"] - first["time"]
            recent = list(commits)[1:] or [last]
            losses = [c["report"]["loss"] for c in recent if "loss" in c["report"]]
            loss = f"{sum(losses) / len(losses):.3f}" if losses else "-"
            images = sum(c["report"].get("images", 0) for c in recent)
            waited = sum(c["report"].get("waited", 0.0) for c in recent)
            speed = f"{images / seconds:.1f}" if images and seconds > 0 else "-"
            waiting = f"{min(waited / seconds, 1):.0%}" if seconds > 0 else "-"
            rate = f"{report['lr']:.4g}" if "lr" in report else "-"
            name = printable(task)[:20]
            lines.append(f"{name:<20} {place:>11} {loss:>8} {rate:>9} {speed:>8} {waiting:>8}")
            times = [commit["time"] for commit in commits]
            step = typical([later - time for time, later in itertools.pairwise(times)])
            if step is not None and self._iterations:
                left.append(step * (self._iterations - last["iteration"] - 1))
        if left:
            lines.append(f"{format_seconds(max(left))} left")
        if self._refused:
            lines.append(f"connections refused: {self._refused}")
        return lines

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0
