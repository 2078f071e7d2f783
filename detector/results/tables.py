"""Detections as tables for people who work with spreadsheets: a row each, and a row a picture."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence

import numpy as np

from detector.own_files import TABLE, check_free, is_own_table
from detector.results.result import Job, Look, Result
from nn.files import atomic_file

DETECTIONS, COUNTS = "detections.csv", "counts.csv"
FIRST = TABLE.rstrip(",")  # how they begin, which is how they are recognised as ours
HEADER = [FIRST, "class", "score", "x1", "y1", "x2", "y2"]


class Tables(Result):
    """``detections.csv``, a row for each detection: picture, class, score, corners in pixels; and
    ``counts.csv``, a row for each picture: how many of each class, and of all. If there are videos,
    both end with the number of the frame, from 1, and its time."""

    def __init__(self, job: Job):
        super().__init__(job)
        moment = ["frame", "seconds"] if any(source.is_video for source in job.sources) else []
        self.detections: list[list] = [HEADER + moment]
        self.counts: list[list] = [[FIRST, *job.classes, "all", *moment]]

    def check(self) -> None:
        for name in (DETECTIONS, COUNTS):
            check_free(self.job.out / name, is_own_table)

    def add(self, look: Look) -> None:
        given, classes, shown = look.source.given, self.job.classes, look.in_file(look.shown)
        moment = [] if look.frame is None else [look.frame, f"{look.seconds:.3f}"]
        for box, score, label in zip(shown["boxes"], shown["scores"], shown["labels"], strict=True):
            numbers = [f"{score:.4f}", *(f"{side:.1f}" for side in box)]
            self.detections.append([given, classes[label - 1], *numbers, *moment])
        counts = np.bincount(shown["labels"], minlength=len(classes) + 1)[1:]
        self.counts.append([given, *counts.tolist(), int(counts.sum()), *moment])

    def finish(self) -> list[str]:
        if self.job.sources:
            write_table(self.job.out / DETECTIONS, self.detections)
            write_table(self.job.out / COUNTS, self.counts)
        return []


def write_table(path: str | os.PathLike, lines: Sequence[Sequence]) -> None:
    """Write CSV in UTF-8 with the mark by which spreadsheets know it, complete or not at all.

    Raises:
        UserError: something lies there that is not our own.
    """
    check_free(path, is_own_table)
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    with atomic_file(path) as file:
        file.write(text.getvalue().encode("utf-8-sig", "backslashreplace"))
