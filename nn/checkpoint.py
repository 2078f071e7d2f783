"""Checkpoints: a tree of arrays and plain values in one file that is either whole or not there.

The file is in the safetensors format (so other tools can look inside); the shape of the tree and
a SHA-256 of everything stand in its metadata. Nothing is ever unpickled. Writing goes to a
temporary name in the same folder, is flushed to the disk and then renamed, so a crash at any
moment leaves the old file or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from nn.weights import safetensors

FORMAT = "lighthead-checkpoint-1"


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint of this format; the message names it."""


def save(path: str | os.PathLike, tree) -> None:
    """Write ``tree`` to ``path``, replacing what was there only once everything is on the disk.

    Args:
        path: the file; its folder must exist.
        tree: dicts with string keys, lists and tuples, with leaves that are arrays, numbers,
            strings, bools or None.

    Raises:
        TypeError: for any other leaf or key, naming where in the tree it sits.
        OSError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps(_to_json(tree, "", arrays), allow_nan=True)
    metadata = {"format": FORMAT, "tree": structure, "sha256": _digest(structure, arrays)}
    safetensors.write(path, arrays, metadata)


def load(path: str | os.PathLike):
    """The tree that ``save`` wrote, arrays as ndarrays of the same dtype and shape.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is truncated, damaged, or of another format or version.
    """
    path = Path(path)
    try:
        arrays, metadata = safetensors.read(path)
    except safetensors.WeightsError as error:
        raise CheckpointError(f"{path} is not a whole checkpoint: {error}") from error
    if metadata.get("format") != FORMAT:
        found = metadata.get("format", "plain weights without a format")
        raise CheckpointError(f"{path} is not a checkpoint of this version: {found}, not {FORMAT}")
    structure = metadata.get("tree", "")
    if metadata.get("sha256") != _digest(structure, arrays):
        raise CheckpointError(f"{path} is damaged: its contents do not match its checksum")
    try:
        return _from_json(json.loads(structure), arrays)
    except (LookupError, RecursionError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: it holds no tree ({error})") from error


def _digest(structure: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(structure.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _to_json(value, where: str, arrays: dict[str, np.ndarray]):
    """The tree with each array replaced by its name; the arrays go into ``arrays``."""
    if isinstance(value, np.ndarray | np.generic):
        name = where or "array"
        arrays[name] = np.asarray(value)
        return {"$array": name}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key.startswith("$") or "/" in key:
                raise TypeError(f"checkpoint: key {key!r} at {where or 'the top'} is not allowed")
        return {key: _to_json(part, f"{where}/{key}", arrays) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [_to_json(part, f"{where}/{index}", arrays) for index, part in enumerate(value)]
        return {"$tuple": parts} if isinstance(value, tuple) else parts
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"checkpoint: cannot store {type(value).__name__} at {where or 'the top'}")


def _from_json(value, arrays: dict[str, np.ndarray]):
    if isinstance(value, dict):
        if "$array" in value:
            return arrays[value["$array"]]
        if "$tuple" in value:
            return tuple(_from_json(part, arrays) for part in value["$tuple"])
        return {key: _from_json(part, arrays) for key, part in value.items()}
    if isinstance(value, list):
        return [_from_json(part, arrays) for part in value]
    return value
