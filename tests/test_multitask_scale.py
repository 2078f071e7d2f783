"""Many sites at once, for a long time: everybody gets through and nothing is left behind."""

import gc
import os
import threading

import pytest
from multitask_toys import Toy, run_threads, run_together

from benchmarks.memory import resident
from multitask import LocalServer, ParameterServer


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
@pytest.mark.parametrize(
    ("sites", "iterations"),
    [(32, 20), pytest.param(64, 1000, marks=pytest.mark.nightly)],
)
def test_many_sites(sites, iterations):
    names = [f"task{index:02d}" for index in range(sites)]
    expected = run_together([Toy(name) for name in names], LocalServer(sites), iterations)
    gc.collect()
    files, threads = open_files(), set(threading.enumerate())
    toys, held = [Toy(name) for name in names], {}

    def train(toy):
        toy.train(toy.optimizer(server.address), iterations, look)

    def look(iteration):
        held[iteration] = resident()

    with ParameterServer(sites) as server:
        run_threads([lambda toy=toy: train(toy) for toy in toys], timeout=3600)
    # A leak grows with the iterations; what is needed is there after the first tenth of them.
    grown = held[iterations - 1] - held[iterations // 10]
    print(f"{sites} sites, {iterations} iterations: memory grew by {grown / 1e6:.1f} MB")
    assert grown < 16e6
    assert [toy.digest() for toy in toys] == expected
    gc.collect()
    for thread in set(threading.enumerate()) - threads:
        thread.join(3)
        assert not thread.is_alive()
    assert open_files() <= files
