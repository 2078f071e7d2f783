"""Weight files from elsewhere, read without trusting them.

``read_weights`` knows the file by its first bytes, whatever it is called:

- ``.npz`` of NumPy (``nn.weights.npz``),
- ``.safetensors`` (``nn.weights.safetensors``, which also writes them),
- ``.pth`` or ``.pt`` of PyTorch 1.6 and later (``nn.weights.torch_zip``) and of before
  (``nn.weights.torch_legacy``).

Which network the tensors belong to is no concern here; see ``nn.models``.
"""

from __future__ import annotations

import os

import numpy as np

from nn.weights import safetensors
from nn.weights.archive import Archive
from nn.weights.errors import WeightsError
from nn.weights.npz import read_npz
from nn.weights.only_files import only_files
from nn.weights.torch_legacy import MAGIC, read_torch_legacy
from nn.weights.torch_zip import find_pickle, read_torch_zip

__all__ = ["WeightsError", "read_weights"]


def read_weights(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a weight file, by name, in the file's order.

    The arrays are the caller's own: contiguous, writable, in the machine's byte order, of the
    dtype they have in the file.

    Raises:
        WeightsError: the file is of another kind, damaged, hostile, empty, or holds NaN or
            infinity; the message names the file and, where there is one, the way out.
        OSError: there is no such file or it cannot be read.
    """
    with open(path, "rb", opener=only_files) as file:
        beginning = file.read(len(MAGIC))
        file.seek(0)
        if beginning[:2] == b"PK":
            archive = Archive(path, file)
            tensors = read_torch_zip(archive) if find_pickle(archive) else read_npz(archive)
        elif beginning == MAGIC:
            tensors = read_torch_legacy(path, file)
        elif beginning[8:9] == b"{":
            tensors, _ = safetensors.read(path)
        else:
            raise WeightsError(path, "not an .npz, .safetensors or PyTorch .pth file")
    if not tensors:
        raise WeightsError(path, "no tensors in it")
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise WeightsError(path, f"tensor {name!r} holds NaN or infinity")
    return {
        name: np.array(array, array.dtype.newbyteorder("="), order="C")
        for name, array in tensors.items()
    }
