"""Nothing is compiled that is not needed, nor twice for what is the same."""

import numba
import numpy as np
import pytest

import nn
from detector.parts.preprocess import to_batch
from nn.kernels.machine.addressed import Addressed
from nn.kernels.normalize_image import normalize_image
from nn.kernels.program.interpreter import run_program

if numba.config.DISABLE_JIT:
    pytest.skip("nothing is compiled", allow_module_level=True)


def test_only_the_kinds_of_steps_that_a_network_has(monkeypatch):
    asked, address = set(), Addressed.address

    def remembering(self, signature):
        asked.add(self.__name__)
        return address(self, signature)

    monkeypatch.setattr(Addressed, "address", remembering)
    nn.inference.compile(nn.Conv2d(3, 4, 1), (1, 3, 8, 8))
    assert asked == {"product"}
    asked.clear()
    nn.inference.compile(nn.MaxPool2d(2), (1, 3, 8, 8))
    assert asked == {"max_pool"}


def test_what_may_be_written_and_what_may_not_are_one():
    network = nn.inference.compile(nn.Conv2d(3, 4, 1), (1, 3, 32, 32))
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    results = []
    for is_free in (True, False):
        picture.flags.writeable = is_free
        batch = to_batch([picture], (0.5, 0.5, 0.5), (1, 1, 1))
        batch.flags.writeable = is_free
        results.append(network(batch))
        kernels = normalize_image.compiled, run_program.compiled
        results.append([len(kernel.signatures) for kernel in kernels])
    assert results[1] == results[3]
    np.testing.assert_array_equal(results[0], results[2])
    assert picture.flags.writeable is False  # as it was given
