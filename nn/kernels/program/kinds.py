"""The kinds of steps there are: a new one is a row here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numba
import numpy as np

from nn.kernels.machine.addressed import Addressed
from nn.kernels.program.columns import columns, columns_reference
from nn.kernels.program.linear import linear, linear_reference
from nn.kernels.program.planes import (
    depthwise,
    depthwise_reference,
    scale,
    scale_reference,
    stencil,
)
from nn.kernels.program.pooling import (
    average,
    average_reference,
    max_pool,
    max_pool_reference,
    mean,
    mean_reference,
)
from nn.kernels.program.products import product, product_reference
from nn.kernels.program.step import STEP
from nn.kernels.program.strided import strided, strided_reference
from nn.kernels.program.winograd import (
    winograd,
    winograd_input,
    winograd_input_reference,
    winograd_reference,
)


class Kind(NamedTuple):
    """``kernel(step, task, places, weights, source, arena, work)`` does one task of a step of this
    kind; ``twin(view)`` all of it for one image."""

    name: str
    kernel: Addressed
    twin: Callable


KINDS = (
    Kind("product", product, product_reference),
    Kind("strided", strided, strided_reference),
    Kind("columns", columns, columns_reference),
    Kind("stencil", stencil, depthwise_reference),
    Kind("depthwise", depthwise, depthwise_reference),
    Kind("scale", scale, scale_reference),
    Kind("max pool", max_pool, max_pool_reference),
    Kind("average", average, average_reference),
    Kind("mean", mean, mean_reference),
    Kind("linear", linear, linear_reference),
    Kind("winograd input", winograd_input, winograd_input_reference),
    Kind("winograd", winograd, winograd_reference),
)
NUMBERS = {kind.name: number for number, kind in enumerate(KINDS)}


def addresses(numbers: Iterable[int], dtype: np.dtype) -> np.ndarray:
    """Where the kernels of these kinds are, compiled now if they never were; 0 for all others."""
    found = np.zeros(len(KINDS), np.int64)
    if not numba.config.DISABLE_JIT:
        flat, places = numba.from_dtype(np.dtype(dtype))[::1], numba.int64[::1]
        arrays = places, flat, flat, flat, flat
        signature = numba.void(numba.from_dtype(STEP), numba.int64, *arrays)
        for number in set(numbers):
            found[number] = KINDS[number].kernel.address(signature)
    return found
