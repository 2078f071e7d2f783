"""The safetensors file format: a JSON table of contents, then the bytes of the tensors.

::

    8 bytes     N, the length of the header, unsigned, little-endian
    N bytes     the header, JSON, padded with spaces at the end:
                {"__metadata__": {"key": "text"},
                 "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
    the rest    the tensors, row-major, little-endian; offsets count from the end of the header

Nothing in it can run and every size is known before a byte of data is read, which is why our
checkpoints (``nn.checkpoint``) are such files and why the reader below believes nothing: the
tensors must cover the data exactly, without holes and without overlap.

Format: https://github.com/huggingface/safetensors (README, "Format").
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from nn.files import atomic_file
from nn.weights.errors import WeightsError
from nn.weights.only_files import only_files

DTYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
CODES = {dtype: code for code, dtype in DTYPES.items()}

MAX_HEADER = 16 * 2**20  # bytes; a thousand tensors need about 100 kB
MAX_RANK = 32  # NumPy 1's limit
ALIGNMENT = 8  # of the first tensor in the file: the widest item


def write(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays to one file, all or nothing (see ``atomic_file``).

    Args:
        tensors: arrays of any shape, of a bool, integer or float dtype of at most 8 bytes.
        metadata: texts to keep with them.

    Raises:
        WeightsError: for an array of another dtype, a name or a text that is not a string.
        OSError: when the file cannot be written; what was there before is still there.
    """
    # Widest items first, so that every tensor begins at a multiple of its item size. The header
    # keeps the caller's order, and the reader gives it back.
    arrays = {name: _little_endian(path, name, array) for name, array in tensors.items()}
    layout = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    offsets, end = {}, 0
    for name in layout:
        begin, end = end, end + arrays[name].nbytes
        offsets[name] = [begin, end]

    header: dict[str, dict] = {}
    if metadata:
        if not all(isinstance(text, str) for pair in metadata.items() for text in pair):
            raise WeightsError(path, "metadata must map strings to strings")
        header["__metadata__"] = dict(metadata)
    for name, array in arrays.items():
        header[name] = {
            "dtype": CODES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": offsets[name],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise WeightsError(path, f"a header of {len(text)} bytes is over the cap of {MAX_HEADER}")

    with atomic_file(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in layout:
            file.write(arrays[name].reshape(-1).view(np.uint8).data)


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file: its arrays, in the header's order, and its metadata.

    Raises:
        WeightsError: when anything in the file contradicts the format or anything else in it.
        OSError: when there is no such file or it cannot be read.
    """
    with open(path, "rb", opener=only_files) as file:
        size = os.fstat(file.fileno()).st_size
        header = _read_header(path, file, size)
        metadata = header.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(type(v) is str for v in metadata.values()):
            raise WeightsError(path, "__metadata__ must map strings to strings")
        entries = {name: _check_entry(path, name, entry) for name, entry in header.items()}
        layout = sorted(entries, key=lambda name: entries[name][2:])
        _check_layout(path, entries, layout, size - file.tell())
        # In the order of the bytes, so that the file is read once from front to back.
        arrays = {name: _read_array(path, file, name, *entries[name][:2]) for name in layout}
    return {name: arrays[name] for name in entries}, metadata


def _little_endian(path: str | os.PathLike, name: str, array: np.ndarray) -> np.ndarray:
    """``array`` as contiguous little-endian values, of one of our dtypes."""
    if not isinstance(name, str) or name == "__metadata__":
        raise WeightsError(path, f"{name!r} cannot be the name of a tensor")
    array = np.asarray(array)
    dtype = array.dtype.newbyteorder("<")
    if dtype not in CODES:
        raise WeightsError(path, f"tensor {name!r} has dtype {array.dtype}, expected {_names()}")
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def _read_header(path: str | os.PathLike, file: BinaryIO, size: int) -> dict:
    if size < 8:
        raise WeightsError(path, f"truncated: {size} bytes, a safetensors file has more than 8")
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER, size - 8):
        raise WeightsError(
            path,
            f"not a safetensors file, or truncated: a header of {length} bytes is announced, "
            f"{size - 8} bytes follow, and the cap is {MAX_HEADER}",
        )
    try:
        text = file.read(length).decode("utf-8")
        header = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise WeightsError(path, f"the header is not the expected JSON: {error}") from None
    if not isinstance(header, dict) or not text.startswith("{"):
        raise WeightsError(path, "the header is not a JSON object")
    return header


def _unique_keys(pairs: list[tuple[str, object]]) -> dict:
    """json hook: a dict, or an error where Python would silently keep the last of two keys."""
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key occurs twice")
    return table


def _refuse_constant(name: str) -> None:
    """json hook: NaN and Infinity are not JSON, though Python's parser takes them."""
    raise ValueError(f"{name} is not JSON")


def _check_entry(
    path: str | os.PathLike, name: str, entry: object
) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """``(dtype, shape, begin, end)`` of one tensor, each checked against the others."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise WeightsError(path, f"{name!r} needs exactly the keys dtype, shape, data_offsets")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise WeightsError(path, f"{name!r} has dtype {entry['dtype']!r}, expected {_names()}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or len(shape) > MAX_RANK:
        raise WeightsError(path, f"{name!r} has a malformed shape {str(shape)[:80]}")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise WeightsError(path, f"{name!r} has malformed data_offsets {str(offsets)[:80]}")
    begin, end = offsets
    # Python's integers do not overflow, so an absurd shape gives an absurd product and fails here.
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise WeightsError(
            path,
            f"{name!r}: {dtype} of shape {str(shape)[:80]} does not fill bytes {begin} to {end}",
        )
    # With a 0 in it, a shape passes the check above whatever else it says; NumPy counts in 64 bits.
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize >= 2**63:
        raise WeightsError(path, f"{name!r} has an impossible shape {str(shape)[:80]}")
    return dtype, tuple(shape), begin, end


def _are_counts(values: object) -> bool:
    """Whether this is a list of integers >= 0 (a bool is not one of them)."""
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


def _check_layout(
    path: str | os.PathLike, entries: dict[str, tuple], layout: list[str], data_size: int
) -> None:
    """The tensors, in the order of their bytes, must follow each other and end with the file."""
    position = 0
    for name in layout:
        begin, end = entries[name][2:]
        if begin != position:
            problem = "overlaps the tensor before it" if begin < position else "leaves a hole"
            raise WeightsError(path, f"{name!r} {problem}: byte {begin} instead of {position}")
        position = end
    if position != data_size:
        raise WeightsError(
            path, f"truncated or padded: the tensors need {position} bytes, it has {data_size}"
        )


def _read_array(
    path: str | os.PathLike, file: BinaryIO, name: str, dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    """The next tensor of the file, in the machine's own byte order."""
    values = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
    if file.readinto(values.data) != values.size:
        raise WeightsError(path, f"truncated while tensor {name!r} was being read")
    if dtype == np.bool_ and values.size and values.max() > 1:
        raise WeightsError(path, f"{name!r} is a BOOL tensor with a byte that is neither 0 nor 1")
    return values.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _names() -> str:
    return "one of " + " ".join(DTYPES)
