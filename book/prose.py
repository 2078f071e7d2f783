"""Markdown cells: to HTML, and to the plain text that the search looks through."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from book.formulas import formula


@dataclass
class Section:
    """What stands under one heading of a chapter, for the contents and the search."""

    title: str
    level: int
    anchor: str
    words: list[str] = field(default_factory=list)


def _set(latex: str, options: dict) -> str:
    return formula(latex.strip(), options["display_mode"])


MARKDOWN = MarkdownIt("commonmark").enable("table")
dollarmath_plugin(MARKDOWN, renderer=_set, allow_labels=False, double_inline=True)


class Prose:
    """Renders the markdown cells of one chapter, one after the other, and collects its sections."""

    def __init__(self, title: str):
        self.sections = [Section(title, 1, "top")]
        self._anchors = {"top"}

    def render(self, source: str) -> str:
        """The HTML of a cell. Headings get an anchor; links to chapters lead to their pages."""
        tokens = MARKDOWN.parse(source)
        for token, inline in zip(tokens, tokens[1:] + tokens[-1:], strict=True):
            if token.type == "heading_open" and token.tag != "h1":
                token.attrSet("id", self._open_section(plain(inline), int(token.tag[1])))
            elif token.type == "inline":
                self.sections[-1].words.append(plain(token))
                for child in token.children or ():
                    if child.type == "link_open":
                        child.attrSet("href", _page(str(child.attrGet("href"))))
            elif token.type in ("fence", "code_block", "math_block"):
                self.sections[-1].words.append(token.content)
        return MARKDOWN.renderer.render(tokens, MARKDOWN.options, {})

    def code(self, source: str) -> None:
        """Let the search find what a code cell says."""
        self.sections[-1].words.append(source)

    def _open_section(self, title: str, level: int) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        anchor, number = slug, 2
        while anchor in self._anchors:
            anchor, number = f"{slug}-{number}", number + 1
        self._anchors.add(anchor)
        self.sections.append(Section(title, level, anchor))
        return anchor


def plain(token) -> str:
    """The text of an inline token, without its marks."""
    breaks = {"softbreak": " ", "hardbreak": " "}
    return "".join(breaks.get(child.type, child.content) for child in token.children or ())


def _page(link: str) -> str:
    """Where a link of a notebook leads on the site."""
    return re.sub(r"^(\d\d_\w+\.ipynb|\w+\.md)", lambda match: f"{Path(match[1]).stem}.html", link)
