"""Dropout, of numbers, of channels and of whole branches. Nothing happens unless ``training``.

``rng`` is the stream of random numbers, by default the one that ``nn.manual_seed`` sets.
"""

from __future__ import annotations

import numpy as np

from nn import init
from nn.ops.dropout import Dropout
from nn.tensor import Tensor, apply, as_tensor


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Each element becomes 0 with probability p, the others grow by 1 / (1 - p)."""
    return _dropout(input, p, training, rng, None)


def dropout2d(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Each channel of (N, C, ...) becomes 0 as a whole with probability p (Tompson et al. 2015)."""
    return _dropout(input, p, training, rng, 2)


def stochastic_depth(
    input: Tensor,
    p: float,
    mode: str,
    training: bool = True,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """A branch becomes 0 with probability p: of each image alone (mode "row") or of the "batch".

    Torchvision's; for the branch beside a shortcut (Huang et al. 2016).
    """
    if mode not in ("row", "batch"):
        raise ValueError(f"stochastic_depth: mode is 'row' or 'batch', not {mode!r}")
    return _dropout(input, p, training, rng, 1 if mode == "row" else 0)


def _dropout(input, p, training, rng, dims) -> Tensor:
    if not training:
        return as_tensor(input)
    return apply(Dropout, input, p=p, rng=init.generator() if rng is None else rng, dims=dims)
