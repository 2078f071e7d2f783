"""Print a table of the networks: what they cost, and how well they are said to do.

Of each network with 1000 classes the side of its pictures in pixels, parameters, multiply-adds and
memory access for one of them (the thesis's FLOPs and its equation 3-1), how many convolutions and
fully connected layers there are, and the published top-1 error on ImageNet with its source. Nothing
is downloaded. The table is Markdown; --csv writes one for spreadsheets.

--time also measures how long one picture takes on this machine: as in training, and compiled. Other
programs that compute meanwhile spoil that.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import nn
from detector import own_files
from detector.commands.options import add_threads
from detector.errors import UserError
from detector.progress import Progress
from detector.results.tables import write_table
from nn.models import NETWORKS
from nn.models.published import PUBLISHED

EXAMPLES = """examples:
  lighthead networks
  lighthead networks resnet50 mobilenet_v2 shufflenet_v2_x1_0 --time --threads 1
  lighthead networks --time --csv networks.csv --picture networks.png
"""

HEADER = (
    "network", "year", "side", "parameters", "multiply-adds", "memory access", "layers",
    "ms", "compiled ms", "top-1 error, %", "source",
)  # fmt: skip
SECONDS = 1.0  # at least, for each time


class Row(NamedTuple):
    """A network; times in ms are None if they were not measured."""

    network: str
    year: int
    side: int
    parameters: int
    multiply_adds: int
    memory_access: int
    layers: int
    plain: float | None
    compiled: float | None
    error: float | None
    source: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NETWORK", help="only these (default: all)")
    parser.add_argument("--time", action="store_true", help="measure how long a picture takes")
    parser.add_argument("--csv", metavar="FILE", help="write the table for spreadsheets as well")
    parser.add_argument(
        "--picture",
        metavar="FILE",
        help="with --time: draw error and multiply-adds over time, a PNG",
    )
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    for name in args.names:
        if name not in NETWORKS:
            raise UserError(NETWORKS.complaint(name))
    if args.picture and not args.time:
        raise UserError("--picture draws times: add --time")
    if args.csv:
        own_files.check_results_file(args.csv, "--csv", own_files.is_own_table)
    if args.picture:
        own_files.check_results_file(args.picture, "--picture", own_files.is_own_picture)
    rows = []
    names = list(dict.fromkeys(args.names)) or list(NETWORKS)
    with Progress("networks", len(names), unit="networks") as progress:
        for name in names:
            rows.append(row_of(name, args.time))
            progress.step()
    print(markdown(rows, HEADER if args.time else [*HEADER[:7], *HEADER[9:]]))
    if args.csv:
        lines = [["" if cell is None else cell for cell in row] for row in rows]
        write_table(args.csv, [[own_files.NETWORKS.rstrip(","), *HEADER[1:]], *lines])
        print(f"\ntable: {args.csv}")
    if args.picture:
        own_files.write_picture(args.picture, draw(rows))
        print(f"\npicture: {args.picture}")
    return 0


def row_of(name: str, is_timed: bool) -> Row:
    """What a network costs; with new weights if it is to be timed, else with none."""
    if is_timed:
        model = NETWORKS[name]()
    else:
        with nn.init.skipped():
            model = NETWORKS[name]()
    shape = (1, 3, model.side, model.side)
    costs, published = nn.summary(model, shape), PUBLISHED[name]
    layers = sum(row.multiply_adds > 0 for row in costs.rows)
    times = (None, None)
    if is_timed:
        images = np.random.default_rng(0).standard_normal(shape, np.float32)
        model.eval()
        with nn.no_grad():
            plain = milliseconds(lambda: model(nn.Tensor(images)))
        compiled = nn.inference.compile(model, shape)
        times = plain, milliseconds(lambda: compiled(images))
    return Row(
        name, published.year, model.side, costs.parameters, costs.multiply_adds,
        costs.memory_access, layers, *times, published.error, published.source,
    )  # fmt: skip


def milliseconds(function: Callable) -> float:
    """The median time of a call, over at least three and ``SECONDS``; the first does not count."""
    function()
    found: list[float] = []
    while len(found) < 3 or sum(found) < SECONDS:
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return 1000 * statistics.median(found)


def markdown(rows: list[Row], header) -> str:
    """The table as text whose columns are aligned; columns that are not in ``header`` are left
    out."""
    chosen = [HEADER.index(name) for name in header]
    cells = [[written(row[column]) for column in chosen] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    is_text = [name in ("network", "source") for name in header]

    def line(texts) -> str:
        fitted = (
            text.ljust(width) if left else text.rjust(width)
            for text, width, left in zip(texts, widths, is_text, strict=True)
        )  # fmt: skip
        return f"| {' | '.join(fitted)} |"

    rule = ["-" * width if left else "-" * (width - 1) + ":" for width, left in zip(
        widths, is_text, strict=True
    )]  # fmt: skip
    return "\n".join(line(texts) for texts in (header, rule, *cells))


def written(cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) and cell > 9999 else str(cell)


def draw(rows: list[Row]) -> np.ndarray:
    """(H, W, 3) uint8: errors over compiled times, and multiply-adds over them."""
    # A figure without pyplot: no window system is asked for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 9), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes, label, value in (
        (left, "published top-1 error, %", lambda row: row.error),
        (right, "multiply-adds, millions", lambda row: row.multiply_adds / 1e6),
    ):
        shown = [row for row in rows if value(row) is not None]
        axes.scatter([row.compiled for row in shown], [value(row) for row in shown], s=12)
        for row in shown:
            axes.annotate(
                row.network, (row.compiled, value(row)), xytext=(3, 2),
                textcoords="offset points", fontsize=7,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_xlabel(f"ms for one picture, compiled, {nn.get_num_threads()} threads")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    right.set_yscale("log")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
