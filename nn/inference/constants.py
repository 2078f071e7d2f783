"""The numbers that compiled networks compute with: each array in memory once.

Compiled for another input size, a module needs the same packed weights again, but for a few arrays
that depend on the size. An array is known by its content, so nobody has to say which ones those
are, and a module that was trained in between brings its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from nn.inference.arena import zeros
from nn.kernels.matmul import LINE

SPARE = 8  # one part of so many is left free, from the second network on: there may be a third


class Constants:
    """
    Args:
        dtype: of all numbers.

    Attributes:
        array: all of them, flat. What stands in it never changes and never moves; when more comes,
            a longer array takes its place.
        size: how many numbers of it are taken.
        places: where in it the array with a key (``key_of``) begins.
    """

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype
        self.array, self.size = zeros(0, dtype), 0
        self.places: dict[tuple, int] = {}

    def extend(self, new: NewConstants) -> None:
        """Take in ``new``, which is used up."""
        if new.size + LINE > self.array.size:  # a block of sums may read beyond the last
            spare = new.size // SPARE if self.size else 0
            longer = zeros(new.size + spare + LINE, self.dtype)
            longer[: self.size] = self.array[: self.size]
            self.array = longer
        self.size = new.size
        while new.arrays:
            key, (start, array) = new.arrays.popitem()
            self.array[start : start + array.size].reshape(array.shape)[...] = array
            self.places[key] = start


class NewConstants:
    """What a network needs and ``known`` does not have yet.

    Arrays are copied in the end only: large weights are in memory twice, not three times.
    """

    def __init__(self, known: Constants):
        self.known, self.size = known, known.size
        self.arrays: dict[tuple, tuple[int, np.ndarray]] = {}

    def place(self, array: np.ndarray, arrange: Callable | None = None, *options) -> int:
        """Where the numbers of ``array`` begin, in the order that ``arrange(array, *options)``
        gives them."""
        key = key_of(array, arrange, *options)
        if key in self.known.places:
            return self.known.places[key]
        if key not in self.arrays:
            arranged = array if arrange is None else arrange(array, *options)
            self.arrays[key] = self.size, arranged
            self.size += -(-arranged.size // LINE) * LINE
        return self.arrays[key][0]


def key_of(array: np.ndarray, *arrangement) -> tuple:
    """Equal for equal content (bit by bit) and arrangement, and for nothing else."""
    content = hashlib.sha256(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return arrangement, array.dtype, array.shape, content.digest()
