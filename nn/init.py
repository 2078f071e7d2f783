"""Initial values of parameters, from one seeded stream.

Every function fills ``parameter.data`` in place and draws from the generator that
``manual_seed`` sets, so building the same network after the same seed gives the same bits.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator

import numpy as np

from nn.tensor import Tensor

_generator = np.random.Generator(np.random.Philox(0))
_is_skipping = False
AT_ONCE = 1 << 20  # numbers drawn at once: in float64 they take twice the room of the parameter


def manual_seed(seed: int) -> None:
    """Start the stream of initial values (and of ``functional.dropout``) anew."""
    global _generator
    _generator = np.random.Generator(np.random.Philox(seed))


def generator() -> np.random.Generator:
    """The stream that ``manual_seed`` set."""
    return _generator


@contextlib.contextmanager
def fork_stream() -> Iterator[None]:
    """Whatever is drawn within is as if it had not been (``torch.random.fork_rng``)."""
    global _generator
    kept = _generator
    _generator = copy.deepcopy(kept)
    try:
        yield
    finally:
        _generator = kept


@contextlib.contextmanager
def skipped() -> Iterator[None]:
    """Draw nothing inside this ``with`` block: parameters hold whatever was in memory.

    For networks whose weights are about to be loaded, or that are only counted.
    """
    global _is_skipping
    before, _is_skipping = _is_skipping, True
    try:
        yield
    finally:
        _is_skipping = before


def constant_(parameter: Tensor, value: float) -> Tensor:
    """``value`` everywhere."""
    parameter.data[...] = value
    return parameter


def zeros_(parameter: Tensor) -> Tensor:
    """0 everywhere."""
    return constant_(parameter, 0.0)


def ones_(parameter: Tensor) -> Tensor:
    """1 everywhere."""
    return constant_(parameter, 1.0)


def normal_(parameter: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """N(mean, std^2)"""
    return _fill(parameter, lambda count: _generator.normal(mean, std, count))


def uniform_(parameter: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """U(a, b)"""
    return _fill(parameter, lambda count: _generator.uniform(a, b, count))


def fan_in_and_out(parameter: Tensor) -> tuple[int, int]:
    """How many inputs each output sums over, and how many outputs each input reaches.

    For a weight of shape (OUT, IN, KH, KW): IN KH KW and OUT KH KW.
    """
    if parameter.ndim < 2:
        raise ValueError(f"fan-in and fan-out need two dimensions or more, not {parameter.shape}")
    window = math.prod(parameter.shape[2:])
    return parameter.shape[1] * window, parameter.shape[0] * window


def uniform_fan_in_(parameter: Tensor, weight: Tensor | None = None) -> Tensor:
    """U(-b, b) with b = 1 / sqrt(fan_in of ``weight``, by default of the parameter itself).

    What layers start with, here and in PyTorch, which writes it ``kaiming_uniform_(a=sqrt(5))``.
    """
    bound = 1.0 / math.sqrt(fan_in_and_out(parameter if weight is None else weight)[0])
    return uniform_(parameter, -bound, bound)


def calculate_gain(nonlinearity: str, param: float = 0.01) -> float:
    """By how much a function shrinks the standard deviation, and the weights have to make up.

    ``param`` is the slope of a leaky ReLU: sqrt(2 / (1 + slope^2)).
    """
    gains = {
        "linear": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1 + param**2)),
    }  # fmt: skip
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: {nonlinearity!r} is not one of {', '.join(gains)}")
    return gains[nonlinearity]


def kaiming_normal_(
    parameter: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """N(0, gain^2 / fan), which keeps the variance through the layer and what follows it.

    Args:
        a: the slope of the leaky ReLU that follows; 0 is a plain one.
        mode: "fan_in" keeps the variance forward, "fan_out" backward.
        nonlinearity: what follows, see ``calculate_gain``.

    (He et al. 2015, equations 10 and 15.)
    """
    return normal_(parameter, 0.0, _kaiming_std(parameter, a, mode, nonlinearity))


def kaiming_uniform_(
    parameter: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """U(-b, b) with b = gain sqrt(3 / fan): ``kaiming_normal_`` with another distribution."""
    bound = math.sqrt(3.0) * _kaiming_std(parameter, a, mode, nonlinearity)
    return uniform_(parameter, -bound, bound)


def xavier_normal_(parameter: Tensor, gain: float = 1.0) -> Tensor:
    """N(0, 2 gain^2 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 12)."""
    return normal_(parameter, 0.0, gain * math.sqrt(2.0 / sum(fan_in_and_out(parameter))))


def xavier_uniform_(parameter: Tensor, gain: float = 1.0) -> Tensor:
    """U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 16)."""
    bound = gain * math.sqrt(6.0 / sum(fan_in_and_out(parameter)))
    return uniform_(parameter, -bound, bound)


def trunc_normal_(
    parameter: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """N(mean, std^2) without what lies below ``a`` or above ``b``, which is drawn again."""
    if not (a < b and a - 4 * std < mean < b + 4 * std):
        raise ValueError(f"trunc_normal_: nearly nothing of N({mean}, {std}^2) is in [{a}, {b}]")

    def draw(count: int) -> np.ndarray:
        values = _generator.normal(mean, std, count)
        while (outside := (values < a) | (values > b)).any():
            values[outside] = _generator.normal(mean, std, int(outside.sum()))
        return values

    return _fill(parameter, draw)


def _fill(parameter: Tensor, draw: Callable[[int], np.ndarray]) -> Tensor:
    """A part after the other, from ``draw(how many)``: in order, so the parts do not show."""
    if not _is_skipping:
        for start in range(0, parameter.data.size, AT_ONCE):
            count = min(AT_ONCE, parameter.data.size - start)
            parameter.data.flat[start : start + count] = draw(count)
    return parameter


def _kaiming_std(parameter: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode is 'fan_in' or 'fan_out', not {mode!r}")
    fan = fan_in_and_out(parameter)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)
