"""Chapters that measure time keep what they promise on a machine that has something else to do."""

import os
import subprocess
import sys

import pytest
from small_book import need_the_extra

from book.folders import notebooks

BUSY = "while True: pass"
MEASURING = ("03", "04", "13")


@pytest.fixture
def busy_machine():
    """A process for each core that wants all of it."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count())]
    yield
    for each in others:
        each.kill()
        each.wait()


@pytest.mark.nightly
@pytest.mark.parametrize("number", MEASURING)
def test_a_chapter_holds_on_a_busy_machine(busy_machine, number):
    """Its cells assert its claims: the library before the loops, no layer above the roof."""
    need_the_extra()
    from book.execute import execute

    (path,) = (path for path in notebooks() if path.name.startswith(number))
    assert execute(path).complaints == []
