"""PyTorch's ``.pth`` and ``.pt`` files, without PyTorch and without running anything in them.

Since version 1.6 ``torch.save`` writes a zip archive, all below one folder of any name::

    archive/data.pkl   a pickle: the nested dicts and lists, with references to tensors
    archive/data/0     the bytes of storage "0", little-endian
    archive/data/1     ...

A tensor in the pickle is a call of ``torch._utils._rebuild_tensor_v2`` with its storage (dtype,
key, number of elements), the offset of its first element, its sizes and its strides. All of these
are checked here: whatever the pickle says, a tensor lies inside its storage and its elements do
not overlap.

Format: PyTorch ``docs/source/notes/serialization.rst``; names from ``torch/_utils.py``.
"""

from __future__ import annotations

import math
import os
from typing import NamedTuple

import numpy as np

from nn.weights.archive import Archive
from nn.weights.errors import WeightsError
from nn.weights.pickle_data import Name, PickleDataError, read_pickle
from nn.weights.safetensors import DTYPES, MAX_RANK

STORAGES = {
    "torch BoolStorage": DTYPES["BOOL"],
    "torch ByteStorage": DTYPES["U8"],
    "torch CharStorage": DTYPES["I8"],
    "torch ShortStorage": DTYPES["I16"],
    "torch IntStorage": DTYPES["I32"],
    "torch LongStorage": DTYPES["I64"],
    "torch HalfStorage": DTYPES["F16"],
    "torch FloatStorage": DTYPES["F32"],
    "torch DoubleStorage": DTYPES["F64"],
}

# Under what training programs keep the weights, the likeliest first.
WRAPPERS = (
    "state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params",
    "state_dict_ema", "model_ema", "ema_state_dict", "ema",
)  # fmt: skip

WAY_OUT = (
    "Save the tensors alone, with a PyTorch you trust: torch.save(model.state_dict(), 'new.pth')"
)

BFLOAT16 = ", after model.float(): NumPy has no bfloat16"


def find_pickle(archive: Archive) -> str | None:
    """The name of the member that makes an archive PyTorch's, None if there is none."""
    return next((name for name in archive.sizes if name.split("/")[1:] == ["data.pkl"]), None)


def read_torch_zip(archive: Archive) -> dict[str, np.ndarray]:
    """The tensors of the state dict in an open archive, by name; other values are left out.

    A state dict may sit in a training checkpoint, under one of ``WRAPPERS``. The arrays look into
    the storages: read-only, and tied tensors share memory.

    Raises:
        WeightsError: when the file holds code, is inconsistent or has no tensors.
    """
    pickle_name = find_pickle(archive)
    assert pickle_name is not None
    root = pickle_name.removesuffix("data.pkl")
    order = f"{root}byteorder"
    if order in archive.sizes and archive.read(order) != b"little":
        raise WeightsError(archive.path, f"written on a big-endian machine. {WAY_OUT}")
    try:
        value = run(archive.read(pickle_name), TensorReader(archive, root))
    except PickleDataError as error:
        raise refusal(archive.path, error) from None
    return find_state_dict(archive.path, value)


def run(program: bytes, tensors: TensorReader) -> object:
    """What a pickle of ``torch.save`` describes.

    Raises:
        PickleDataError: it does something else.
    """
    return read_pickle(
        program,
        functions={
            "collections OrderedDict": make_dict,
            "torch._utils _rebuild_tensor": tensors.rebuild_old_tensor,
            "torch._utils _rebuild_tensor_v2": tensors.rebuild_tensor,
            "torch._utils _rebuild_parameter": rebuild_parameter,
        },
        names=frozenset(STORAGES),
        load_persistent=tensors.load_storage,
    )


def refusal(path: str | os.PathLike, error: PickleDataError) -> WeightsError:
    """What to say of a pickle that is not only data."""
    way_out = WAY_OUT + BFLOAT16 * ("BFloat16" in str(error))
    return WeightsError(path, f"its pickle is refused: {error}. {way_out}")


def find_state_dict(path: str | os.PathLike, value: object) -> dict[str, np.ndarray]:
    """Unwrap ``value`` (a few times at most: a dict may contain itself), keep its tensors."""
    for _ in WRAPPERS:
        if not isinstance(value, dict):
            raise WeightsError(
                path, f"its content is of type {type(value).__name__}, not a state dict"
            )
        inner = [value[key] for key in WRAPPERS if isinstance(value.get(key), dict)]
        value = inner[0] if inner else value
    tensors = {
        name: array
        for name, array in value.items()
        if isinstance(name, str) and isinstance(array, np.ndarray)
    }
    if value and not tensors:
        keys = ", ".join(repr(key)[:40] for key in list(value)[:5])
        raise WeightsError(
            path,
            f"no tensors in it, nor under {', '.join(WRAPPERS)}: it has {keys}. {WAY_OUT}",
        )
    return tensors


def make_dict(arguments: tuple) -> dict:
    """In place of ``collections.OrderedDict()``: our dicts keep their order anyway."""
    if arguments:
        raise PickleDataError("an OrderedDict is made with arguments")
    return {}


def rebuild_parameter(arguments: tuple) -> np.ndarray:
    """In place of ``_rebuild_parameter(data, requires_grad, backward_hooks)``: the data."""
    if len(arguments) != 3 or not isinstance(arguments[0], np.ndarray):
        raise PickleDataError("a parameter is made of something that is not a tensor")
    return arguments[0]


class Storage(NamedTuple):
    """A flat run of elements that tensors are cut from."""

    content: bytes
    dtype: np.dtype


class TensorReader:
    """Turns the pickle's descriptions of storages and tensors into arrays."""

    def __init__(self, archive: Archive, root: str):
        self.archive, self.root = archive, root
        self.storages: dict[tuple[str, np.dtype], Storage] = {}
        self.total = 0  # bytes of all tensors so far

    def load_storage(self, reference: object) -> Storage:
        """The storage of ``("storage", type, key, location, number of elements)``."""
        if type(reference) is tuple and reference[5:] == (None,):  # before 1.6: and no view of it
            reference = reference[:5]
        if type(reference) is not tuple or len(reference) != 5 or reference[0] != "storage":
            raise PickleDataError("a persistent id does not describe a storage")
        _, kind, key, _, count = reference
        if not isinstance(kind, Name) or kind.text not in STORAGES:
            raise PickleDataError("a storage has no known type")
        if not isinstance(key, str) or not _is_count(count):
            raise PickleDataError("a storage has a malformed key or size")
        dtype, member = STORAGES[kind.text], f"{self.root}data/{key}"
        size = self.archive.sizes.get(member)
        if size != count * dtype.itemsize:
            problem = "is missing" if size is None else f"has {size} bytes"
            raise PickleDataError(f"storage {key[:80]!r}: {count} x {dtype} expected, it {problem}")
        if (key, dtype) not in self.storages:
            content = self.archive.read(member)
            if dtype == np.bool_ and content.translate(None, b"\0\1"):
                raise PickleDataError(f"bool storage {key[:80]!r} has a byte other than 0 and 1")
            self.storages[key, dtype] = Storage(content, dtype)
        return self.storages[key, dtype]

    def rebuild_old_tensor(self, arguments: tuple) -> np.ndarray:
        """In place of ``_rebuild_tensor(storage, offset, size, stride)``, before PyTorch 0.4."""
        return self.rebuild_tensor((*arguments, False, None))

    def rebuild_tensor(self, arguments: tuple) -> np.ndarray:
        """In place of ``_rebuild_tensor_v2(storage, offset, size, stride, ...)``: a view."""
        if len(arguments) not in (6, 7):
            raise PickleDataError(f"a tensor is made of {len(arguments)} arguments instead of 6")
        storage, offset, sizes, strides = arguments[:4]
        if not isinstance(storage, Storage):
            raise PickleDataError("a tensor is made of something that is not a storage")
        if not (_are_counts(sizes) and _are_counts(strides) and _is_count(offset)):
            raise PickleDataError("a tensor has a malformed offset, size or stride")
        if len(sizes) != len(strides) or len(sizes) > MAX_RANK:
            raise PickleDataError(f"a tensor has {len(sizes)} sizes and {len(strides)} strides")
        itemsize = storage.dtype.itemsize
        if 0 in sizes:
            return _empty(sizes, storage.dtype)
        if not fits(len(storage.content) // itemsize, offset, sizes, strides):
            raise PickleDataError(
                f"a tensor of sizes {str(sizes)[:80]} and strides {str(strides)[:80]} from element "
                f"{offset} overlaps itself or leaves its storage of {len(storage.content)} bytes"
            )
        self.total += math.prod(sizes) * itemsize
        if self.total > self.archive.budget:
            raise PickleDataError(f"the tensors unpack to more than {self.archive.budget} bytes")
        # A dimension of size 1 may have any stride; NumPy would trip over an absurd one.
        pairs = zip(sizes, strides, strict=True)
        steps = tuple(stride * itemsize if size > 1 else 0 for size, stride in pairs)
        return np.ndarray(sizes, storage.dtype, storage.content, offset * itemsize, steps)


def fits(count: int, offset: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether a tensor lies in a storage of ``count`` elements, each element in its own place.

    From the smallest stride up, a dimension must step over all that the dimensions before it
    reach; that is sufficient for distinct places, and true of every slice and transpose.
    """
    reach = 0  # the furthest element, counted from the first
    for stride, size in sorted(zip(strides, sizes, strict=True)):
        if size > 1:
            if stride <= reach:
                return False
            reach += (size - 1) * stride
    return offset + reach < count


def _empty(sizes: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A tensor without elements; NumPy still refuses sizes it cannot count."""
    try:
        return np.zeros(sizes, dtype)
    except (ValueError, OverflowError, MemoryError):
        raise PickleDataError(f"impossible sizes {str(sizes)[:80]}") from None


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _are_counts(values: object) -> bool:
    return type(values) is tuple and all(_is_count(value) for value in values)
