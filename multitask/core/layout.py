"""Where each named array lies in one flat buffer: the shape of everything that is sent or summed.

Site and server build the same layout from the same names, so a message needs no table of contents:
its payload is the buffer. Arrays are ordered by item size (largest first, so that each is aligned),
then by name; they follow each other without gaps.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from multitask.errors import RegistrationError

# Little-endian on the wire and in memory, as every machine we run on is.
PARAMETER_DTYPES = ("<f4", "<f8")
BUFFER_DTYPES = (*PARAMETER_DTYPES, "<i8", "<i4", "|u1", "|b1")

MAX_NAMES = 10_000
MAX_RANK = 8
MAX_BYTES = 2**33
NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}")


class Entry(NamedTuple):
    """One array: its type, its shape, and its bytes ``begin`` to ``end`` in the buffer."""

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class Layout:
    """The order and place of named arrays in a buffer.

    Args:
        specs: (name, dtype, shape) of each array, in any order; dtype as in ``"<f4"``.
        dtypes: the dtypes allowed.

    Raises:
        RegistrationError: for a name, type, shape or size that cannot be used.
    """

    def __init__(
        self,
        specs: Sequence[tuple[str, str, Sequence[int]]],
        dtypes: Sequence[str] = PARAMETER_DTYPES,
    ):
        if len(specs) > MAX_NAMES:
            raise RegistrationError(f"{len(specs)} names are over the limit of {MAX_NAMES}")
        for spec in specs:
            _check(*spec, dtypes)
        self.entries: dict[str, Entry] = {}
        end = 0
        for name, code, shape in sorted(specs, key=lambda spec: sort_key(spec[0], spec[1])):
            if name in self.entries:
                raise RegistrationError(f"the name {name!r} is registered twice")
            dtype = np.dtype(code)
            begin, end = end, end + math.prod(shape) * dtype.itemsize
            self.entries[name] = Entry(dtype, tuple(shape), begin, end)
        self.nbytes = end
        if end > MAX_BYTES:
            raise RegistrationError(f"{end} bytes are over the limit of {MAX_BYTES}")

    @classmethod
    def of(
        cls, arrays: Mapping[str, np.ndarray], dtypes: Sequence[str] = PARAMETER_DTYPES
    ) -> Layout:
        """The layout of these arrays."""
        return cls([(name, a.dtype.str, a.shape) for name, a in arrays.items()], dtypes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, name: str) -> Entry:
        return self.entries[name]

    def specs(self) -> list[list]:
        """What the constructor takes, in the order of the buffer, ready for JSON."""
        return [[name, e.dtype.str, list(e.shape)] for name, e in self.entries.items()]

    def digest(self) -> str:
        """A SHA-256 that two layouts share only if they are equal."""
        return hashlib.sha256(json.dumps(self.specs()).encode()).hexdigest()

    def views(self, buffer: np.ndarray) -> dict[str, np.ndarray]:
        """The named arrays as views into ``buffer``, (nbytes,) uint8."""
        assert buffer.nbytes == self.nbytes, "a buffer of another layout"
        return {
            name: buffer[e.begin : e.end].view(e.dtype).reshape(e.shape)
            for name, e in self.entries.items()
        }

    def pack(self, arrays: Mapping[str, np.ndarray], buffer: np.ndarray | None = None):
        """Copy the arrays into ``buffer`` (a new one if None) and return it."""
        if buffer is None:
            buffer = np.empty(self.nbytes, np.uint8)
        for name, view in self.views(buffer).items():
            view[...] = arrays[name]
        return buffer


def sort_key(name: str, dtype: str | np.dtype) -> tuple:
    """The order of arrays in every buffer."""
    return -np.dtype(dtype).itemsize, str(dtype), name


def _check(name: str, dtype: str, shape: Sequence[int], dtypes: Sequence[str]) -> None:
    if not NAME.fullmatch(name):
        raise RegistrationError(
            f"{name[:80]!r} cannot be a name: 1 to 200 letters, digits and any of _ . : -"
        )
    if dtype not in dtypes:
        raise RegistrationError(f"{name} has dtype {dtype}, allowed are {', '.join(dtypes)}")
    if len(shape) > MAX_RANK:
        raise RegistrationError(f"{name} has {len(shape)} axes, at most {MAX_RANK} are allowed")
    # Each axis and the product: with a 0 among the axes the product alone would allow anything.
    if max((*shape, math.prod(shape))) > MAX_BYTES or min(shape, default=0) < 0:
        raise RegistrationError(f"{name} has an impossible shape {tuple(shape)}")
