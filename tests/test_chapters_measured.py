"""Measured figures that a chapter shows without measuring them are those of the page it names."""

import ast

import nbformat

from book.folders import ROOT, notebooks


def shown(chapter, name):
    """The dict of this name in a cell of a chapter. (A chapter taken away has no page to read.)"""
    (path,) = (path for path in notebooks() if path.name.startswith(chapter))
    cells = nbformat.read(path, as_version=4).cells
    (cell,) = (cell for cell in cells if cell.source.startswith(f"{name} = {{"))
    return ast.literal_eval(ast.parse(cell.source).body[0].value)


def table(page, head):
    """The rows of a table of a page, without what marks bold and code."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(head)[2]
    lines = text.partition("\n\n")[0].splitlines()[2:]  # without the rest of its head, and the rule
    return [[cell.strip(" *").replace("`", "") for cell in line.split("|")[1:-1]] for line in lines]


def test_two_tasks_on_photographs():
    rows = table("multitask.md", "| gain in mmAP | thesis, on COCO |")
    assert shown("15", "MEASURED") == {name: (ap, gain) for name, ap, _, gain, *_ in rows}


def test_one_change_of_the_recipe():
    rows = table("training-notes.md", "| one change | its path in the recipe")
    assert shown("12", "AP50_AFTER") == {name: float(ap50) for name, _, ap50, *_ in rows}
