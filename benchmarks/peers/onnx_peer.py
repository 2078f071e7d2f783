"""ONNX Runtime, as a contestant: forward only, all of its optimisations switched on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime

from benchmarks import cases
from benchmarks.peers import onnx_models


def describe() -> str:
    return f"ONNX Runtime {onnxruntime.__version__}"


def use_threads(count: int) -> None:
    """Nothing to do: a session has its number of threads from the start."""


def build(case, arrays, variant: str, threads: int) -> Callable[[], list[np.ndarray]] | None:
    """See ``benchmarks.peers``."""
    if type(case) not in BUILDERS or getattr(case, "backward", False):
        return None
    runtime, inputs = session(case, arrays, threads)
    return lambda: runtime.run(None, inputs)


def session(case, arrays, threads: int, profile: str | None = None):
    """A session with its inputs; ``profile`` is the beginning of a file name."""
    model, inputs = BUILDERS[type(case)](case, arrays)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]), inputs


def matrix_product(case, arrays):
    return onnx_models.matrix_product(case.size), {name: arrays[name] for name in "ab"}


def convolution(case, arrays):
    state = {f"conv.{name}": arrays[name] for name in ("weight", "bias") if name in arrays}
    inputs = {"images": arrays["input"]}
    return onnx_models.convolution(state, arrays["input"].shape, case.stride, case.groups), inputs


def classifier(case, arrays):
    images = arrays["images"]
    model = onnx_models.classifier(cases.state_dict(arrays), images.shape)
    return model, {"images": images}


def network(case, arrays):
    inputs = {name: arrays[name] for name in ("images", "pooled")}
    model = onnx_models.network(
        cases.state_dict(arrays), inputs["images"].shape, len(inputs["pooled"])
    )
    return model, inputs


BUILDERS = {
    cases.MatrixProduct: matrix_product,
    cases.Convolution: convolution,
    cases.Classifier: classifier,
    cases.Network: network,
}
