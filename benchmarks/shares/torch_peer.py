"""PyTorch's time by kind, from its profiler: the operators that the model itself calls."""

from __future__ import annotations

import time
from collections import Counter

import torch

from benchmarks.peers import torch_peer
from benchmarks.shares import CALLS, fill

VARIANTS = ("contiguous", "channels-last")
OPERATORS = {
    "aten::conv2d": "convolution",
    "aten::batch_norm": "element-wise",
    "aten::relu_": "element-wise",
    "aten::chunk": "data",
    "aten::cat": "data",
    # Only the shuffle rearranges: a view, a transposition and a copy.
    "aten::view": "shuffle",
    "aten::transpose": "shuffle",
    "aten::reshape": "shuffle",
}


def shares(case, arrays, variant: str) -> dict[str, float]:
    """See ``benchmarks.shares``."""
    torch.set_num_threads(1)
    work = torch_peer.build(case, arrays, variant, 1)
    work()
    begun = time.perf_counter()
    for _ in range(CALLS):
        work()
    total = time.perf_counter() - begun  # without the profiler, which has a price
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(CALLS):
            work()
    seconds: Counter[str] = Counter()
    for event in profile.events():
        if event.cpu_parent is None and event.name in OPERATORS:
            seconds[OPERATORS[event.name]] += event.cpu_time_total / 1e6
    return fill(seconds, total)
