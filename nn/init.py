"""Initial values of parameters, from one seeded stream.

Every function fills ``parameter.data`` in place and draws from the generator that
``manual_seed`` sets, so building the same network after the same seed gives the same bits.
"""

from __future__ import annotations

import math

import numpy as np

from nn.tensor import Tensor

_generator = np.random.Generator(np.random.Philox(0))


def manual_seed(seed: int) -> None:
    """Start the stream of initial values (and of ``functional.dropout``) anew."""
    global _generator
    _generator = np.random.Generator(np.random.Philox(seed))


def generator() -> np.random.Generator:
    """The stream that ``manual_seed`` set."""
    return _generator


def constant_(parameter: Tensor, value: float) -> Tensor:
    parameter.data[...] = value
    return parameter


def zeros_(parameter: Tensor) -> Tensor:
    return constant_(parameter, 0.0)


def ones_(parameter: Tensor) -> Tensor:
    return constant_(parameter, 1.0)


def normal_(parameter: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """N(mean, std^2)"""
    parameter.data[...] = _generator.normal(mean, std, parameter.shape)
    return parameter


def uniform_(parameter: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """U(low, high)"""
    parameter.data[...] = _generator.uniform(low, high, parameter.shape)
    return parameter


def fan_in_and_out(parameter: Tensor) -> tuple[int, int]:
    """How many inputs each output sums over, and how many outputs each input reaches.

    For a weight of shape (OUT, IN, KH, KW): IN KH KW and OUT KH KW.
    """
    if parameter.ndim < 2:
        raise ValueError(f"fan-in and fan-out need two dimensions or more, not {parameter.shape}")
    window = math.prod(parameter.shape[2:])
    return parameter.shape[1] * window, parameter.shape[0] * window


def kaiming_normal_(parameter: Tensor, mode: str = "fan_in") -> Tensor:
    """N(0, 2 / fan): keeps the variance through a ReLU (He et al. 2015, equation 10)."""
    fan_in, fan_out = fan_in_and_out(parameter)
    return normal_(parameter, 0.0, math.sqrt(2.0 / (fan_in if mode == "fan_in" else fan_out)))


def kaiming_uniform_(parameter: Tensor) -> Tensor:
    """U(-b, b) with b = 1 / sqrt(fan_in), PyTorch's default for layers."""
    bound = 1.0 / math.sqrt(fan_in_and_out(parameter)[0])
    return uniform_(parameter, -bound, bound)


def xavier_uniform_(parameter: Tensor) -> Tensor:
    """U(-b, b) with b = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 16)."""
    bound = math.sqrt(6.0 / sum(fan_in_and_out(parameter)))
    return uniform_(parameter, -bound, bound)
