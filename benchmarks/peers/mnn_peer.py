"""MNN, as a contestant: forward only, in float32.

Its converter is called as the compiled module it is. ``MNN.tools``, the package around it, must
not be imported: that installs a package for sending usage reports, with whatever pip is first on
the path.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import MNN
import numpy as np
import onnx

from benchmarks.peers.onnx_cases import model_of


def describe() -> str:
    return f"MNN {MNN.version()}"


def use_threads(count: int) -> None:
    """Nothing to do: a session has its number of threads from the start."""


def build(case, arrays, variant: str, threads: int) -> Callable[[], list[np.ndarray]] | None:
    """See ``benchmarks.peers``."""
    found = model_of(case, arrays)
    if found is None:
        return None
    model, inputs = found
    net = interpreter(model)
    settings = {"backend": "CPU", "numThread": threads, "precision": "high"}
    session = net.createSession(settings)
    sources = [
        (net.getSessionInput(session, name), tensor(array)) for name, array in inputs.items()
    ]
    names = output_names(model)

    def run():
        for place, source in sources:
            place.copyFrom(source)
        net.runSession(session)
        return [array_of(net.getSessionOutput(session, name)) for name in names]

    return run


def interpreter(model: bytes):
    """``model`` in MNN's own format, which its converter writes from one file to another."""
    import _tools

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.onnx"), Path(folder, "model.mnn")
        source.write_bytes(model)
        files = ["--modelFile", str(source), "--MNNModel", str(target)]
        _tools.mnnconvert(["mnnconvert", "-f", "ONNX", *files, "--bizCode", "benchmark"])
        return MNN.Interpreter(str(target))


def output_names(model: bytes) -> list[str]:
    return [output.name for output in onnx.load_from_string(model).graph.output]


def tensor(array: np.ndarray):
    layout = MNN.Tensor_DimensionType_Caffe
    return MNN.Tensor(array.shape, MNN.Halide_Type_Float, np.ascontiguousarray(array), layout)


def array_of(output) -> np.ndarray:
    host = tensor(np.empty(output.getShape(), np.float32))
    output.copyToHostTensor(host)
    return np.array(host.getNumpyData())
