"""A progress bar with the time left; in a log file, a plain line now and then instead."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Counts ``total`` steps on stderr.

    On a terminal this is tqdm's bar. Elsewhere (a pipe, a CI log) a bar would be thousands of
    lines, so one line appears every ``SECONDS_BETWEEN_LINES``.

    Args:
        description: what is being done; total: how many steps; initial: how many are done already.
        unit: what one step is.
        leave: whether the finished bar stays on the screen.
    """

    def __init__(
        self, description: str, total: int, initial: int = 0, unit: str = "it", leave: bool = False
    ):
        self.description, self.total, self.done, self.unit = description, total, initial, unit
        self.reported, self.done_then = time.monotonic(), initial
        self.bar = None
        if sys.stderr.isatty():
            self.bar = tqdm(
                desc=description, total=total, initial=initial, unit=unit, leave=leave,
                dynamic_ncols=True, smoothing=0.05,
            )  # fmt: skip

    def step(self, note: str = "", count: int = 1) -> None:
        """``count`` steps are done; ``note`` stands at the end of the line."""
        self.done += count
        if self.bar is not None:
            if note:
                self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(count)
        elif time.monotonic() - self.reported >= SECONDS_BETWEEN_LINES:
            left = format_seconds(self.seconds_left())
            line = f"{self.description}: {self.done}/{self.total} {self.unit}, {left} left"
            self.reported, self.done_then = time.monotonic(), self.done
            print(f"{line}, {note}" if note else line, file=sys.stderr, flush=True)

    def seconds_left(self) -> float:
        """From the speed since the last line (the first steps compile kernels)."""
        recently = time.monotonic() - self.reported
        return recently / max(self.done - self.done_then, 1) * (self.total - self.done)

    def say(self, line: str) -> None:
        """Print a line on stdout without tearing the bar."""
        if self.bar is not None:
            self.bar.write(line, file=sys.stdout)
        else:
            print(line, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def format_seconds(seconds: float) -> str:
    """65 -> "1:05", 3700 -> "1:01:40"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
