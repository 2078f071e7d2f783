"""A reader of pages in headless Chromium, who notes everything that goes wrong in them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
LAPTOP, PHONE = (1280, 800), (390, 844)


@contextmanager
def open_browser() -> Iterator:
    """A browser; skips the test, saying so, where there is none or nothing to drive it with."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no package playwright")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser on the PATH: looked for {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Reader:
    """A page, and everything that went wrong in it."""

    def __init__(self, browser, size=LAPTOP, scheme="light"):
        viewport = {"width": size[0], "height": size[1]}
        self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.troubles = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", lambda message: self.troubles.append(message.text))
        self.page.on("requestfailed", lambda request: self.troubles.append(request.url[:200]))
        self.page.on("request", self.note_request)

    def note_request(self, request):
        if not request.url.startswith(("file:", "data:")):
            self.troubles.append(f"asks the network for {request.url}")

    def open(self, path):
        self.page.goto(path.as_uri())
        return self.page

    def overflow(self):
        """Pixels by which the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")

    def check_whole(self, scheme):
        """The page fits the window, is as light or dark as the system, and lacks no picture."""
        assert self.overflow() == 0
        assert (self.ground() < 128) is (scheme == "dark")
        assert self.page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")

    def ground(self):
        """Mean of red, green and blue of the page's background."""
        colour = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").rstrip(")").split(","))) / 3
