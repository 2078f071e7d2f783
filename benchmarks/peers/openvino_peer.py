"""OpenVINO, as a contestant: forward only, in float32, for the shortest time of one call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openvino

from benchmarks.peers.onnx_cases import model_of


def describe() -> str:
    return f"OpenVINO {openvino.__version__.split('-')[0]}"


def use_threads(count: int) -> None:
    """Nothing to do: a compiled model has its number of threads from the start."""


def build(case, arrays, variant: str, threads: int) -> Callable[[], list[np.ndarray]] | None:
    """See ``benchmarks.peers``."""
    found = model_of(case, arrays)
    if found is None:
        return None
    model, inputs = found
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", settings)
    request = compiled.create_infer_request()
    outputs = range(len(compiled.outputs))

    def run():
        request.infer(inputs, share_inputs=True)
        return [request.get_output_tensor(number).data.copy() for number in outputs]

    return run
