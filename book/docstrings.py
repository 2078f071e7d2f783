"""Docstrings as HTML: paragraphs, ``code``, lists, blocks, and the fields of Google's style."""

from __future__ import annotations

import html
import inspect
import re

from book.cells import coloured

FIELDS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Options")
FIELD = re.compile(rf"({'|'.join(FIELDS)})( \(.+\))?:$")
# "name: text", where a name may be several, starred, or an exception.
ENTRY = re.compile(r"([\w*., ]+?):\s+(.*)", re.DOTALL)
MARKS = (
    (re.compile(r"``(.+?)``"), r"<code>\1</code>"),
    (re.compile(r"\*\*(\S.*?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"(?<![\w*])\*(\w[^*]*)\*(?![\w*])"), r"<em>\1</em>"),
)


def document(thing: object) -> str:
    """The whole docstring of a thing; "" if it has none, inherited ones included."""
    text = inspect.getdoc(thing) or ""
    parts, paragraphs = [], text.split("\n\n")
    while paragraphs:
        first, _, rest = paragraphs[0].partition("\n")
        if FIELD.match(first):
            inside = [rest, *_take_indented(paragraphs[1:])]
            del paragraphs[: len(inside)]
            parts.append(_field(first[:-1], inspect.cleandoc("\n\n".join(inside))))
        else:
            parts.append(_block(paragraphs.pop(0)))
    return "\n".join(parts)


def summary(thing: object) -> str:
    """The first sentence of a docstring: HTML, on one line."""
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    text = FIELD.sub("", re.split(r"(?<=[.:?]) (?=[A-Z(>])| (?:Args|Attributes): ", text)[0])
    return inline(text.rstrip(":"))


def inline(text: str) -> str:
    """Text of one paragraph, its marks as elements."""
    text = html.escape(text, quote=False)
    for pattern, element in MARKS:
        text = pattern.sub(element, text)
    return text


def _take_indented(paragraphs: list[str]) -> list[str]:
    """The first of them that are indented."""
    taken = []
    for paragraph in paragraphs:
        if not paragraph.startswith(" "):
            break
        taken.append(paragraph)
    return taken


def _block(text: str) -> str:
    """A paragraph, an example, a list, or lines that keep their places."""
    text = text.rstrip()
    if not text:
        return ""
    if text.lstrip().startswith(">>>") or text.startswith("  "):
        return f"<pre><code>{coloured(inspect.cleandoc(text))}</code></pre>"
    if text.startswith("- "):
        items = re.split(r"^- ", text, flags=re.MULTILINE)[1:]
        return f"<ul>{''.join(f'<li>{inline(item)}</li>' for item in items)}</ul>"
    return f"<p>{inline(text[:-1] if text.endswith('::') else text)}</p>"


def _field(name: str, text: str) -> str:
    """``Args:`` and its like: entries by name, or just text."""
    entries = re.split(r"\n(?! )", text)
    matches = [ENTRY.fullmatch(entry) for entry in entries]
    if name in ("Returns", "Yields") or not all(matches):
        body = "".join(map(_block, text.split("\n\n")))
    else:
        rows = [
            f"<dt><code>{html.escape(match[1])}</code></dt><dd>{inline(match[2])}</dd>"
            for match in matches
        ]
        body = f"<dl>{''.join(rows)}</dl>"
    return f'<div class="field"><h5>{name}</h5>{body}</div>'
