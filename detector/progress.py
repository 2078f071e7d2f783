"""A progress bar with the time left; in a log file, a plain line now and then instead."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TextIO

from tqdm import tqdm

from nn.kernels.machine.notice import seconds_compiling

SECONDS_BETWEEN_LINES = 30.0
RECENT = 50  # steps that say how long the others will take
LEAST = 3  # steps before anything is said about that


# tqdm's own estimate takes the first steps and the validations for the usual.
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}{postfix}]"


class Progress:
    """Counts ``total`` steps on stderr.

    On a terminal this is tqdm's bar. Elsewhere (a pipe, a CI log) a bar would be thousands of
    lines, so one line appears every ``SECONDS_BETWEEN_LINES``.

    Args:
        description: what is being done; total: how many steps, None if nobody knows; initial: how
            many are done already.
        unit: what one step is.
        leave: whether the finished bar stays on the screen.
        besides: how many seconds are to come besides the steps, if a step takes so many.
    """

    def __init__(
        self,
        description: str,
        total: int | None,
        initial: int = 0,
        unit: str = "it",
        leave: bool = False,
        besides: Callable[[float], float] = lambda step: 0.0,
    ):
        self.description, self.total, self.done, self.unit = description, total, initial, unit
        self.besides = besides
        self.durations: list[float] = []
        self.watch, self.reported = Stopwatch(), time.monotonic()
        self.bar = None
        if sys.stderr is not None and sys.stderr.isatty():
            self.bar = tqdm(
                desc=description, total=total, initial=initial, unit=unit, leave=leave,
                dynamic_ncols=True, bar_format=BAR,
            )  # fmt: skip

    def step(self, note: str = "", count: int = 1) -> None:
        """``count`` steps are done; ``note`` stands at the end of the line."""
        self.done += count
        took = self.watch.lap()
        if count > 0:
            self.durations = [*self.durations[1 - RECENT :], took / count]
        state = f"{self.time_left()}, {note}" if note else self.time_left()
        if self.bar is not None:
            self.bar.set_postfix_str(state, refresh=False)
            self.bar.update(count)
        elif time.monotonic() - self.reported >= SECONDS_BETWEEN_LINES:
            self.reported = time.monotonic()
            of_all = "" if self.total is None else f"/{self.total}"
            line = f"{self.description}: {self.done}{of_all} {self.unit}, {state}"
            if sys.stderr is not None:
                tell(line, sys.stderr)

    def skip(self) -> None:
        """What happened since the last step is not part of the next one."""
        self.watch.lap()

    def time_left(self) -> str:
        """ "1:05 left", from how long the last steps took."""
        step = typical(self.durations)
        if step is None or self.total is None:
            return "time left not known" + " yet" * (self.total is not None)
        # A video may have more frames than it says.
        return f"{format_seconds(step * max(0, self.total - self.done) + self.besides(step))} left"

    def say(self, line: str) -> None:
        """Print a line on stdout without tearing the bar."""
        if self.bar is not None:
            self.bar.write(line, file=sys.stdout)
        else:
            tell(line, sys.stdout)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def tell(line: str, stream: TextIO) -> None:
    """Print a line; if the terminal was closed, nobody misses it, and work goes on."""
    try:
        print(line, file=stream, flush=True)
    except OSError as error:
        if error.errno != errno.EIO:
            raise


class Stopwatch:
    """Measures seconds, but for those in which kernels are compiled, which happens once."""

    def __init__(self) -> None:
        self.last = 0.0
        self.lap()

    def lap(self) -> float:
        """How many there were since the last call."""
        last, self.last = self.last, time.monotonic() - seconds_compiling()
        return self.last - last


def typical(durations: Sequence[float]) -> float | None:
    """How long a step takes, judging by the last ones; None while there are too few of them.

    Their median: the first steps fill caches, and now and then one waits for a checkpoint.
    """
    return median(durations) if len(durations) >= LEAST else None


def format_seconds(seconds: float) -> str:
    """65 -> "1:05", 3700 -> "1:01:40"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
