"""The plots of the report: what is drawn over what, and in which colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from detector.reporting.plots import COLOURS, INK, Line, Plot, drawn, lines

if TYPE_CHECKING:
    from detector.reporting.report import Row

MOST_LINES = len(COLOURS) - 1  # classes in a plot; one colour is that of all together
MOST_BOXES = 1500  # in a plot of anchors


def loss_plot(metrics: Sequence[Mapping[str, float]], names: Sequence[str]) -> Plot:
    """Each of these losses over the iterations, its running mean."""
    steps = [row for row in metrics if "loss" in row]
    at = [row["iteration"] for row in steps]
    every = [
        Line(name, at, smoothed([row.get(name, np.nan) for row in steps]), colour, name == "loss")
        for name, colour in zip(sorted(names, key=lambda n: n != "loss"), COLOURS, strict=False)
    ]
    return lines(every, "iteration", "loss", ylim=(0, None))


def validation_plot(
    metrics: Sequence[Mapping[str, float]], titles: Mapping[str, str]
) -> Plot | None:
    """The figures of every validation, None if there was none."""
    every = []
    for (name, title), colour in zip(titles.items(), COLOURS, strict=False):
        points = [(row["iteration"], row[f"val_{name}"]) for row in metrics if f"val_{name}" in row]
        if points:
            every.append(Line(title, *zip(*points, strict=True), colour))
    return lines(every, "iteration", "on validation", ylim=(0, 1.02)) if every else None


def rate_plot(metrics: Sequence[Mapping[str, float]]) -> Plot:
    """The learning rate over the iterations."""
    steps = [row for row in metrics if "lr" in row]
    at, rates = [row["iteration"] for row in steps], [row["lr"] for row in steps]
    line = Line("learning rate", at, rates, COLOURS[0])
    return lines([line], "iteration", "learning rate", ylim=(0, None))


def precision_recall_plot(rows: Sequence[Row]) -> Plot | None:
    """Precision over recall at IoU 0.5, of each class whose area is its AP50; None without one."""
    every = [
        Line(row.name, row.points.recall, falling(row.points.precision), colour)
        for row, colour in most_boxes(rows[:-1])
    ]
    return lines(every, "recall", "precision", (0, 1.02), (0, 1.02)) if every else None


def f1_plot(rows: Sequence[Row], score: float) -> Plot | None:
    """F1 over the score, of each class and of all together; None without any detection."""
    *classes, whole = rows
    if whole.best is None:
        return None
    every = [Line("all", whole.points.scores, whole.points.f1, COLOURS[0], is_main=True)]
    if len(classes) > 1:
        every += [
            Line(row.name, row.points.scores, row.points.f1, colour)
            for row, colour in most_boxes(classes)
        ]
    return lines(every, "score", "F1", (0, 1), (0, 1.02), mark=score)


def most_boxes(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """The classes with the most boxes of which something can be said, each with its colour."""
    known = [row for row in rows if row.best is not None and not row.is_too_few]
    known = sorted(known, key=lambda row: -row.boxes)[:MOST_LINES]
    return list(zip(known, COLOURS[1:], strict=False))


def anchor_plot(sides: np.ndarray, shapes: np.ndarray) -> Plot:
    """Widths and heights of the boxes, (R, 2), and of the anchors, (A, 2), in pixels."""
    if len(sides) > MOST_BOXES:
        sides = sides[np.random.default_rng(0).choice(len(sides), MOST_BOXES, replace=False)]

    def draw(axes) -> None:
        few = len(sides) < 300
        axes.scatter(
            *sides.T, s=16 if few else 7, color=COLOURS[0], alpha=0.8 if few else 0.4, linewidths=0
        )
        axes.scatter(*np.asarray(shapes).T, s=60, marker="+", color=COLOURS[1], linewidths=2)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        axes.set(xlabel="width, pixels", ylabel="height, pixels")

    return Plot(drawn(draw), [("boxes", COLOURS[0]), ("anchors", COLOURS[1])])


def fit_plot(fit: np.ndarray) -> Plot:
    """How many boxes have a best anchor of which IoU; ``fit`` (R,) in 0..1."""

    def draw(axes) -> None:
        axes.hist(fit, np.linspace(0, 1, 21), color=COLOURS[0])
        axes.axvline(0.5, color=INK, linewidth=1.2, linestyle=":")
        axes.set(xlabel="IoU of the best anchor", ylabel="boxes", xlim=(0, 1))

    return Plot(drawn(draw), [])


def falling(precision: np.ndarray) -> np.ndarray:
    """The best precision at this recall or a higher one, as COCO's figures take it."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def smoothed(values: Sequence[float]) -> np.ndarray:
    """Exponential running mean over about 2 % of the run, without the usual bias at the start."""
    keep = 1.0 - 1.0 / max(1.0, 0.02 * len(values))
    mean, weight, result = 0.0, 0.0, []
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        result.append(mean / weight)
    return np.array(result)
