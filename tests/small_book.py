"""A small book for the tests: two chapters, with outputs that nobody has to wait for."""

from __future__ import annotations

import base64
import io

import nbformat
import pytest
from PIL import Image

CODE, TEXT = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
LONG = "x = 1  # " + "a line that is longer than any telephone is wide " * 3


def write(path, *new_cells):
    """A notebook of these cells, with ids c00, c01, ..."""
    notebook = nbformat.v4.new_notebook(cells=list(new_cells))
    for number, cell in enumerate(notebook.cells):
        cell.id = f"c{number:02}"
    nbformat.write(notebook, path)
    return path


def png(width, height):
    content = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(content, "png")
    return base64.encodebytes(content.getvalue()).decode()


def need_the_extra():
    for package in ("ziamath", "markdown_it", "mdit_py_plugins", "pygments"):
        pytest.importorskip(package, reason=f"no {package}: the book needs the extra `book`")


FORMULAS = r"""## Momentum

$v \leftarrow \beta v$ and

$$W = W - v$$

| a | b |
|---|---|
| 1 | 2 |"""


def small_site(folder, packages=()):
    """Write the two chapters into a folder and the site into its folder ``site``, returned."""
    need_the_extra()
    from book.site import write_site

    new_output = nbformat.v4.new_output
    table = "<table><tr><td>cell</td></tr></table>"
    outputs = [
        new_output("stream", text="\x1b[1m2 < 3\x1b[0m\nsecond "),
        new_output("stream", text="half\n" + 60 * "wide "),
        new_output("display_data", {"image/png": png(900, 300), "text/plain": "F"}),
        new_output("display_data", {"text/html": table}),
        new_output("execute_result", {"text/plain": "array([1])"}),
    ]
    one = write(
        folder / "01_one.ipynb",
        TEXT("# 01 · The first\n\nWhat is a *zebra* & why?\n\nSecond paragraph."),
        TEXT(FORMULAS),
        CODE(LONG + "\nprint('quagga')\nassert x < 2", outputs=outputs),
        TEXT("## Momentum\n\nSee [the next](02_two.ipynb#cost)."),
    )
    two = write(
        folder / "02_two.ipynb",
        TEXT("# 02 · The second\n\nAnd then?"),
        TEXT("## Cost\n\nNo zebra, momentum only. $\\sqrt{2}$ <b>"),
    )
    write_site([one, two], folder / "site", packages)
    return folder / "site"
