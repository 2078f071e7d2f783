"""Snapshots of a server on the disk: generations in one folder, each whole or refused.

A generation is one checkpoint file (``nn.checkpoint``): written beside its place, flushed, renamed,
with a SHA-256 over everything in it. There is no second file that could contradict it, so a crash
at any moment leaves the generations before it untouched. The newest that reads without fault
counts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from multitask.errors import SnapshotError
from nn import checkpoint

FILE = re.compile(r"iteration-(\d{9})\.snapshot")


class SnapshotStore:
    """The snapshots of one training, in a folder of their own.

    Args:
        folder: made if it is not there.
        keep: how many generations stay.
    """

    def __init__(self, folder: str | os.PathLike, keep: int = 2):
        if keep < 1:
            raise ValueError(f"SnapshotStore: keep {keep} must be at least 1")
        self.folder, self.keep = Path(folder), keep
        self.folder.mkdir(parents=True, exist_ok=True)

    def files(self) -> list[Path]:
        """The generations, newest first."""
        found = [path for path in self.folder.iterdir() if FILE.fullmatch(path.name)]
        return sorted(found, reverse=True)

    def save(self, tree: dict, iteration: int) -> Path:
        """Write a generation and remove those that are too old.

        Raises:
            OSError: it cannot be written; the older ones are still there.
        """
        path = self.folder / f"iteration-{iteration:09d}.snapshot"
        checkpoint.save(path, tree)
        for old in self.files()[self.keep :]:
            old.unlink()
        return path

    def load(self) -> tuple[dict, Path] | None:
        """The newest whole generation and its file; None if there never was one.

        Damaged generations newer than that are put aside under the name ``*.damaged``. Where none
        is whole all stay as they are, so that whoever starts the server again is told again.

        Raises:
            SnapshotError: there are generations, or there were, and every one of them is damaged.
        """
        for half in self.folder.glob(".iteration-*.snapshot*.partial"):
            half.unlink(missing_ok=True)  # left by a server that was killed
        damaged: dict[Path, str] = {}
        for path in self.files():
            try:
                tree = checkpoint.load(path)
            except checkpoint.CheckpointError as error:
                damaged[path] = str(error)
                continue
            for newer in damaged:
                os.replace(newer, newer.with_suffix(".damaged"))
            return tree, path
        problems = [*damaged.values(), *map(str, sorted(self.folder.glob("iteration-*.damaged")))]
        if problems:
            raise SnapshotError(
                f"no snapshot is whole: {'; '.join(problems)}; to begin anew, choose another folder"
            )
        return None
