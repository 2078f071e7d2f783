"""NumPy's ``.npz``: a zip archive with one ``.npy`` file per array.

::

    6 bytes   the magic string \\x93NUMPY
    2 bytes   version, 1.0 or 2.0
    2 bytes   length of the header (4 bytes in version 2.0), little-endian
    header    a Python literal: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}
    the rest  the elements, as many as the shape says

Read by hand instead of with ``numpy.load``: that allocates what the header asks for before it
looks whether the data is there, and knows object arrays, which are pickles.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import math

import numpy as np

from nn.weights.archive import Archive
from nn.weights.errors import WeightsError
from nn.weights.safetensors import DTYPES, MAX_RANK

MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000  # bytes, NumPy's own cap
DESCRIPTIONS = {
    text: np.dtype(text)
    for dtype in DTYPES.values()
    for text in (dtype.str, dtype.newbyteorder(">").str)
}


def read_npz(archive: Archive) -> dict[str, np.ndarray]:
    """All arrays of an open archive, by their names without ``.npy``.

    Raises:
        WeightsError: for anything that is not an array of numbers or bools, whole and alone.
    """
    tensors = {}
    for name in archive.sizes:
        if not name.endswith(".npy"):
            raise WeightsError(archive.path, f"neither .npz nor PyTorch: it has a member {name!r}")
        try:
            tensors[name.removesuffix(".npy")] = parse_npy(archive.read(name))
        except NpyError as error:
            raise WeightsError(archive.path, f"member {name!r}: {error}") from None
    return tensors


class NpyError(ValueError):
    """Bytes that are not the ``.npy`` file of a plain array."""


def parse_npy(content: bytes) -> np.ndarray:
    """The array of one ``.npy`` file, looking into ``content`` (so it is read-only)."""
    if content[:6] != MAGIC or content[6:8] not in (b"\1\0", b"\2\0"):
        raise NpyError("not a .npy file of version 1.0 or 2.0")
    width = 2 if content[6] == 1 else 4
    start = 8 + width
    length = int.from_bytes(content[8:start], "little")
    if length > min(MAX_HEADER, len(content) - start):
        raise NpyError(f"truncated, or an absurd header length of {length} bytes")
    dtype, order, shape = _parse_header(content[start : start + length])
    data_size = len(content) - start - length
    if math.prod(shape) * dtype.itemsize != data_size:
        raise NpyError(f"{dtype} of shape {str(shape)[:80]} does not fill {data_size} bytes")
    if dtype == np.bool_ and content[start + length :].translate(None, b"\0\1"):
        raise NpyError("a bool array with a byte that is neither 0 nor 1")
    values = np.frombuffer(content, dtype, offset=start + length)
    try:
        return values.reshape(shape, order=order)
    except ValueError:  # a 0 among sizes whose product leaves 64 bits
        raise NpyError(f"impossible shape {str(shape)[:80]}") from None


def _parse_header(header: bytes) -> tuple[np.dtype, str, tuple[int, ...]]:
    try:
        table = ast.literal_eval(header.decode("latin-1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise NpyError("the header is not a Python literal") from None
    if not isinstance(table, dict) or set(table) != {"descr", "fortran_order", "shape"}:
        raise NpyError("the header needs exactly descr, fortran_order and shape")
    text, fortran_order, shape = table["descr"], table["fortran_order"], table["shape"]
    dtype = DESCRIPTIONS.get(text) if isinstance(text, str) else None
    if dtype is None:
        raise NpyError(f"dtype {str(text)[:80]!r} is not a number or a bool of up to 8 bytes")
    if type(fortran_order) is not bool:
        raise NpyError("fortran_order is neither True nor False")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise NpyError(f"malformed shape {str(shape)[:80]}")
    if len(shape) > MAX_RANK:
        raise NpyError(f"{len(shape)} dimensions, {MAX_RANK} are the most")
    return dtype, "F" if fortran_order else "C", shape
