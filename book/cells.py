"""Code cells and their outputs as HTML."""

from __future__ import annotations

import ast
import base64
import html
import itertools
import re
import struct
from collections.abc import Iterable

import nbformat
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from book.prose import MARKDOWN

ANSI = re.compile(r"\x1b\[[0-9;]*m")
# Figures have 120 pixels an inch (support/figures.py), and a page 96.
SHOWN_SIZE = 96 / 120
LINES_TO_FOLD = 7
DRAWERS = {"plt", "axis", "axes", "left", "right", "figures", "figure"}  # names in the chapters
COPY = '<button class="copy" type="button" hidden>Copy</button>'


def code(source: str, draws: bool = False) -> str:
    """A code cell, coloured; folded if it is long and only draws a figure."""
    text = f'<div class="code"><pre><code>{coloured(source)}</code></pre>{COPY}</div>'
    lines = source.count("\n") + 1
    if not draws or lines < LINES_TO_FOLD:
        return text
    return f'<details class="drawing"><summary>{lines} lines draw this</summary>{text}</details>'


def coloured(source: str) -> str:
    """Python as HTML, its tokens in elements of their kinds."""
    return highlight(source, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).rstrip()


def outputs(results: Iterable[nbformat.NotebookNode]) -> list[str]:
    """The outputs of a code cell. What it printed in several goes stands together."""
    parts = []
    for kind, group in itertools.groupby(results, lambda result: result.output_type):
        if kind == "stream":
            parts.append(printed("".join(result.text for result in group)))
        else:
            parts += [richest(result.data) for result in group]
    return parts


def richest(data: dict[str, str]) -> str:
    """An output in the richest of its forms, which are the contents by media type."""
    if "image/png" in data:
        return picture(data["image/png"], data.get("text/plain", ""))
    if "image/svg+xml" in data:
        return f'<figure class="output">{data["image/svg+xml"]}</figure>'
    if "text/html" in data:
        return f'<div class="output html">{data["text/html"]}</div>'
    if "text/markdown" in data:
        return f'<div class="output html">{MARKDOWN.render(data["text/markdown"])}</div>'
    return printed(data["text/plain"])


def printed(text: str) -> str:
    """Plain text as it was printed. What an exercise says is prose, whose lines may be broken."""
    kind = "output said" if text.startswith("Not answered yet") else "output"
    return f'<pre class="{kind}">{html.escape(ANSI.sub("", text).rstrip())}</pre>'


def draws(cell: nbformat.NotebookNode) -> bool:
    """Whether a code cell makes a figure, and most of its lines do nothing else."""
    if not any("image/png" in result.get("data", ()) for result in cell.outputs):
        return False
    lines = drawing = 0
    for statement in ast.parse(cell.source).body:
        names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        height = statement.end_lineno - statement.lineno + 1
        lines += height
        drawing += height * bool(names & DRAWERS)
    return drawing > 0.5 * lines


def picture(png: str, seen: str = "") -> str:
    """A figure, inline, which scrolls where it is wider than the page.

    Args:
        png: its content in base 64.
        seen: what it shows, in words.
    """
    content = base64.b64decode(png)
    width, height = (round(SHOWN_SIZE * side) for side in struct.unpack(">II", content[16:24]))
    known = seen and not seen.startswith("<Figure")
    text = html.escape(seen) if known else "figure made by the code above"
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    image = f'<img src="{source}" width="{width}" height="{height}" alt="{text}">'
    return f'<figure class="output" tabindex="0">{image}</figure>'
