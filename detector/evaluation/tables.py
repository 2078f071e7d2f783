"""Detections as tables for people who work with spreadsheets: a row each, and a row a picture."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.own_files import TABLE, check_free, is_own_table
from nn.files import atomic_file

DETECTIONS, COUNTS = "detections.csv", "counts.csv"
FIRST = TABLE.rstrip(",")  # how they begin, which is how they are recognised as ours
HEADER = [FIRST, "class", "score", "x1", "y1", "x2", "y2"]


@dataclass(frozen=True)
class Row:
    """What was found in one picture and is worth showing.

    boxes (R, 4) in pixels, scores (R,), labels (R,) from 1.
    """

    picture: Path
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def write_detection_table(
    path: str | os.PathLike, rows: Sequence[Row], classes: Sequence[str]
) -> None:
    """Write a row for each detection: picture, class, score, corners in pixels."""
    lines = [HEADER]
    for row in rows:
        for box, score, label in zip(row.boxes, row.scores, row.labels, strict=True):
            numbers = [f"{score:.4f}", *(f"{side:.1f}" for side in box)]
            lines.append([str(row.picture), classes[label - 1], *numbers])
    write_table(path, lines)


def write_count_table(path: str | os.PathLike, rows: Sequence[Row], classes: Sequence[str]) -> None:
    """Write a row for each picture: how many of each class, and of all."""
    lines = [[FIRST, *classes, "all"]]
    for row in rows:
        counts = np.bincount(row.labels, minlength=len(classes) + 1)[1:]
        lines.append([str(row.picture), *counts.tolist(), int(counts.sum())])
    write_table(path, lines)


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
