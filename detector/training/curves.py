"""``curves.png``: losses, learning rate and validation over the run, from its ``metrics.csv``."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping

import numpy as np

from detector.reporting.curves import smoothed
from detector.training.run_folder import losses_of, read_metrics
from nn.files import atomic_file


def draw_curves(
    metrics: str | os.PathLike, picture: str | os.PathLike, figures: Mapping[str, str]
) -> None:
    """Draw ``metrics.csv`` into a PNG; nothing happens while it has no rows.

    Args:
        figures: what was measured, each with how to print it; see ``Objective``.
    """
    # A figure without pyplot: no window system is asked for, and importing costs only when used.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = read_metrics(metrics)
    steps = [row for row in rows if "loss" in row]
    if not steps:
        return
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    iterations = [row["iteration"] for row in steps]

    for name in losses_of(steps[0]):
        values = smoothed([row.get(name, np.nan) for row in steps])
        left.plot(iterations, values, label=name, linewidth=2 if name == "loss" else 1)
    left.set(title="losses (running mean)", xlabel="iteration", ylim=(0, None))
    left.legend(fontsize="small")

    middle.plot(iterations, [row["lr"] for row in steps])
    middle.set(title="learning rate", xlabel="iteration", ylim=(0, None))

    for name, label in figures.items():
        name = f"val_{name}"
        points = [(row["iteration"], row[name]) for row in rows if name in row]
        if points:
            right.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
            right.legend(fontsize="small", loc="lower right")
    right.set(title="validation", xlabel="iteration", ylim=(0, 1))

    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    with atomic_file(picture) as file:
        file.write(content.getvalue())
