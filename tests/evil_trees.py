"""Trees of plain values and arrays as nobody writes them, by the number of the case."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nn import checkpoint
from nn.weights import safetensors

VALUES = [
    None, True, False, 0, -1, 1, 2, 3.5, -0.0, 10**9, 2**31, 2**63, -(2**63), 10**400, 1e-300,
    1e308, float("nan"), float("inf"), -float("inf"), "", "x", "y" * 5000, "\0", "\ud800",
    "\x1b[2J\n\r", "../../etc/passwd", "/dev/zero", "shapes", "light-head-rcnn", "resnet50",
    "\u202e\u4e2d", [], {}, [[]], [None], [1], [1, 2, 3], [0.5] * 4, ["a"], [-1, 1e400], {"a": 1},
    {"": {}}, [[1, 2]] * 500, [3] * 30_000, [[7.0, 9.0] for _ in range(30_000)],
    {str(k): k for k in range(3000)},
]  # fmt: skip
NAMES = ["", "x", "detector", "model", "seed", "\x1b[31m", "kind", "\ud800", "n" * 3000]
ARRAYS = [
    np.zeros(0, np.float32), np.zeros(3, np.int64), np.full((2, 2), np.nan, np.float32),
    np.float64(np.inf), np.zeros((1, 1, 1, 1, 1), np.float16), np.array(True),
]  # fmt: skip


def deep(rng: np.random.Generator) -> Any:
    value: Any = 1
    for _ in range(int(rng.choice([20, 150]))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    return value


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a tree."""
    if isinstance(tree, dict | list):
        for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
            yield tree, key
            yield from places(value)


def evil_value(rng: np.random.Generator, was: Any, with_arrays: bool) -> Any:
    chance = rng.random()
    if isinstance(was, int | float) and not isinstance(was, bool) and chance < 0.4:
        factor = rng.choice([-1, 0, 0.5, 2, 10, 1e3, 1e6, 1e9])
        if abs(was) > sys.float_info.max:  # it was made evil before
            return -was
        return type(was)(was * factor)
    if chance < 0.45:
        return deep(rng)
    if with_arrays and chance < 0.55:
        return ARRAYS[rng.integers(len(ARRAYS))]
    return copy.deepcopy(VALUES[rng.integers(len(VALUES))])


def spoiled(tree: Any, rng: np.random.Generator, with_arrays: bool = False) -> Any:
    """The tree with one to three things changed, added or taken away."""
    if rng.random() < 0.03:
        return evil_value(rng, None, with_arrays)
    tree = as_lists(tree)
    for _ in range(rng.integers(1, 4)):
        everywhere = list(places(tree))
        # Not by chance alone: a tree has hundreds of weights and few of anything else.
        plain = [(c, k) for c, k in everywhere if not isinstance(c[k], np.ndarray)]
        some = plain if plain and rng.random() < 0.8 else everywhere
        if not some:
            break
        container, key = some[rng.integers(len(some))]
        what = rng.random()
        if what < 0.7:
            container[key] = evil_value(rng, container[key], with_arrays)
        elif what < 0.85:
            del container[key]
        elif isinstance(container, dict):
            name = NAMES[rng.integers(len(NAMES))]
            container[name] = evil_value(rng, container[key], with_arrays)
        else:
            container.insert(key, copy.deepcopy(container[key]))
    return tree


def as_lists(tree: Any) -> Any:
    """A copy of the tree without its arrays' contents, tuples made lists."""
    if isinstance(tree, dict):
        return {key: as_lists(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [as_lists(value) for value in tree]
    return tree


def evil_json(tree: Any, rng: np.random.Generator) -> bytes:
    """A spoiled tree as JSON, or a text that is none."""
    text = json.dumps(tree).encode()
    chance = rng.random()
    if chance < 0.06:
        return text[: rng.integers(len(text))]
    if chance < 0.09:
        return b"[" * 200_000
    if chance < 0.12:
        digits = rng.choice([b"1e999", b"-1e999", b"9" * 6000, b"NaN", b"Infinity", b"\xff"])
        at = [i for i in range(len(text)) if text[i : i + 2] == b": "]
        at = at[rng.integers(len(at))] + 2
        return text[:at] + digits + b", " + text[at:].split(b", ", 1)[-1]
    if chance < 0.14:
        return bytes(rng.integers(0, 256, 50, np.uint8))
    return json.dumps(spoiled(tree, rng)).encode()


def write_evil_checkpoint(path: Path, tree: Any, rng: np.random.Generator) -> None:
    """A checkpoint of the right format and with the right checksum."""
    if rng.random() < 0.05:
        structures = ["", "[" * 100_000, '{"$array": "nowhere"}', '{"$array": []}', "1e999"]
        structures += ['{"$tuple": 5}', '{"kind": "lighthead", "model": {"$array": "a"}}', "\x1b[2"]
        structure, arrays = structures[rng.integers(len(structures))], {"a": np.zeros(2)}
    else:
        arrays = {}
        structure = json.dumps(to_json(spoiled(tree, rng, True), arrays))
    metadata = {"format": checkpoint.FORMAT, "tree": structure}
    metadata["sha256"] = checkpoint._digest(structure, arrays)
    safetensors.write(path, arrays, metadata)


def to_json(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """As ``nn.checkpoint`` writes it, but for whatever somebody may have put into the tree."""
    if isinstance(value, np.ndarray | np.generic):
        name = str(len(arrays))
        arrays[name] = np.asarray(value)
        return {"$array": name}
    if isinstance(value, dict):
        return {key: to_json(part, arrays) for key, part in value.items()}
    return [to_json(part, arrays) for part in value] if isinstance(value, list) else value
