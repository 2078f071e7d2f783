"""The reference in the book: every public name once, with what its docstring says."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from html.parser import HTMLParser
from types import ModuleType

import pytest
from small_book import TEXT, need_the_extra, write

need_the_extra()

from book import docstrings, reference  # noqa: E402
from book.reference import PACKAGES, public_names  # noqa: E402
from book.site import write_site  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    write_site([write(folder / "01_one.ipynb", TEXT("# 01 · One"))], folder / "site", PACKAGES)
    return folder / "site"


def read(site, package):
    return (site / f"{package}.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_told_once(site, package):
    page = read(site, package)
    (table,) = re.findall(r'<table class="names">.*?</table>', page, re.DOTALL)
    named = re.findall(r'<td><a href="([^"]+)"><code>(\w+)</code>', table)
    module = importlib.import_module(package)
    assert {name for _, name in named} >= set(getattr(module, "__all__", ()))
    assert len({name for _, name in named}) == len(named) == len(public_names(package)) > 0
    for address, name in named:
        file, _, anchor = address.partition("#")
        target = (site / file).read_text(encoding="utf-8")
        assert anchor in (name, "")
        assert target.count(f'<h3 id="{name}">') == bool(anchor), address
        thing = getattr(module, name, None)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            told = [each for each in PACKAGES if f'<h3 id="{name}">' in read(site, each)]
            same = [each for each in told if public_names(each).get(name) is thing]
            assert len(same) == 1, (name, same)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_docstring_is_empty(package):
    assert inspect.getdoc(importlib.import_module(package))
    for name, thing in public_names(package).items():
        if callable(thing) or isinstance(thing, ModuleType):
            own = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
            # A dataclass without one gets its signature.
            assert own and not own.startswith(f"{name}("), name
            assert len(docstrings.document(thing)) > 10, name


def test_packages_without_a_list_offer_what_their_files_define():
    names = public_names("detector.heads")
    assert {"RegionProposalNetwork", "LightHead", "RPNSettings"} <= set(names)
    assert "np" not in names and "ThinMap" not in names
    assert "DETECTORS" in public_names("detector.detectors")


def test_anchors_are_unique_and_all_elements_closed(site):
    class Checker(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open, self.ids = [], []

        def handle_starttag(self, tag, attributes):
            self.ids += [value for name, value in attributes if name == "id"]
            if tag not in ("meta", "link", "input", "img", "br"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag, (self.getpos(), tag)

    for package in PACKAGES:
        checker = Checker()
        checker.feed(read(site, package))
        assert not checker.open and len(set(checker.ids)) == len(checker.ids), package


def test_signatures_are_python(site):
    """As written in the source: no quotes around annotations, no addresses in defaults."""
    for package in PACKAGES:
        text = re.sub(r"<[^>]+>", "", read(site, package))
        assert " at 0x" not in text and "&lt;class" not in text, package
    functional = re.sub(r"<[^>]+>", "", read(site, "nn.functional"))
    assert "\nsigmoid(input: Tensor) -&gt; Tensor\n" in functional
    layers = re.sub(r"<[^>]+>", "", read(site, "nn.layers"))
    assert "class BatchNorm2d(\n    num_features: int,\n    eps: float = 1e-05,\n" in layers


def test_pages_lead_to_each_other_and_are_searched(site):
    contents = (site / "reference.html").read_text(encoding="utf-8")
    for package in PACKAGES:
        assert f'href="{package}.html"' in contents
        assert f'<a href="{package}.html" aria-current="page">' in read(site, package)
    assert 'href="reference.html"' in (site / "index.html").read_text(encoding="utf-8")
    text = (site / "sections.js").read_text(encoding="utf-8")
    rows = json.loads(text.removeprefix("const SECTIONS = ").rstrip(";\n"))
    (row,) = [row for row in rows if row[0] == "nn.optim.html#MomentumSGD"]
    assert row[1:3] == ["nn.optim", "MomentumSGD"] and "momentum" in row[3]
    assert [row[0] for row in rows].count("nn.html#Conv2d") == 0


def example():
    """What it is, ``a < b``; the *first* part::

        y = a < b

    Second paragraph.

    - one
    - two, which
      goes on

    >>> 1 + 1
    2

    Args:
        one, two: of a list
            that goes on.
        **more: ``x``.

    Returns:
        boxes (R, 4): sorted.

    Raises (sometimes):
        ValueError: it is wrong.
    """


def test_docstrings_become_elements():
    text = docstrings.document(example)
    for part in (
        "<p>What it is, <code>a &lt; b</code>; the <em>first</em> part:</p>",
        "<p>Second paragraph.</p>",
        "<li>two, which\n  goes on</li>",
        "<h5>Args</h5><dl><dt><code>one, two</code></dt><dd>of a list\n    that goes on.</dd>",
        "<dt><code>**more</code></dt><dd><code>x</code>.</dd>",
        "<h5>Returns</h5><p>boxes (R, 4): sorted.</p>",
        "<h5>Raises (sometimes)</h5><dl><dt><code>ValueError</code></dt>",
    ):
        assert part in text, text
    assert text.count("<pre>") == 2
    assert docstrings.summary(example) == (
        "What it is, <code>a &lt; b</code>; the <em>first</em> part"
    )


def test_things_live_with_the_innermost_package():
    import nn

    assert reference.home("nn", "Conv2d", nn.Conv2d) == "nn.layers"
    assert reference.home("nn", "Tensor", nn.Tensor) == "nn"
    assert reference.address("nn", "optim", nn.optim) == "nn.optim.html"
