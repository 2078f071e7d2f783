"""What holds for every test."""

import pytest

import nn


@pytest.fixture(autouse=True)
def as_many_threads_afterwards():
    """A command with --threads changes the number for the whole process."""
    before = nn.get_num_threads()
    yield
    nn.set_num_threads(before)
