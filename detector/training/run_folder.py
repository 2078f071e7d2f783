"""The folder of one training run, and the only place that knows the names of its files.

``config.json`` (every option), ``metrics.csv`` (a row an iteration), ``curves.png``, ``last.ckpt``
(everything needed to go on), ``best.ckpt`` (the weights that scored best), ``evaluation.json``,
``report.html`` and ``detections/``. What is rewritten during training appears complete or not at
all.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

from detector.errors import UserError
from detector.folder_lock import alone_in
from detector.own_files import make_folder
from nn.files import ordinary, read_json, remove_leftovers, write_json


class RunFolder:
    """Paths and files of a run in ``path``; nothing is created before ``create``."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.metrics = self.path / "metrics.csv"
        self.curves = self.path / "curves.png"
        self.last = self.path / "last.ckpt"
        self.best = self.path / "best.ckpt"
        self.evaluation = self.path / "evaluation.json"
        self.report = self.path / "report.html"
        self.detections = self.path / "detections"

    def create(self) -> None:
        """Make the folder for a new run.

        Raises:
            UserError: there are files in it already, it is a file, or it cannot be written.
        """
        # Names with a dot are what a killed process may have left half-written.
        if self.path.is_dir() and any(p.name[0] != "." for p in self.path.iterdir()):
            way_out = "add --resume to go on with it, or " if self.last.exists() else ""
            raise UserError(f"{self.path} is not empty: {way_out}choose another --out")
        make_folder(self.path)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other trainings out while the ``with`` block runs; clear up after a killed one.

        Raises:
            UserError: another training is at work here.
        """
        with alone_in(self.path, "another training"):
            written = (self.config, self.curves, self.last, self.best, self.evaluation, self.report)
            for path in written:
                remove_leftovers(path)
            yield

    def best_or_last(self) -> Path:
        """The checkpoint to use the detector with."""
        return self.best if self.best.exists() else self.last

    def write_config(self, config: dict) -> None:
        write_json(self.config, config)

    def read_config(self) -> dict:
        """What ``write_config`` wrote.

        Raises:
            UserError: there is no run here, or its file is damaged.
        """
        try:
            return read_json(self.config)
        except FileNotFoundError:
            raise UserError(
                f"{self.path} holds no run (no config.json): leave out --resume to start one"
            ) from None
        except ValueError as error:
            raise UserError(f"{self.config} is damaged ({error}): start a new run") from error


class MetricsLog:
    """``metrics.csv``: one row an iteration, flushed at once, so that it can be followed live.

    Columns are epoch and iteration (from 1), seconds since the start, lr, loss, each named loss,
    grad_norm, and the validation's val_ap and val_ap50 in rows of their own. The number of bytes
    written is part of every checkpoint; a resumed run cuts the file there and goes on. After a
    power cut the file may be shorter, or gone: then the rows that are whole stay.

    Args:
        path: the file; created with the first row.
        position: bytes to keep of what is there.

    Attributes:
        kept: the rows with a loss that were there.

    Raises:
        UserError: what is there holds something else than rows, or is a link.
    """

    def __init__(self, path: str | os.PathLike, position: int = 0):
        self.path = Path(path)
        self.columns: list[str] = []
        self.kept: list[dict[str, float]] = []
        if position and self.path.exists():
            self.file = open(self.path, "r+b", opener=ordinary)
            kept = self.file.read(position)
            kept = kept[: kept.rfind(b"\n") + 1]
            self.columns, rows = _parsed(kept, self.path)
            self.kept = [row for row in rows if "loss" in row]
            self.file.truncate(len(kept))
            self.file.seek(0, os.SEEK_END)
        else:
            self.file = open(self.path, "wb", opener=ordinary)

    def write(self, row: dict[str, object]) -> None:
        """Append a row; the first one with a loss fixes the columns, missing ones stay empty."""
        if not self.columns:
            if "loss" not in row:
                return  # a validation right after the file was lost knows too few columns
            self.columns = list(row)
            self._write(_csv_line(self.columns))
        self._write(_csv_line([_format(row.get(column, "")) for column in self.columns]))

    def position(self) -> int:
        """Bytes written so far, all of them on the disk."""
        os.fsync(self.file.fileno())
        return self.file.tell()

    def close(self) -> None:
        self.file.close()

    def _write(self, line: bytes) -> None:
        try:
            self.file.write(line)
            self.file.flush()
        except OSError as error:
            error.filename = str(self.path)  # "No space left on device" alone helps nobody
            raise


def losses_of(row: dict[str, float]) -> dict[str, float]:
    """Of a row of ``metrics.csv``, the losses by name."""
    other = ("epoch", "iteration", "seconds", "lr", "grad_norm")
    return {name: value for name, value in row.items() if name not in other}


def read_metrics(path: str | os.PathLike) -> list[dict[str, float]]:
    """The rows of a ``metrics.csv``, empty cells left out.

    Raises:
        UserError: it holds something else.
    """
    return _parsed(Path(path).read_bytes(), path)[1]


def _parsed(content: bytes, path: str | os.PathLike) -> tuple[list[str], list[dict[str, float]]]:
    """Columns and rows of the content of a ``metrics.csv``."""
    try:
        lines = csv.DictReader(io.StringIO(content.decode(), newline=""))
        rows = [{name: float(cell) for name, cell in line.items() if cell} for line in lines]
        columns = list(lines.fieldnames or ())
        if columns[:2] not in ([], ["epoch", "iteration"]):
            raise ValueError("the columns are others")
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged ({error}): move it away, and --resume goes on without its rows"
        ) from error
    return columns, rows


def _csv_line(cells: list) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode()


def _format(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value
