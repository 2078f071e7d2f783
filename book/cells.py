"""Code cells and their outputs as HTML."""

from __future__ import annotations

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
COPY = '<button class="copy" type="button" hidden>Copy</button>'


def code(source: str) -> str:
    """A code cell, coloured."""
    return f'<div class="code"><pre><code>{coloured(source)}</code></pre>{COPY}</div>'


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
        return picture(data["image/png"])
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


def picture(png: str) -> str:
    """A figure, inline. ``png`` is its content in base 64."""
    content = base64.b64decode(png)
    width, height = (round(SHOWN_SIZE * side) for side in struct.unpack(">II", content[16:24]))
    text = "figure made by the code above"
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    image = f'<img src="{source}" width="{width}" height="{height}" alt="{text}">'
    return f'<figure class="output">{image}</figure>'
