"""Kernels called from several threads, and after a fork, with each of Numba's threading layers."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

import nn
from nn.kernels.machine.jit import kernel

CASES = Path(__file__).with_name("thread_cases.py")
LAYERS = ["omp", "workqueue", "tbb"]
LONG = 600  # seconds, of which a run takes four once its kernels are compiled

needs_kernels = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="twins have no threads")


def run(case, threads, pictures, layer):
    if case == "forked" and not sys.platform.startswith("linux"):
        pytest.skip("forking is for Linux")
    environment = os.environ | {
        "NUMBA_THREADING_LAYER": layer,
        "PYTHONPATH": os.pathsep.join([str(CASES.parent.parent), os.getenv("PYTHONPATH", "")]),
    }
    command = [sys.executable, str(CASES), case, str(threads), str(pictures)]
    done = subprocess.run(command, env=environment, timeout=LONG, capture_output=True, text=True)
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"Numba has no {layer} here")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [layer]


@needs_kernels
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("case", ["shared", "forked"])
def test_right_answers(case, layer):
    run(case, 4, 20, layer)


@needs_kernels
@pytest.mark.parametrize("case", ["plain", "training"])
def test_right_answers_beside_training_and_from_a_model(case):
    run(case, 4, 6, "workqueue")  # the layer that ends the process at a second caller


@pytest.mark.nightly
@needs_kernels
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("case", ["shared", "plain", "own", "training", "forked"])
def test_many_right_answers(case, layer):
    run(case, 8, 200 if case == "shared" else 40, layer)


def test_twins_are_for_the_thread_that_wants_them():
    shown = []

    def show(array):
        shown.append("twin")

    @kernel(twin=show, parallel=False)
    def nothing(array):
        pass

    array = np.zeros(3)
    with ThreadPoolExecutor(1) as other, nn.kernels.twins():
        nothing(array)
        other.submit(nothing, array).result()
    nothing(array)
    assert len(shown) == (3 if numba.config.DISABLE_JIT else 1)


def test_the_number_of_threads_is_the_processs():
    before = nn.get_num_threads()
    with ThreadPoolExecutor(1) as other:
        other.submit(nn.set_num_threads, 1).result()
        assert nn.get_num_threads() == 1
    nn.set_num_threads(before)
    with pytest.raises(ValueError, match=f"999 threads asked for, this process has 1 to {before}"):
        nn.set_num_threads(999)
