"""What the parameter server costs per iteration: two sites that do nothing but commit and pull.

    python -m benchmarks.multitask_overhead [--parameters 2300000] [--sites 2] [--iterations 50]

Server and sites are processes of this machine, as under ``multitask.run``; the parameters are cut
into 170 arrays, as in ShuffleNet v2. An iteration of real training takes this much longer than its
forward and backward.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time

import numpy as np

import nn
from multitask import RemoteMomentum, workers
from multitask.rules import Momentum
from multitask.transport import local_address

NAMES = 170


def site(task: str, address: str, parameters: int, iterations: int, answers) -> None:
    nn.set_num_threads(1)
    size = parameters // NAMES
    arrays = {f"layer{i:03d}": nn.Parameter(np.zeros(size, np.float32)) for i in range(NAMES)}
    rng = np.random.default_rng(0)
    for parameter in arrays.values():
        parameter.grad = rng.standard_normal(size).astype(np.float32)
    optimizer = RemoteMomentum(arrays.items(), 0.1, weight_decay=1e-4, task=task, server=address)
    seconds = []
    while optimizer.iteration < iterations:
        begun = time.perf_counter()
        optimizer.step()
        seconds.append(time.perf_counter() - begun)
    optimizer.finish()
    answers.put(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=int, default=2_300_000)
    parser.add_argument("--sites", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=50)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        # A fixed port where there are no Unix sockets.
        address = local_address(folder).replace(":0", ":29555")
        answers = context.Queue()
        server = (options.sites, address, Momentum(), "error", None, folder)
        processes = [context.Process(target=workers.serve, args=server)] + [
            context.Process(
                target=site,
                args=(f"site{i}", address, options.parameters, options.iterations, answers),
            )
            for i in range(options.sites)
        ]
        for process in processes:
            process.start()
        results = [answers.get() for _ in range(options.sites)]
        for process in processes:
            process.join()
    settled = np.array(results)[:, 5:] * 1000  # the first few fill caches and buffers
    print(
        f"{options.parameters} parameters, {options.sites} sites, {address.split(':')[0]}: "
        f"median {np.median(settled):.1f} ms, 95 % within {np.percentile(settled, 95):.1f} ms"
    )


if __name__ == "__main__":
    main()
