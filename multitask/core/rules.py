"""What the server does with the sum of the contributions: momentum, Adam or LARS.

A rule works in place on flat arrays and knows nothing of tasks. Between two steps it keeps one or
more state arrays as large as the weights, all zero in the beginning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from nn.optim import adam_step, lars_step, momentum_step

Schedule = Callable[[int], float]


class Rule(Protocol):
    """The interface of a rule."""

    state: tuple[str, ...]
    """Names of the state arrays."""

    elementwise: bool
    """Whether each weight is updated alone, so that many names can be done in one stretch."""

    def step(
        self, weight: np.ndarray, state: list[np.ndarray], total: np.ndarray, iteration: int
    ) -> None:
        """Update ``weight`` and ``state`` in place.

        Args:
            weight, total: (n,) weights and the sum of the tasks' contributions, of one float type.
            state: one (n,) array for each name in ``self.state``.
            iteration: of the training, from 0.

        A rule with the attribute ``counts_updates`` gets one argument more: how many iterations
        have changed these weights before, fewer than ``iteration`` where no gradient reached them.
        """

    def describe(self) -> dict:
        """Name and settings, for messages and snapshots."""


class Momentum:
    """The thesis's equation 3-3, by the function that local training calls::

    v = beta v + sum_i c_i        c_i = alpha_i (g_i + lambda_i W)
    W = W - v
    """

    state = ("velocity",)
    elementwise = True

    def __init__(self, momentum: float = 0.9):
        if not 0 <= momentum < 1:
            raise ValueError(f"Momentum: momentum {momentum} must be in [0, 1)")
        self.momentum = momentum

    def step(self, weight, state, total, iteration):
        momentum_step(weight, state[0], total, 1.0, self.momentum, out=(weight, state[0]))

    def describe(self) -> dict:
        return {"rule": "momentum", "momentum": self.momentum}


class Adam:
    """Adam (``nn.optim.adam_step``) on the sum of the contributions, in the place of the gradient.

    t counts the updates of the name: as in PyTorch, an iteration without a contribution is none.
    Adam divides by the size of the sum, so the tasks' alpha_i only weigh them against each other;
    the step size is ``lr`` here, times ``schedule(iteration)`` if there is one.
    """

    state = ("mean", "square")
    elementwise = counts_updates = True

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        schedule: Schedule | None = None,
    ):
        # Written so that NaN, which is neither, is refused too.
        if not (lr >= 0 and eps > 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(
                f"Adam: lr {lr} must be at least 0, eps {eps} positive, betas {betas} in [0, 1)"
            )
        self.lr, self.betas, self.eps, self.schedule = lr, tuple(betas), eps, schedule

    def step(self, weight, state, total, iteration, updates=None):
        lr = self.lr * (self.schedule(iteration) if self.schedule else 1.0)
        adam_step(
            weight, *state, total, iteration if updates is None else updates, lr, self.betas,
            self.eps, out=(weight, *state),
        )  # fmt: skip

    def describe(self) -> dict:
        return {"rule": "adam", "lr": self.lr, "betas": list(self.betas), "eps": self.eps}


class LARS:
    """Layer-wise adaptive rate scaling (``nn.optim.lars_step``) on the sum of the contributions.

    A layer is one name. As with Adam the step size is ``lr``, times ``schedule(iteration)``; the
    tasks' alpha_i weigh them against each other, and their own weight decay should be 0.
    """

    state = ("velocity",)
    elementwise = False

    def __init__(
        self,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        coefficient: float = 1e-3,
        schedule: Schedule | None = None,
    ):
        sizes = lr, weight_decay, coefficient
        if not (all(size >= 0 for size in sizes) and 0 <= momentum < 1):
            raise ValueError(
                f"LARS: lr {lr}, weight_decay {weight_decay} and coefficient {coefficient} must be "
                f"at least 0, momentum {momentum} in [0, 1)"
            )
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.coefficient, self.schedule = coefficient, schedule

    def step(self, weight, state, total, iteration):
        lr = self.lr * (self.schedule(iteration) if self.schedule else 1.0)
        lars_step(
            weight, state[0], total, lr, self.momentum, self.weight_decay, self.coefficient,
            out=(weight, state[0]),
        )  # fmt: skip

    def describe(self) -> dict:
        return {
            "rule": "lars",
            "lr": self.lr,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "coefficient": self.coefficient,
        }
