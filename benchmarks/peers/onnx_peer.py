"""ONNX Runtime, as a contestant: forward only, all of its optimisations switched on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime

from benchmarks.peers.onnx_cases import model_of


def describe() -> str:
    return f"ONNX Runtime {onnxruntime.__version__}"


def use_threads(count: int) -> None:
    """Nothing to do: a session has its number of threads from the start."""


def build(case, arrays, variant: str, threads: int) -> Callable[[], list[np.ndarray]] | None:
    """See ``benchmarks.peers``."""
    found = model_of(case, arrays)
    if found is None:
        return None
    model, inputs = found
    runtime = session(model, threads)
    return lambda: runtime.run(None, inputs)


def session(model: bytes, threads: int, profile: str | None = None):
    """``profile`` is the beginning of a file name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
