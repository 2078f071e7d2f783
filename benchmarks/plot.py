"""A picture of a group: our time as a part of each peer's, on a logarithmic axis."""

from __future__ import annotations

import io
import os

from benchmarks.contestants import COMPILED, ONNX
from benchmarks.measurement import Measurement
from nn.files import atomic_file

COLOURS = {"PyTorch eager": "tab:orange", COMPILED.name: "tab:red", ONNX.name: "tab:blue"}


def draw(measurements: list[Measurement], threads: int, path: str | os.PathLike) -> None:
    """Write a PNG with a row for each case; nothing where there is nothing to compare.

    A dot is the median of the ratio, the line through it reaches from quartile to quartile; left
    of 1 we are faster.
    """
    # A figure without pyplot: no window system is asked for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [
        m
        for m in measurements
        if m.against(m.eager(threads), threads) or m.against(ONNX.name, threads)
    ]
    if not rows:
        return
    figure = Figure(figsize=(9, 1.2 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, (name, colour) in enumerate(COLOURS.items()):
        points = []
        for row, measurement in enumerate(rows):
            peer = measurement.eager(threads) if name == "PyTorch eager" else name
            value = measurement.against(peer, threads)
            if value is not None:
                points.append((row + 0.2 * (place - 1), value))
        if points:
            medians = [value.median for _, value in points]
            errors = [
                [value.median - value.low for _, value in points],
                [value.high - value.median for _, value in points],
            ]
            axes.errorbar(
                medians, [y for y, _ in points], xerr=errors, fmt="o", markersize=4,
                color=colour, label=f"ours / {name}",
            )  # fmt: skip
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [m.name for m in rows], fontsize="small")
    axes.invert_yaxis()
    axes.set_xscale("log")
    ticks = [0.25, 0.5, 1, 2, 4]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"time, ours / theirs, {threads} threads; left of 1 we are faster")
    axes.legend(fontsize="small")
    picture = io.BytesIO()
    FigureCanvasAgg(figure).print_png(picture)
    with atomic_file(path) as file:
        file.write(picture.getvalue())
