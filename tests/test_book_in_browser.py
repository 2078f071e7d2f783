"""The book as a reader meets it: in headless Chromium, from the disk, without a network.

Needs the package ``playwright`` and a Chromium or Chrome on the PATH; skipped, saying so, without.
"""

from __future__ import annotations

import pytest
from browsing import LAPTOP, PHONE, Reader, open_browser
from small_book import LONG, small_site

from book import playground
from book.folders import SITE


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return small_site(tmp_path_factory.mktemp("book"), ["nn.optim"])


@pytest.fixture
def reader(browser):
    readers = []

    def make(*args, **kwargs):
        readers.append(Reader(browser, *args, **kwargs))
        return readers[-1]

    yield make
    for each in readers:
        each.context.close()
        assert each.troubles == []


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_from_the_contents_through_the_chapters(reader, site, size):
    someone = reader(size)
    page = someone.open(site / "index.html")
    page.get_by_role("link", name="The first").click()
    assert page.locator("h1").inner_text() == "01 · The first"
    assert someone.overflow() == 0
    page.get_by_role("link", name="the next").click()
    assert page.url.endswith("02_two.html#cost")
    page.locator("a[rel=prev]").click()
    page.locator("a[rel=next]").click()
    assert page.locator("h1").inner_text() == "02 · The second"


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_search_looks_through_all_chapters(reader, site, size):
    page = reader(size).open(site / "02_two.html")
    page.keyboard.press("/")
    page.keyboard.type("zebra")
    found = page.locator(".found a")
    found.first.wait_for()
    assert found.count() == 2
    assert "01 · The first" in found.all_inner_texts()[0] + found.all_inner_texts()[1]
    place = page.locator(".found").bounding_box()
    assert 0 <= place["x"] and place["x"] + place["width"] <= size[0]
    assert page.locator(".found mark").first.inner_text() == "zebra"
    page.locator(".search input").fill("momentum quagga")
    assert found.count() == 1
    page.keyboard.press("Enter")
    page.wait_for_url("**/01_one.html#momentum")
    page.locator(".search input").fill("[okapi (")
    page.get_by_text("Nothing found.").wait_for()
    page.keyboard.press("Escape")
    assert page.locator(".found").is_hidden()


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_from_a_chapter_to_a_function(reader, site, size):
    someone = reader(size)
    page = someone.open(site / "01_one.html")
    page.get_by_role("link", name="Reference").click()
    page.get_by_role("link", name="nn.optim").click()
    assert page.locator("h1").inner_text() == "nn.optim" and someone.overflow() == 0
    page.get_by_role("link", name="momentum_step", exact=True).click()
    assert page.url.endswith("nn.optim.html#momentum_step")
    page.locator(".search input").fill("cosine_decay")
    page.locator(".found a").first.wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/nn.optim.html#cosine_decay")
    place = page.locator("#cosine_decay").bounding_box()
    assert 0 < place["y"] < size[1] and someone.overflow() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_figures_are_played_with_by_the_keyboard_alone(reader, site, size, scheme):
    """What the script says is what Python computes, at both ends of every slider."""
    someone = reader(size, scheme=scheme)
    page = someone.open(site / "playground.html")
    someone.check_whole(scheme)
    before = page.locator("#moved").get_attribute("x")
    page.locator("input[name=dx]").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#moved").get_attribute("x") == str(int(before) + 1)
    shared, union, iou = playground.overlap(41, 30)
    assert said(page, "overlap") == f"{shared:,.0f} shared of {union:,.0f}: IoU {iou:.3f}"
    page.keyboard.press("Home")
    assert said(page, "overlap") == "0 shared of 21,600: IoU 0.000"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "dy"
    page.locator("input[name=beta]").focus()
    page.keyboard.press("Home")
    end = playground.loss(playground.descent(0.02, 0.0)[-1])
    assert said(page, "momentum").endswith(f", {end:.3g} after 30 steps")
    page.locator("input[name=stride]").focus()
    page.keyboard.press("End")
    assert f" {playground.seen(3, 3, 2)[-1]} cells" in said(page, "field")
    assert page.locator("#cells .seen").count() == sum(playground.seen(3, 3, 2))


def said(page, name):
    return page.locator(f"#{name} output").inner_text()


def test_figures_can_be_read_without_scripts(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "playground.html").as_uri())
    assert not page.locator(".sliders input").first.is_visible()
    assert page.locator("#overlap table tbody tr").count() == 7
    assert "IoU 0.286" in said(page, "overlap") and page.locator("#cells .seen").count() == 16
    context.close()


def test_a_figure_keeps_its_size_on_a_phone_and_scrolls(reader, site):
    someone = reader(PHONE)
    page = someone.open(site / "01_one.html")
    figure = page.locator("figure.output")
    assert figure.locator("img").bounding_box()["width"] == 720
    assert figure.evaluate("each => each.scrollWidth > each.clientWidth")
    assert someone.overflow() == 0
    figure.focus()
    page.keyboard.press("End")


def test_a_section_named_like_the_word_comes_first(reader, site):
    page = reader().open(site / "index.html")
    page.locator(".search input").fill("cost")
    page.locator(".search input").focus()
    first = page.locator(".found a").first
    first.wait_for()
    assert first.get_attribute("href") == "02_two.html#cost"


def test_code_can_be_copied(reader, site):
    page = reader().open(site / "01_one.html")
    page.locator(".code").hover()
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied").wait_for()
    page.locator(".search input").focus()
    page.keyboard.press("ControlOrMeta+v")
    pasted = page.locator(".search input").input_value()
    assert pasted.startswith(LONG) and "assert x < 2" in pasted


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_are_the_systems_until_the_reader_chooses(reader, site, scheme):
    someone = reader(scheme=scheme)
    page = someone.open(site / "01_one.html")
    dark = scheme == "dark"
    assert (someone.ground() < 128) is dark
    page.locator("button.theme").click()
    assert (someone.ground() > 128) is dark
    someone.open(site / "02_two.html")
    assert (someone.ground() > 128) is dark
    page.locator("button.theme").click()
    assert (someone.ground() < 128) is dark


@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_every_page_of_the_book_itself(reader, size):
    pages = sorted(SITE.glob("*.html"))
    if not pages:
        pytest.skip(f"there is no book in {SITE}: make book")
    someone = reader(size)
    for path in pages:
        page = someone.open(path)
        assert someone.overflow() == 0, path.name
        broken = "[...document.images].filter(image => !image.naturalWidth).length"
        assert page.evaluate(broken) == 0, path.name
        links = "[...document.links].map(link => link.getAttribute('href'))"
        for link in page.evaluate(links):
            if not link.startswith("https://"):
                name, _, anchor = link.partition("#")
                target = SITE / name if name else path
                assert target.exists(), f"{path.name}: {link}"
                assert not anchor or f'id="{anchor}"' in target.read_text(encoding="utf-8"), link
