"""The table of an experiment: for a terminal, as Markdown, for spreadsheets, and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from detector.experiments.costs import Cost
from detector.experiments.experiment import FIGURES, Experiment, Row

COSTS = ("model", "backbone", "parameters", "multiply-adds")


@dataclass(frozen=True)
class Findings:
    """What is known of an experiment's rows so far, each by the row's name.

    Attributes:
        costs: of all rows.
        seconds: for one picture; empty if nothing was timed.
        figures: ``FIGURES`` in percent, one for each seed that is done.
    """

    experiment: Experiment
    costs: Mapping[str, Cost]
    seconds: Mapping[str, float]
    figures: Mapping[str, Mapping[str, Sequence[float]]]

    def frames(self, row: Row) -> float | None:
        """A second, here."""
        return 1 / self.seconds[row.name] if row.name in self.seconds else None

    def mean(self, row: Row, figure: str = "AP") -> float | None:
        """Over the seeds, in percent."""
        values = self.figures[row.name][figure]
        return fmean(values) if values else None


def table(findings: Findings) -> list[list[str]]:
    """The cells, under a line of headings."""
    timed, source = findings.experiment.is_timed, findings.experiment.source
    speed = ["test size", "frames/s", f"{source} frames/s"][: 2 + bool(source)] if timed else []
    heading = [*COSTS, *speed, *FIGURES, *([f"{source} mmAP"] if source else [])]
    lines = [heading]
    for row in findings.experiment.rows:
        cells = [row.model, row.network, *(f"{count:,}" for count in findings.costs[row.name])]
        if timed:
            size = "x".join(map(str, row.size))
            cells += [size, number(findings.frames(row), 2)]
        if timed and source:
            cells.append(number(row.fps))
        cells += [with_spread(findings.figures[row.name][figure]) for figure in FIGURES]
        lines.append([*cells, *([number(row.mmap, 1)] if source else [])])
    return lines


def number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def with_spread(values: Sequence[float]) -> str:
    """Mean and standard deviation (of the sample, n - 1); the mean alone of one value."""
    if not values:
        return "-"
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):.1f}{spread}"


def as_markdown(lines: Sequence[Sequence[str]]) -> str:
    """Aligned, so that it can be read in a terminal too."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    ]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def comparisons(findings: Findings) -> list[str]:
    """Whether the rows stand in the order that was published, in speed and in precision."""
    source, lines = findings.experiment.source, []
    for what, own, published in (
        ("frames a second", findings.frames, lambda row: row.fps),
        ("AP", findings.mean, lambda row: row.mmap),
    ):
        pairs = [(own(row), published(row)) for row in findings.experiment.rows]
        pairs = [pair for pair in pairs if None not in pair]
        if len(pairs) > 2:
            agreement = rank_correlation(*zip(*pairs, strict=True))
            lines.append(
                f"order by {what}: rank correlation with the {source}'s {agreement:+.2f} "
                f"({len(pairs)} rows; 1 the same order, -1 the opposite)"
            )
    return lines


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's: the correlation of the ranks, equal values sharing the mean of theirs (Spearman
    1904); nan where all values are equal."""
    ranks = []
    for values in (np.asarray(one, float), np.asarray(other, float)):
        below = (values[:, None] > values).sum(1)
        ranks.append(below + ((values[:, None] == values).sum(1) - 1) / 2)
        if np.ptp(values) == 0:
            return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def draw(findings: Findings) -> np.ndarray:
    """(H, W, 3) uint8: AP of each row, every seed a dot; and speeds over the published ones."""
    # A figure without pyplot: no window system is asked for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    experiment, rows = findings.experiment, findings.experiment.rows
    panels = 1 + bool(findings.seconds and experiment.source)
    figure = Figure(figsize=(7 * panels, 1.5 + 0.5 * len(rows)), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, *more = np.atleast_1d(figure.subplots(1, panels))
    names = [f"{row.model}, {row.network}" for row in rows]
    for place, row in enumerate(rows):
        values = findings.figures[row.name]["AP"]
        left.plot(values, [place] * len(values), "o", color="tab:blue", alpha=0.5)
        if values:
            left.plot(fmean(values), place, "|", color="black", markersize=18)
    left.set_yticks(range(len(rows)), names)
    left.set(ylim=(len(rows) - 0.5, -0.5), xlabel="AP here, % (each seed, and the mean)")
    for axes in more:
        shown = [row for row in rows if row.fps is not None]
        for row in shown:
            axes.plot(row.fps, findings.frames(row), "o", color="tab:blue")
            axes.annotate(
                row.network, (row.fps, findings.frames(row)), xytext=(4, 3),
                textcoords="offset points", fontsize=8,
            )  # fmt: skip
        axes.set(xlabel=f"frames a second, {experiment.source}", ylabel="frames a second, here")
        axes.margins(x=0.2)
    for axes in (left, *more):
        axes.grid(alpha=0.3)
    figure.suptitle(experiment.title)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
