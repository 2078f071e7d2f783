"""The thesis's table 4.3, with means and spreads over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from nn.files import atomic_file, write_json

# The thesis's words for the settings, and its mmAP on COCO test-dev.
THESIS = {
    "single": ("On Single Machine", 31.8),
    "joint": ("Jointly Train with Classification", 32.1),
    "multi-scale": ("Multiscale Training", 32.8),
}
HEADINGS = ("Training Setting", "mmAP", "AP50", "gain in mmAP", "thesis, COCO", "CPU minutes")


@dataclass(frozen=True)
class Row:
    """A setting and its results, one a seed, in the order of the seeds."""

    setting: str
    results: tuple[dict, ...]

    def percent(self, figure: str) -> list[float]:
        """A figure of each seed, in percent; 0 where nothing could be measured."""
        return [100 * (result["figures"][figure] or 0.0) for result in self.results]


def table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The cells of the table under ``HEADINGS``.

    The gain is the mean, over the seeds, of the difference to the single setting.
    """
    alone = next(row for row in rows if row.setting == "single").percent("AP")
    cells = []
    for row in rows:
        name, published = THESIS[row.setting]
        gains = [a - b for a, b in zip(row.percent("AP"), alone, strict=True)]
        minutes = [result["processor_seconds"] / 60 for result in row.results]
        cells.append(
            (
                name,
                with_spread(row.percent("AP")),
                with_spread(row.percent("AP50")),
                "" if row.setting == "single" else with_spread(gains, "+"),
                f"{published:.1f}",
                f"{fmean(minutes):.1f}" if minutes else "-",
            )
        )
    return cells


def with_spread(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation (of the sample, n - 1); the mean alone of one value."""
    if not values:
        return "-"
    spread = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):{sign}.1f}{spread}"


def as_text(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    lines = [HEADINGS, *table(rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_markdown(rows: Sequence[Row], plan: dict) -> str:
    """The table with its recipe."""
    session, recipe = plan["session"], plan["session"]["recipe"]
    seeds = [result["seed"] for result in rows[0].results]
    lines = ["| " + " | ".join(line) + " |" for line in [HEADINGS, *table(rows)]]
    lines.insert(1, "|---" * len(HEADINGS) + "|")
    return "\n".join(
        [
            *lines,
            "",
            f"Data: {Path(session['data']).name}, measured on {session['val']}; preset "
            f"{session['preset']}, {recipe['model']['backbone']}, shorter side "
            f"{recipe['model']['image']['short_side']} px, "
            f"{recipe['steps']['batch']} pictures an iteration, {plan['iterations']} iterations of "
            f"each task, seeds {', '.join(map(str, seeds))}. Mean ± standard deviation over the "
            "seeds, in percent; the weights after the last iteration.",
            "",
        ]
    )


def write_table(rows: Sequence[Row], plan: dict, folder: Path) -> None:
    """``results.json`` and ``table.md``; nothing while no seed is complete."""
    if not rows[0].results or any(math.isnan(v) for row in rows for v in row.percent("AP")):
        return
    runs = {row.setting: list(row.results) for row in rows}
    summary = [dict(zip(HEADINGS, line, strict=True)) for line in table(rows)]
    write_json(folder / "results.json", {"plan": plan, "table": summary, "runs": runs})
    with atomic_file(folder / "table.md") as file:
        file.write(as_markdown(rows, plan).encode())
