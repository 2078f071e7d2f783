"""Imports flow one way, as the layout says; found by reading the files, without running them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A module may import modules of its own rank and below. The longest matching prefix counts.
RANKS = {
    "nn.kernels": 0,
    "nn.ops": 1,
    "nn.memory": 0,
    "nn.tensor": 2,
    "nn.init": 3,  # holds the generator that dropout draws from
    "nn.functional": 3,
    "nn.module": 4,
    "nn.layers": 4,
    "nn.optim": 4,
    "nn.checkpoint": 4,
    "nn.gradcheck": 4,
    "nn.weights": 4,
    "nn.summary": 5,
    "nn.models": 5,
    "nn.inference": 6,
    "nn": 7,
    "detector": 8,
    "multitask": 9,
}

COMPILERS = {"numba", "llvmlite"}
THIRD_PARTY = {"numpy", "PIL", "pycocotools", "matplotlib", "tqdm"} | COMPILERS

FILES = sorted(
    path for package in ("nn", "detector", "multitask") for path in (ROOT / package).rglob("*.py")
)


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


def rank(name: str) -> int:
    prefixes = [prefix for prefix in RANKS if name == prefix or name.startswith(prefix + ".")]
    return RANKS[max(prefixes, key=len)]


def is_ours(name: str) -> bool:
    return name.split(".")[0] in ("nn", "detector", "multitask")


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_flow_one_way(path):
    own = module_name(path)
    wrong = [name for name in imports(path) if is_ours(name) and rank(name) > rank(own)]
    assert not wrong, f"{own} must not import {', '.join(wrong)}"


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
    if module_name(path).startswith("multitask.engines"):
        allowed = allowed | {"ray"}
    outside = {name.split(".")[0] for name in imports(path) if not is_ours(name)}
    assert outside <= allowed


# The server is to run where there is no detector and no compiler to speak of.
UPDATE_RULE = {"nn.optim", "nn.kernels.momentum", "nn.checkpoint"}


@pytest.mark.parametrize("name", ["protocol", "server"])
def test_protocol_and_server_know_numpy_and_the_update_rule_only(name):
    start = ROOT / "multitask" / f"{name}.py"
    if not start.exists():
        pytest.skip(f"there is no {start.name} yet")
    waiting, seen, outside = [start], set(), set()
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
    assert rank("nn.functional.conv2d") == 3 and rank("nn.errors") == 7
