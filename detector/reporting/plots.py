"""Plots as SVG to stand inside a page: text in the page's colour, on its ground, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# To be told from each other and from a light and a dark ground.
COLOURS = (
    "#2f83c4", "#d9752b", "#38a169", "#cf4f62", "#8d6cc9", "#a07b3c", "#c566ab", "#7d9028",
)  # fmt: skip
MOST_POINTS = 400  # of a line: more cannot be seen
INK = "#010203"  # stands for the colour of the page's text
STYLE = {
    "svg.fonttype": "none",  # letters, not outlines
    "svg.hashsalt": "lighthead",  # the same page for the same figures
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 11,
}


@dataclass(frozen=True)
class Line:
    """A line of a plot, and what the legend says of it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    is_main: bool = False


@dataclass(frozen=True)
class Plot:
    """A drawing, and its legend: names with colours, which the page sets in letters of its own."""

    svg: Markup
    legend: list[tuple[str, str]]


def lines(
    every: Iterable[Line],
    xlabel: str,
    ylabel: str,
    xlim: tuple | None = None,
    ylim: tuple | None = None,
    mark: float | None = None,
) -> Plot:
    """Lines over one axis.

    Args:
        mark: an x to draw a dotted line at.
    """
    every = list(every)

    def draw(axes: Axes) -> None:
        for line in every:
            x, y = thinned(line.x, line.y)
            marker = "o" if len(x) < 40 else None
            width = 2.6 if line.is_main else 1.4
            axes.plot(x, y, color=line.colour, linewidth=width, marker=marker, markersize=3)
        if mark is not None:
            axes.axvline(mark, color=INK, linewidth=1.2, linestyle=":")
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=xlim, ylim=ylim)

    return Plot(drawn(draw), [(line.name, line.colour) for line in every])


def thinned(x: Sequence[float], y: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """At most ``MOST_POINTS`` points, evenly picked, the first and the last among them."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) <= MOST_POINTS:
        return x, y
    kept = np.linspace(0, len(x) - 1, MOST_POINTS).round().astype(int)
    return x[kept], y[kept]


def drawn(draw: Callable[[Axes], None]) -> Markup:
    """What ``draw`` puts into an empty plot, as SVG that is as wide as its place in the page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        draw(figure.add_subplot())
        file = io.StringIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    return for_page(file.getvalue())


def for_page(svg: str) -> Markup:
    """matplotlib's SVG without its header, its names of groups and its size in points."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", svg, flags=re.DOTALL)
    svg = re.sub(r" font-family: [^;]*;", "", svg)
    return Markup(svg.replace(INK, "currentColor"))
