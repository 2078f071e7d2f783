"""Our time by kind: of the compiled network, step by step, and of the plain one."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager

import numpy as np

import nn
from benchmarks.peers.ours import load_classifier
from benchmarks.shares import CALLS, fill
from nn.inference.compiled import CompiledModule
from nn.inference.plan import Stretch
from nn.kernels.program import interpreter as program
from nn.ops.operation import Operation

VARIANTS = ("compiled", "plain")
OPERATIONS = {
    "Conv2d": "convolution",
    "BatchNorm": "element-wise",
    "ReLU": "element-wise",
    "Index": "data",
    "Cat": "data",
    "ChannelShuffle": "shuffle",
    "Interleave": "shuffle",  # and the concatenation before it, in one go
}


def shares(case, arrays, variant: str) -> dict[str, float]:
    """See ``benchmarks.shares``."""
    nn.set_num_threads(1)
    model = load_classifier(case, arrays).eval()
    if variant == "plain":
        return plain(model, arrays["images"])
    return compiled(nn.inference.compile(model, arrays["images"].shape), arrays["images"])


def compiled(network: CompiledModule, images: np.ndarray) -> dict[str, float]:
    """Each step of the table as a table of its own. Nothing is left that copies or shuffles."""
    network(images)
    seconds: Counter[str] = Counter()
    for stage in network.plan.stages:
        assert isinstance(stage, Stretch)  # a classifier needs nothing else
        for number in range(stage.first, stage.last):
            step = network.plan.table[number : number + 1].copy()
            step["first"] = 0
            is_other = network.plan.kinds[number] in ("max pool", "mean", "linear")
            begun = time.perf_counter()
            for _ in range(CALLS):
                program.run_program(
                    step, network._addresses, network.plan.places, network.memory.constants.array,
                    images.reshape(-1), network.memory.arena, np.zeros(16, np.int64), 1,
                    network.plan.scratch,
                )  # fmt: skip
            seconds["other" if is_other else "convolution"] += time.perf_counter() - begun
    return fill(seconds, sum(seconds.values()))


def plain(model: nn.Module, images: np.ndarray) -> dict[str, float]:
    """Each operation of the graph, as in training."""
    seconds: Counter[str] = Counter()
    with nn.no_grad(), timed_operations(seconds):
        model(nn.Tensor(images))
        seconds.clear()
        begun = time.perf_counter()
        for _ in range(CALLS):
            model(nn.Tensor(images))
        return fill(seconds, time.perf_counter() - begun)


@contextmanager
def timed_operations(seconds: Counter[str]):
    """Inside the block, every operation adds the time of its forward to its kind."""
    classes = [c for c in Operation.__subclasses__() if c.__name__ in OPERATIONS]
    before = {c: c.forward for c in classes}

    def timed(forward, kind):
        def call(*arguments, **options):
            begun = time.perf_counter()
            result = forward(*arguments, **options)
            seconds[kind] += time.perf_counter() - begun
            return result

        return call

    try:
        for c in classes:
            c.forward = timed(c.forward, OPERATIONS[c.__name__])
        yield
    finally:
        for c, forward in before.items():
            c.forward = forward
