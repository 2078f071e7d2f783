"""Arguments that may be given in more than one form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nn.tensor import Tensor


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """3 -> (3, 3); (3, 5) stays."""
    if isinstance(value, Sequence | np.ndarray):
        if len(value) != 2:
            raise ValueError(f"an int or a pair (vertical, horizontal) expected, got {value}")
        return int(value[0]), int(value[1])
    return int(value), int(value)


def array_of(value) -> np.ndarray | None:
    """The array of a Tensor; anything else as an array; None stays."""
    if value is None:
        return None
    return value.data if isinstance(value, Tensor) else np.asarray(value)
