"""ncnn, as a contestant: forward only, in float32.

pnnx, its converter, is called as the program it is: the package around it imports PyTorch.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import ncnn
import numpy as np

from benchmarks.peers.onnx_cases import model_of

CONVERTER = importlib.metadata.distribution("pnnx").locate_file("pnnx/pnnx")
LESS_EXACT = ("fp16", "bf16", "int8")  # in the names of the options that allow it


def describe() -> str:
    return f"ncnn {ncnn.__version__}"


def use_threads(count: int) -> None:
    """Nothing to do: a net has its number of threads from the start."""


def build(case, arrays, variant: str, threads: int) -> Callable[[], list[np.ndarray]] | None:
    """See ``benchmarks.peers``."""
    found = model_of(case, arrays)
    if found is None:
        return None
    model, inputs = found
    net, input_axes, output_axes = converted(model, threads)
    sources = [
        ncnn.Mat(np.ascontiguousarray(array), batch_index=axis).clone()
        for array, axis in zip(inputs.values(), input_axes, strict=True)
    ]

    def run():
        with net.create_extractor() as extractor:
            for i, source in enumerate(sources):
                extractor.input(f"in{i}", source)
            outputs = []
            for i, axis in enumerate(output_axes):
                _, output = extractor.extract(f"out{i}")
                outputs.append(np.array(output.numpy(batch_index=axis)))
            return outputs

    return run


def converted(model: bytes, threads: int):
    """``model`` as a net, and of all its inputs and outputs the axis that counts pictures.

    ncnn keeps that axis apart from the others. Which one it is (or none, which has a number too)
    stands nowhere but in the example that pnnx writes beside the net.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "model.onnx").write_bytes(model)
        command = [CONVERTER, "model.onnx", "fp16=0"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        net = ncnn.Net()
        net.opt.num_threads = threads
        for option in dir(net.opt):
            if any(name in option for name in LESS_EXACT):
                setattr(net.opt, option, False)
        files = {kind: str(Path(folder, f"model.ncnn.{kind}")) for kind in ("param", "bin")}
        if net.load_param(files["param"]) or net.load_model(files["bin"]):
            raise RuntimeError("it has no such operation")
        example = Path(folder, "model_ncnn.py").read_text(encoding="utf-8")
    axes = [
        [int(axis) for axis in re.findall(rf"{call}\(.*batch_index=(\d+)", example)]
        for call in (r"ex\.input", r"out\.append")
    ]
    return net, *axes
