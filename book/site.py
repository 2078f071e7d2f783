"""Executed chapters in, a folder of HTML out: chapters, contents, reference and search."""

from __future__ import annotations

import html
import itertools
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import nbformat

from book import cells, reference
from book.course import COURSE, map_of
from book.downloads import write_archive
from book.hints import hints
from book.playground import playground
from book.prose import Prose, Section

TEMPLATES = Path(__file__).parent / "templates"
CURRENT = ' aria-current="page"'
ASSETS = ("style.css", "theme.js", "page.js", "search.js", "playground.js")


@dataclass
class Chapter:
    """One chapter, rendered."""

    page: str  # name of its file
    number: str  # "07"
    title: str
    question: str  # HTML of the paragraph under the title
    figure: str  # HTML of its first figure, "" if it has none
    body: str
    sections: list[Section]


def write_site(
    paths: Sequence[Path],
    folder: Path,
    packages: Sequence[str] = (),
    others: Sequence[Path] = (),
) -> None:
    """Render executed notebooks, a reference of packages, and other pages, into a folder.

    The folder is emptied before.

    Raises:
        ValueError: a formula cannot be set, a notebook does not begin with "# NN · Title", another
            page (Markdown) not with "# Title", or the folder holds something else than such a site.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "sections.js").exists():
        raise ValueError(f"{folder} holds no book but other files: move them away")
    chapters = [read_chapter(path) for path in paths]
    pages = [reference.make_page(package) for package in packages]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ASSETS:
        shutil.copyfile(TEMPLATES / name, folder / name)
    (folder / "map").mkdir()
    for number in {chapter.number for chapter in chapters} & set(COURSE):
        (folder / "map" / f"{number}.svg").write_text(map_of(number), encoding="utf-8")
    (folder / "sections.js").write_text(search_index(chapters, pages), encoding="utf-8")
    (folder / "index.html").write_text(contents_page(chapters), encoding="utf-8")
    for before, chapter, after in zip(
        [None, *chapters[:-1]], chapters, [*chapters[1:], None], strict=True
    ):
        text = chapter_page(before, chapter, after)
        (folder / chapter.page).write_text(text, encoding="utf-8")
    (folder / "downloads").mkdir()
    for path in paths:
        write_archive(path.name, folder / "downloads" / f"{path.stem}.zip")
    (folder / "playground.html").write_text(
        fill("page.html", title="Figures to play with", body=playground()), encoding="utf-8"
    )
    for path in others:
        (folder / f"{path.stem}.html").write_text(other_page(path), encoding="utf-8")
    (folder / "reference.html").write_text(reference_contents(pages), encoding="utf-8")
    for page in pages:
        (folder / page.file).write_text(reference_page(page, pages), encoding="utf-8")


def read_chapter(path: Path) -> Chapter:
    """Render one notebook."""
    notebook = nbformat.read(path, as_version=4)
    first = notebook.cells[0].source.splitlines()[0]
    if not first.startswith(f"# {path.name[:2]} · "):
        raise ValueError(f'{path} must begin with "# {path.name[:2]} · Title", not with {first!r}')
    number, title = first[2:].split(" · ", 1)
    prose, parts = Prose(title), []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(f'<div class="prose">{prose.render(cell.source)}</div>')
        elif cell.source.strip():
            prose.code(cell.source)
            parts.append(cells.code(cell.source, cells.draws(cell)))
            # In place of "Not answered yet", which says nothing to whoever reads.
            folded = hints(number, cell.source)
            parts += [folded] if folded else cells.outputs(cell.outputs)
    question = parts[0].partition("</h1>")[2].partition("</p>")[0].strip() + "</p>"
    body = "\n".join(parts)
    figure = re.search(r"<figure[^>]*>(<img[^>]*>)</figure>", body)
    first = figure[1] if figure else ""
    return Chapter(f"{path.stem}.html", number, title, question, first, body, prose.sections)


def chapter_page(before: Chapter | None, chapter: Chapter, after: Chapter | None) -> str:
    """The whole page of a chapter, between the one before and the one after."""
    sections = "".join(
        f'<li><a href="#{section.anchor}">{html.escape(section.title)}</a></li>'
        for section in chapter.sections
        if section.level == 2
    )
    body = fill(
        "chapter.html",
        sections=sections,
        archive=f"downloads/{Path(chapter.page).stem}.zip",
        body=chapter.body,
        before=_way(before, "prev", "← "),
        after=_way(after, "next", "", " →"),
    )
    return fill("page.html", title=f"{chapter.number} · {html.escape(chapter.title)}", body=body)


def other_page(path: Path) -> str:
    """A page of Markdown that belongs to all chapters."""
    text = path.read_text(encoding="utf-8")
    title = text.splitlines()[0]
    if not title.startswith("# "):
        raise ValueError(f'{path} must begin with "# Title", not with {title!r}')
    body = f'<main class="prose other">{Prose(title[2:]).render(text)}</main>'
    return fill("page.html", title=html.escape(title[2:]), body=body)


def contents_page(chapters: Sequence[Chapter]) -> str:
    """The first page: every chapter with its part of the course, its question and its time."""
    parts = ""
    for part, group in itertools.groupby(chapters, key=_part):
        items = "".join(map(_item, group))
        parts += f"<h2>{html.escape(part)}</h2>" * bool(part) + f"<ol>{items}</ol>"
    return fill("page.html", title="Contents", body=fill("contents.html", parts=parts))


def _part(chapter: Chapter) -> str:
    return COURSE[chapter.number].part if chapter.number in COURSE else ""


def _item(chapter: Chapter) -> str:
    """A chapter on the first page."""
    time = ""
    if (row := COURSE.get(chapter.number)) is not None:
        time = f'<p class="time">{row.reading} + {row.exercises} minutes · difficulty '
        time += f"{row.difficulty} of 3</p>"
    picture = f'<div class="cover">{chapter.figure}</div>' if chapter.figure else ""
    return (
        f'<li>{picture}<div><a href="{chapter.page}"><span>{chapter.number}</span>'
        f'{html.escape(chapter.title)}</a><div class="prose">{chapter.question}</div>{time}'
        "</div></li>"
    )


def reference_contents(pages: Sequence[reference.Page]) -> str:
    """The first page of the reference: every package with a line about it."""
    items = "".join(
        f'<li><a href="{page.file}">{page.package}</a>'
        f'<div class="prose"><p>{page.summary}</p></div></li>'
        for page in pages
    )
    return fill("page.html", title="Reference", body=fill("packages.html", items=items))


def reference_page(page: reference.Page, pages: Sequence[reference.Page]) -> str:
    """The whole page of a package, beside the list of all."""
    packages = "".join(
        f'<li><a href="{each.file}"{CURRENT * (each is page)}>{each.package}</a></li>'
        for each in pages
    )
    body = fill("reference.html", packages=packages, body=page.body)
    return fill("page.html", title=page.package, body=body)


def search_index(chapters: Sequence[Chapter], pages: Sequence[reference.Page] = ()) -> str:
    """A script that sets SECTIONS: [page#anchor, page, section, text] for each section."""
    told = [(each.page, f"{each.number} · {each.title}", each.sections) for each in chapters]
    told += [(each.file, each.package, each.sections) for each in pages]
    rows = [
        [
            f"{file}#{section.anchor}",
            title,
            section.title,
            " ".join(" ".join(section.words).split()),
        ]
        for file, title, sections in told
        for section in sections
    ]
    return f"const SECTIONS = {json.dumps(rows, ensure_ascii=False)};\n"


def fill(template: str, **values: str) -> str:
    """A template with its $names replaced."""
    return Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(values)


def _way(chapter: Chapter | None, relation: str, left: str = "", right: str = "") -> str:
    if chapter is None:
        return "<span></span>"
    text = f"{left}{chapter.number} · {html.escape(chapter.title)}{right}"
    return f'<a rel="{relation}" href="{chapter.page}">{text}</a>'
