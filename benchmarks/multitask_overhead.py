"""What the parameter server costs per iteration: two sites that do nothing but commit and pull.

    python -m benchmarks.multitask_overhead [--parameters 2300000] [--sites 2] [--iterations 50]

Server and sites are processes of this machine, as under ``multitask.run``; the parameters are cut
into 170 arrays, as in ShuffleNet v2. An iteration of real training takes this much longer than its
forward and backward. Beside the time on the clock stands that of the processors, which another
program on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time

import numpy as np

import nn
from multitask import RemoteMomentum
from multitask.core.rules import Momentum
from multitask.launch import workers
from multitask.wire.transport import local_address

NAMES = 170


def site(task: str, address: str, parameters: int, iterations: int, answers) -> None:
    nn.set_num_threads(1)
    size = parameters // NAMES
    arrays = {f"layer{i:03d}": nn.Parameter(np.zeros(size, np.float32)) for i in range(NAMES)}
    rng = np.random.default_rng(0)
    for parameter in arrays.values():
        parameter.grad = rng.standard_normal(size).astype(np.float32)
    optimizer = RemoteMomentum(arrays.items(), 0.1, weight_decay=1e-4, task=task, server=address)
    seconds, busy = [], []
    while optimizer.iteration < iterations:
        begun, worked = time.perf_counter(), time.process_time()
        optimizer.step()
        seconds.append(time.perf_counter() - begun)
        busy.append(time.process_time() - worked)
    optimizer.finish()
    answers.put((seconds, busy))


def serve(arguments: tuple, iterations: int, answers) -> None:
    worked = time.process_time()
    workers.serve(*arguments)
    answers.put((time.process_time() - worked) / iterations)


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
        load = context.Queue()
        serving = context.Process(target=serve, args=(server, options.iterations, load))
        processes = [serving] + [
            context.Process(
                target=site,
                args=(f"site{i}", address, options.parameters, options.iterations, answers),
            )
            for i in range(options.sites)
        ]
        for process in processes:
            process.start()
        results = [answers.get() for _ in range(options.sites)]
        server_busy = 1000 * load.get()
        for process in processes:
            process.join()
    # The first few fill caches and buffers.
    clock, busy = (1000 * np.array([result[k] for result in results])[:, 5:] for k in (0, 1))
    kind = "unix" if address.startswith("unix") else "tcp"
    print(
        f"{options.parameters} parameters, {options.sites} sites, {kind}: median "
        f"{np.median(clock):.1f} ms an iteration, 95 % within {np.percentile(clock, 95):.1f} ms; "
        f"processor time of a site {np.median(busy):.1f} ms, of the server {server_busy:.1f} ms"
    )


if __name__ == "__main__":
    main()
