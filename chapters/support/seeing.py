"""What a figure shows, in words: for readers who hear the book, and for where no picture loads."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, ScalarFormatter

MOST_PANELS, MOST_THINGS, MOST_WORDS, MOST = 6, 6, 14, 700


def describe(figure: Figure) -> str:
    """Panel by panel what is drawn, with the names, the numbers at the ends and the units that the
    figure itself has: nothing that is not in it."""
    panels = [axis for axis in figure.axes if axis.get_visible() and _things(axis)]
    if not panels:
        return "An empty figure."
    told = [_panel(axis) for axis in panels]
    if len(panels) == 1:
        text = told[0]
    elif len(set(told)) == 1:
        text = f"{len(panels)} panels, each: {told[0]}"
    else:
        more = len(told) - MOST_PANELS
        text = f"{len(panels)} panels. " + " ".join(
            f"{number}: {panel}" for number, panel in enumerate(told[:MOST_PANELS], 1)
        )
        text += f" And {more} more." * (more > 0)
    title = figure.get_suptitle() if hasattr(figure, "get_suptitle") else ""
    text = " ".join((f"{title}. {text}" if title else text).replace("$", "").split())
    return text if len(text) <= MOST else text[: MOST - 4].rsplit(" ", 1)[0] + " ..."


def _panel(axis: Axes) -> str:
    axes = [f"{name} {label}" for name, label in
            (("across", axis.get_xlabel()), ("up", axis.get_ylabel())) if label]  # fmt: skip
    title = axis.get_title() or axis.get_title("left")
    head = ", ".join([*([title.strip(".")] if title else []), *axes])
    things = "; ".join(_things(axis))
    return f"{head}: {things}." if head else f"{things}."


def _things(axis: Axes) -> list[str]:
    """What is drawn on one axis."""
    found = [f"a picture of {a.shape[1]} by {a.shape[0]}" for a in map(_array, axis.images)]
    found = [f"{len(found)} pictures"] if len(found) > 2 else found
    lines = [line for line in axis.lines if len(line.get_xdata()) > 1]
    named = [line for line in lines if not line.get_label().startswith("_")]
    found += _most([_line(line) for line in named], "lines")
    if len(lines) > len(named):
        found.append(_many(len(lines) - len(named), "line" if not named else "more line"))
    found += [bars for each in axis.containers if isinstance(each, BarContainer)
              if (bars := _bars(axis, each))]  # fmt: skip
    points = [each for each in axis.collections if isinstance(each, PathCollection)]
    found += [_points(each) for each in points]
    barred = sum(len(each) for each in axis.containers if isinstance(each, BarContainer))
    if (patches := len(axis.patches) - barred) > 0:
        found.append(_many(patches, "shape"))
    words = [text.get_text() for text in axis.texts if text.get_text().strip()]
    if words:
        more = f" and {len(words) - MOST_WORDS} more"
        found.append("marked " + ", ".join(words[:MOST_WORDS]) + more * (len(words) > MOST_WORDS))
    return found


def _line(line) -> str:
    y = np.asarray(line.get_ydata(), float)
    x = np.asarray(line.get_xdata(), object)
    start, end = y[0], y[-1]
    where = f" at {_number(x[0])}", f" at {_number(x[-1])}"
    return f"{line.get_label()} from {start:.3g}{where[0]} to {end:.3g}{where[1]}"


def _bars(axis: Axes, bars: BarContainer) -> str:
    across = bars.orientation == "horizontal"
    sizes = [bar.get_width() if across else bar.get_height() for bar in bars]
    label = bars.get_label() if not bars.get_label().startswith("_") else ""
    names = _names(axis, bars, across)
    if len(sizes) <= 2 * MOST_THINGS and all(names) and len(set(names)) == len(sizes):
        text = ", ".join(f"{name} {size:.3g}" for name, size in zip(names, sizes, strict=True))
    elif sizes:
        text = f"{_many(len(sizes), 'bar')} from {min(sizes):.3g} to {max(sizes):.3g}"
    else:
        return ""
    return f"{label}: {text}" if label else text


def _names(axis: Axes, bars: BarContainer, across: bool) -> list[str]:
    """What the nearest tick calls each bar; nothing where ticks are numbers of their own."""
    side = axis.yaxis if across else axis.xaxis
    ticks = np.asarray(side.get_ticklocs(), float)
    formatter = side.get_major_formatter()
    if isinstance(formatter, ScalarFormatter | LogFormatter) or not len(ticks):
        return []
    texts = formatter.format_ticks(ticks)  # also where a shared axis hides its labels
    centres = [
        bar.get_y() + bar.get_height() / 2 if across else bar.get_x() + bar.get_width() / 2
        for bar in bars
    ]
    return [texts[np.abs(ticks - centre).argmin()] for centre in centres]


def _points(points: PathCollection) -> str:
    label = points.get_label()
    count = _many(len(points.get_offsets()), "point")
    return count if label.startswith("_") else f"{label}, {count}"


def _most(texts: list[str], what: str) -> Iterable[str]:
    if len(texts) <= MOST_THINGS:
        return texts
    return [*texts[:MOST_THINGS], f"{len(texts) - MOST_THINGS} more {what}"]


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, int | float | np.number) else str(value)


def _array(image) -> np.ndarray:
    return np.asarray(image.get_array())
