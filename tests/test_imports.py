"""Imports flow one way, as the layout says; found by reading the files, without running them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# From the ground up: a file may import from its own floor and those below. A room is a folder with
# all that is in it, or a file; rooms that stand in one line do not know each other.
FLOORS = """
nn.printable
nn.table nn.files nn.memory
nn.kernels.machine
nn.kernels
nn.kernels.program
nn.ops
nn.tensor
nn.init
nn.functional
nn.module nn.gradcheck nn.weights
nn.checkpoint
nn.layers nn.optim
nn.models
nn.inference
nn.summary nn.onnx
nn
detector.errors detector.interruption detector.boxes detector.masks detector.settings
detector.polygons detector.progress detector.folder_lock detector.own_files
detector.parts
detector.datasets detector.necks detector.heads
detector.detectors
detector.evaluation
detector.reporting detector.results
detector.training
detector.tools detector.experiments
detector.commands
detector
multitask.errors
multitask.core
multitask.wire
multitask.server
multitask.site
multitask.launch multitask.tasks
multitask.experiment multitask.engines
multitask.commands
multitask
lighthead
detector.__main__
"""
ROOMS = {room: rank for rank, line in enumerate(FLOORS.split("\n")) for room in line.split()}

COMPILERS = {"numba", "llvmlite"}
THIRD_PARTY = {
    "numpy",
    "PIL",
    "pycocotools",
    "matplotlib",
    "tqdm",
    "yaml",
    "jinja2",
    "markupsafe",  # a part of jinja2
    "pillow_heif",
} | COMPILERS

# Of the optional dependencies, imported where they are needed.
EXTRAS = {
    "multitask.engines": {"ray"},
    "nn.onnx": {"onnx"},
    "detector.tools.export": {"onnxruntime", "torch"},
    "detector.datasets.video": {"av"},
    "detector.results.videos": {"av"},
    "detector.training.live_curves": {"IPython"},  # which a notebook has imported before
}

PACKAGES = ("nn", "detector", "multitask", "lighthead")
FILES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
FILES.append(ROOT / "lighthead.py")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def imports(path: Path, source: str | None = None) -> Iterator[str]:
    """Full names of all modules that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8") if source is None else source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module_name(path).split(".")
                up = node.level - (path.name == "__init__.py")
                base = ".".join(package[: len(package) - up] + [base] * bool(base))
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield whole if is_module(whole) else base


def room_of(name: str) -> str:
    """The innermost room that a module lies in."""
    rooms = [room for room in ROOMS if name == room or name.startswith(room + ".")]
    return max(rooms, key=len)


def is_allowed(own: str, other: str) -> bool:
    here, there = room_of(own), room_of(other)
    return here == there or ROOMS[there] < ROOMS[here]


def is_ours(name: str) -> bool:
    return name.split(".")[0] in PACKAGES


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_flow_one_way(path):
    own = module_name(path)
    wrong = [name for name in imports(path) if is_ours(name) and not is_allowed(own, name)]
    assert not wrong, f"{own} must not import {', '.join(wrong)}"


def test_every_folder_has_a_floor():
    """A new folder of a package has to say on which floor it stands."""
    folders = {module_name(path).rpartition(".")[0] for path in FILES}
    inner = {name for name in folders if name.count(".") == 1}
    assert inner - {"nn.kernels"} <= set(ROOMS)
    assert all((ROOT / room.replace(".", "/")).is_dir() or is_module(room) for room in ROOMS)


@pytest.mark.parametrize("package", PACKAGES[:3])
def test_nothing_is_named_that_lies_above(package):
    """A module named in a string (a row of a table) is an import too."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                name = node.value.partition(":")[0]
                if is_ours(name) and "." in name and is_module(name):
                    assert is_allowed(module_name(path), name), f"{path} names {name}"


def test_only_kernels_import_numba():
    wrong = [
        module_name(path)
        for path in FILES
        if any(name.split(".")[0] in COMPILERS for name in imports(path))
        and not module_name(path).startswith("nn.kernels")
    ]
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_declared_dependencies(path):
    allowed = THIRD_PARTY | sys.stdlib_module_names
    for room, extra in EXTRAS.items():
        if module_name(path).startswith(room):
            allowed = allowed | extra
    outside = {name.split(".")[0] for name in imports(path) if not is_ours(name)}
    assert outside <= allowed


# The server is to run where there is no detector and no compiler to speak of.
UPDATE_RULE = {"nn.optim", "nn.kernels.momentum", "nn.checkpoint", "nn.files"}


@pytest.mark.parametrize("room", ["core", "wire", "server"])
def test_the_server_knows_numpy_and_the_update_rule_only(room):
    waiting = list((ROOT / "multitask" / room).glob("*.py"))
    seen, outside = set(), set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for module in imports(path):
            if module.split(".")[0] == "multitask":
                file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
                waiting += [file] if file.exists() and file not in seen else []
            elif module.split(".")[0] not in sys.stdlib_module_names:
                outside.add(module)
    assert outside <= {"numpy"} | UPDATE_RULE


def test_the_reader_of_imports_sees_everything():
    source = """
import numpy as np, nn.tensor
from nn import functional as F
from detector.boxes import nms
from . import layers
def late():
    import numba
"""
    found = list(imports(ROOT / "nn" / "models" / "x.py", source))
    assert found == [
        "numpy", "nn.tensor", "nn.functional", "detector.boxes", "nn.models", "numba"
    ]  # fmt: skip
    assert room_of("nn.kernels.machine.simd") == "nn.kernels.machine"
    assert is_allowed("detector.heads.rpn", "detector.parts.anchors")
    assert not is_allowed("detector.heads.rpn", "detector.necks.thin_map")
    assert not is_allowed("detector.parts.anchors", "detector.heads.rpn")
