"""What holds for every test."""

import os
import tempfile

import pytest

import nn

# Right answers are kept in a folder of the reader's; those of the tests are not.
kept = tempfile.TemporaryDirectory(prefix="lighthead-tests-")
os.environ["LIGHTHEAD_MINE"] = os.path.join(kept.name, "mine")


@pytest.fixture(autouse=True)
def as_many_threads_afterwards():
    """A command with --threads changes the number for the whole process."""
    before = nn.get_num_threads()
    yield
    nn.set_num_threads(before)
