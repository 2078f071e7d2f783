"""ONNX Runtime's time by kind, from its profile: a JSON file with an entry for each node."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.peers import onnx_peer
from benchmarks.peers.onnx_cases import model_of
from benchmarks.shares import CALLS, fill

VARIANTS = ("",)
OPERATORS = {
    "Conv": "convolution",
    "FusedConv": "convolution",
    "Relu": "element-wise",
    "Add": "element-wise",
    "BatchNormalization": "element-wise",
    "Split": "data",
    "Concat": "data",
    "ReorderInput": "data",
    "ReorderOutput": "data",
    "Reshape": "shuffle",
    "Transpose": "shuffle",
}


def shares(case, arrays, variant: str) -> dict[str, float]:
    """See ``benchmarks.shares``."""
    with tempfile.TemporaryDirectory() as folder:
        model, inputs = model_of(case, arrays)
        session = onnx_peer.session(model, 1, str(Path(folder, "profile")))
        session.run(None, inputs)
        begun = time.perf_counter()
        for _ in range(CALLS):
            session.run(None, inputs)
        total = time.perf_counter() - begun
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [event for event in events if event["name"].endswith("_kernel_time")]
    nodes = nodes[len(nodes) // (CALLS + 1) :]  # without the first call
    seconds: Counter[str] = Counter()
    for event in nodes:
        kind = OPERATORS.get(event["args"]["op_name"], "other")
        seconds[kind] += event["dur"] / 1e6
    return fill(seconds, total)
