"""What a figure cannot be repeated without: the machine, the versions, the weights, the numbers."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import nn

PACKAGES = ("lighthead", "numpy", "numba", "pillow", "pycocotools", "matplotlib")


def processor() -> str:
    """Its name."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """Processor, how many there are, and system."""
    return f"{processor()}, {os.cpu_count()} processors, {platform.system()}"


def versions() -> dict[str, str]:
    """Of Python and what does the computing, those that are installed."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def weights_digest(model: nn.Module) -> str:
    """A SHA-256 of all weights: their names, shapes and bits, whatever file they are in."""
    found = hashlib.sha256()
    for name, array in sorted(model.state_dict().items()):
        found.update(f"{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array))
    return found.hexdigest()


def times(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds that a training took, and an iteration's median; empty without a training."""
    seconds = [row["seconds"] for row in metrics if "seconds" in row]
    if len(seconds) < 2:
        return {}
    return {"training": seconds[-1], "iteration": float(np.median(np.diff(seconds)))}


def flat(values: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every number of a tree by its path, as ``--set`` takes it."""
    if isinstance(values, Mapping) and values:
        for name, value in values.items():
            yield from flat(value, f"{path}.{name}" if path else str(name))
    else:
        yield path, str(values)
