"""PyTorch's files of before version 1.6, which are no archives, without running anything in them.

Five pickles, one behind the other, and then the storages::

    a magic number, the version 1001, {"little_endian": True, ...}
    the state dict; it refers to storages by key, type and number of elements
    the list of the keys, in the order in which the storages follow
    of each: the number of elements (8 bytes), the elements

Only the fourth pickle says how large an element is, and it is in front of the storages: it is read
once for that, and once more when it is known where they lie. Format: PyTorch
``torch/serialization.py``, ``_legacy_save``.
"""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np

from nn.weights.archive import MAX_BYTES
from nn.weights.errors import WeightsError
from nn.weights.pickle_data import MAX_PROGRAM, PickleDataError, end_of_pickle, read_pickle
from nn.weights.torch_zip import (
    STORAGES,
    WAY_OUT,
    Storage,
    TensorReader,
    find_state_dict,
    refusal,
    run,
)

# The first pickle, up to the number's last digit.
MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
COUNT = 8  # bytes of the number of elements


def read_torch_legacy(path: str | os.PathLike, file: BinaryIO) -> dict[str, np.ndarray]:
    """The tensors of the state dict in an open file, by name, as ``read_torch_zip`` has them.

    Raises:
        WeightsError: when the file holds code, is inconsistent, cut off, or has no tensors.
    """
    beginning = file.read(2 * MAX_PROGRAM)
    try:
        programs, position = [], 0
        for _ in range(5):
            end = end_of_pickle(beginning, position)
            programs.append(beginning[position:end])
            position = end
        system, state, keys = plain(programs[2]), programs[3], plain(programs[4])
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise WeightsError(path, f"written on a big-endian machine. {WAY_OUT}")
        sizes = ElementSizes()
        run(state, sizes)
        storages = Storages(path, file, position, keys, sizes.found)
        value = run(state, TensorReader(storages, ""))
    except PickleDataError as error:
        raise refusal(path, error) from None
    return find_state_dict(path, value)


def plain(program: bytes) -> object:
    """What a pickle describes that refers to nothing."""

    def refuse(reference):
        raise PickleDataError("it refers to a storage where there is none yet")

    return read_pickle(program, {}, frozenset(), refuse)


class ElementSizes(TensorReader):
    """Notes how large the elements of each storage are; its tensors are empty.

    Attributes:
        found: bytes of an element, by the storage's key.
    """

    def __init__(self):
        self.found: dict[str, int] = {}

    def load_storage(self, reference: object) -> Storage:
        if type(reference) is tuple and len(reference) > 2:
            kind, key = getattr(reference[1], "text", None), reference[2]
            if kind in STORAGES and isinstance(key, str):
                self.found[key] = STORAGES[kind].itemsize
        return Storage(b"", np.dtype(np.uint8))

    def rebuild_tensor(self, arguments: tuple) -> np.ndarray:
        return np.empty(0, np.uint8)


class Storages:
    """The end of the file, as a ``TensorReader`` wants it: sizes and content by "data/KEY"."""

    def __init__(
        self, path, file: BinaryIO, position: int, keys: object, element_sizes: dict[str, int]
    ):
        self.path, self.file, self.budget = path, file, MAX_BYTES
        self.places: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        if type(keys) is not list or not all(isinstance(key, str) for key in keys):
            raise PickleDataError("its storages have no list of keys")
        length = file.seek(0, os.SEEK_END)
        for key in keys:
            if key not in element_sizes:
                raise PickleDataError(f"nothing is made of its storage {key[:80]!r}")
            file.seek(position)
            size = int.from_bytes(file.read(COUNT), "little") * element_sizes[key]
            position += COUNT
            if position + size > length:
                raise WeightsError(path, "truncated: it ends in the middle of a tensor")
            self.places[f"data/{key}"], self.sizes[f"data/{key}"] = position, size
            position += size

    def read(self, name: str) -> bytes:
        self.file.seek(self.places[name])
        return self.file.read(self.sizes[name])
