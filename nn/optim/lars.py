"""LARS: for large batches, a learning rate for each layer that fits the size of its weights."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nn.optim.momentum import momentum_step
from nn.optim.optimizer import Optimizer


def lars_step(
    weight: np.ndarray,
    velocity: np.ndarray,
    grad: np.ndarray,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    coefficient: float = 1e-3,
    out: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """One update of layer-wise adaptive rate scaling (You, Gitman and Ginsburg 2017)::

        local = eta |W| / (|g| + lambda |W|)          norms of this array
        v' = beta v + lr local (g + lambda W)
        W' = W - v'

    An array whose |W| or |g| is zero (a bias at its start) takes local = 1. Arguments and result
    are those of ``momentum_step``; coefficient is eta.
    """
    long, short = _norm(weight), _norm(grad)
    if long > 0 and short > 0:
        lr *= coefficient * long / (short + weight_decay * long)
    return momentum_step(weight, velocity, grad, lr, momentum, weight_decay, out)


class LARS(Optimizer):
    """Momentum whose learning rate is scaled for each parameter, see ``lars_step``.

    Args:
        params, lr, weight_decay: as for every ``Optimizer``.
        momentum, coefficient: beta and eta.
    """

    arrays = ("velocities",)

    def __init__(
        self,
        params: Iterable,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        coefficient: float = 1e-3,
    ):
        if not (coefficient >= 0 and 0 <= momentum < 1):
            raise ValueError(
                f"LARS: coefficient {coefficient} must be at least 0, momentum {momentum} in [0, 1)"
            )
        super().__init__(params, lr, weight_decay)
        self.momentum, self.coefficient = momentum, coefficient

    def update(self, weight, grad, state, lr, weight_decay):
        (velocity,) = state
        lars_step(
            weight, velocity, grad, lr, self.momentum, weight_decay, self.coefficient,
            out=(weight, velocity),
        )  # fmt: skip


def _norm(array: np.ndarray) -> float:
    # Added up in float64 by one thread: the same bits however many cores there are.
    return float(np.sqrt(np.square(array, dtype=np.float64).sum()))
