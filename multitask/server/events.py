"""The diary of a training: one JSON object a line, for machines, views and plots."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from multitask.errors import MultitaskError
from nn.files import ordinary

BEGINNING = b'{"time": '


class Diary:
    """Appends events to a file; call it with a dict.

    A line is written at once, so that a crash loses none that was complete. A server that starts
    again goes on in the same file. Lines for which the disk has no room are left out: training is
    worth more than its diary.

    Raises:
        MultitaskError: ``path`` is a link, or holds something else.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        # Without a buffer, which would keep what could not be written and fail with it again.
        self._file = open(path, "a+b", buffering=0, opener=ordinary)
        self._file.seek(0)
        first_line = self._file.read(len(BEGINNING)).split(b"\n")[0]  # perhaps cut by a crash
        is_file = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        if is_file and not BEGINNING.startswith(first_line):
            self._file.close()
            raise MultitaskError(f"{path} is no diary of a training: choose another folder")
        self._is_cut = self._file.seek(0, os.SEEK_END) > 0  # perhaps by a crash

    def __call__(self, event: dict) -> None:
        line = ("\n" * self._is_cut + json.dumps(stamped(event)) + "\n").encode()
        try:
            self._is_cut = self._file.write(line) < len(line)
        except OSError:
            self._is_cut = True

    def close(self) -> None:
        self._file.close()


def stamped(event: dict) -> dict:
    """The event with the time, in seconds since 1970."""
    return {"time": round(time.time(), 3), **event}


def read_events(path: str | os.PathLike) -> Iterator[dict]:
    """The events in a diary; lines that a crash has cut are left out."""
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        yield from parse_events(file)


def parse_events(lines: Iterable[str]) -> Iterator[dict]:
    """The events in lines; what is no event is left out."""
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


class Follower:
    """Each call returns the events that a diary has got since the last one."""

    def __init__(self, path: str | os.PathLike):
        self._path, self._position = Path(path), 0

    def __call__(self) -> list[dict]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            # The last line may be one that is just being written.
            text = file.read().rpartition(b"\n")[0]
        self._position += len(text)
        return list(parse_events(text.decode(errors="replace").splitlines()))


def history(events: Iterable[dict]) -> dict[str, list[dict]]:
    """What each task reported, by iteration: ``{"task": [{"iteration": 0, "loss": ...}, ...]}``.

    Iterations that were repeated after a crash appear once, as they were the last time.
    """
    tasks: dict[str, dict[int, dict]] = {}
    for event in events:
        if event["event"] == "commit":
            entry = {"iteration": event["iteration"], "time": event["time"], **event["report"]}
            tasks.setdefault(event["task"], {})[event["iteration"]] = entry
    return {
        task: [entries[iteration] for iteration in sorted(entries)]
        for task, entries in sorted(tasks.items())
    }
