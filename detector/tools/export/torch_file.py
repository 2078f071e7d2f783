"""``lighthead export --to torch``: a state dict, and one Python file that loads it and detects.

The Python file is the ONNX graph (``onnx_file``), a line for each of its nodes, so that a detector
that can become the one can become the other. It needs PyTorch and NumPy, nothing of ours. Every
weight has the name that it has here; parameters are parameters, so that it can be trained further.
"""

from __future__ import annotations

import hashlib
import io
import json
import runpy
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.detectors.compiled import CompiledDetector
from detector.errors import UserError
from detector.own_files import CODE, check_free, is_own_code
from detector.tools.export.comparison import Comparison, compare
from detector.tools.export.onnx_file import detector_graph
from detector.tools.export.torch_lines import lines_of
from detector.training.loading import LoadedDetector
from nn.files import atomic_file

TEMPLATE = Path(__file__).with_name("torch_template.py.txt")


def export(
    detector: LoadedDetector, path: Path, pictures: Sequence[tuple[str, np.ndarray]]
) -> Comparison:
    """Write the state dict to ``path`` and the Python file beside it, if they find what we find.

    Raises:
        UserError: they do not, PyTorch or the package onnx is missing, or something else lies
            there.
    """
    try:
        import torch
    except ModuleNotFoundError:
        raise UserError("PyTorch is missing: pip install torch") from None
    code_path = path.with_suffix(".py")
    check_free(code_path, is_own_code)
    check_free(path, lambda path: is_named_by(code_path, path))

    state = detector.model.state_dict()
    file = io.BytesIO()
    torch.save({name: torch.from_numpy(array.copy()) for name, array in state.items()}, file)
    weights = file.getvalue()
    code = code_of(detector, path.name, weights).encode()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, path.name).write_bytes(weights)
        Path(folder, code_path.name).write_bytes(code)
        theirs = runpy.run_path(str(Path(folder, code_path.name)))["Detector"]()
        result = compare(CompiledDetector(detector.model), theirs.predict, pictures)
    for place, content in ((path, weights), (code_path, code)):
        with atomic_file(place) as out:
            out.write(content)
    return result


def code_of(detector: LoadedDetector, weights_name: str, weights: bytes) -> str:
    """The Python file."""
    graph = detector_graph(detector).graph
    text = TEMPLATE.read_text(encoding="utf-8")
    for word, value in {
        "HEAD": CODE,
        "WEIGHTS": json.dumps(weights_name),
        "SHA256": hashlib.sha256(weights).hexdigest(),
        "CLASSES": json.dumps(detector.classes),
        "SCORE": repr(0.5 if detector.score is None else detector.score),
        "BUFFERS": repr(buffers(detector.model)),
        "LINES": "\n".join(f"        {line}" for line in lines_of(graph)),
    }.items():
        text = text.replace(f"@{word}@", value)
    return text


def buffers(model) -> tuple[str, ...]:
    """How the names end that are no parameters."""
    parameters = {name for name, _ in model.named_parameters()}
    return tuple(
        sorted({name.split(".")[-1] for name in model.state_dict() if name not in parameters})
    )


def is_named_by(code: Path, weights: Path) -> bool:
    """Whether a Python file of ours says that it goes with these weights."""
    if not (is_own_code(code) and weights.is_file()):
        return False
    return hashlib.sha256(weights.read_bytes()).hexdigest() in code.read_text(encoding="utf-8")
