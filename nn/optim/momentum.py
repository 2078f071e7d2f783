"""The thesis's momentum: one step of it, its two halves, and the optimiser."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nn.kernels import momentum as momentum_kernel
from nn.optim.optimizer import Optimizer

SMALL = 2**14  # elements


def momentum_step(
    weight: np.ndarray,
    velocity: np.ndarray,
    grad: np.ndarray,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    out: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """One update of the thesis's equation 3-2, with the learning rate inside the velocity::

        v' = beta v + alpha (g + lambda W)
        W' = W - v'

    Args:
        weight, velocity, grad: W, v and g, three arrays of one shape and floating point type.
        lr, momentum, weight_decay: alpha, beta and lambda.
        out: where W' and v' go (may be ``weight`` and ``velocity`` themselves); new arrays if None.

    Returns:
        (W', v'). The same function serves local training and the parameter server.
    """
    if not weight.shape == velocity.shape == grad.shape:
        raise ValueError(
            f"momentum_step: weight {weight.shape}, velocity {velocity.shape} and "
            f"gradient {grad.shape} must have one shape"
        )
    new_weight, new_velocity = out or (np.empty_like(weight), np.empty_like(velocity))
    kernel = momentum_kernel.momentum_step
    # Waking the threads takes longer than a small array does; the twin has the same bits.
    step = kernel if weight.size >= SMALL else kernel.twin
    step(
        weight.reshape(-1), velocity.reshape(-1), grad.reshape(-1),
        lr, momentum, weight_decay, new_weight.reshape(-1), new_velocity.reshape(-1),
    )  # fmt: skip
    return new_weight, new_velocity


def contribution(
    weight: np.ndarray,
    grad: np.ndarray,
    lr: float,
    weight_decay: float = 0.0,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """What one task adds to the velocity in the thesis's equation 3-3: c = alpha (g + lambda W).

    Rounded exactly as inside ``momentum_step``, so that both ways give the same bits::

        momentum_step(W, v, g, alpha, beta, lambda)
        momentum_step(W, v, contribution(W, g, alpha, lambda), 1.0, beta)

    Args:
        weight, grad: W and g, two arrays of one shape and floating point type.
        lr, weight_decay: alpha and lambda.
        out: where c goes, neither ``weight`` nor ``grad``; a new array if None.
    """
    real = weight.dtype.type
    if weight_decay:
        out = np.multiply(weight, real(weight_decay), out=out)
        out += grad
        out *= real(lr)
        return out
    return np.multiply(grad, real(lr), out=out)


class MomentumSGD(Optimizer):
    """Stochastic gradient descent with the thesis's momentum (equation 3-2).

    v = beta v + alpha g, W = W - v. Unlike PyTorch's SGD the learning rate alpha is inside the
    velocity, so a change of alpha takes effect gradually.

    Args:
        params, lr, weight_decay: as for every ``Optimizer``; lr is alpha.
        momentum: beta.
    """

    arrays = ("velocities",)

    def __init__(
        self,
        params: Iterable,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ):
        if not 0 <= momentum < 1:
            raise ValueError(f"MomentumSGD: momentum {momentum} must be in [0, 1)")
        super().__init__(params, lr, weight_decay)
        self.momentum = momentum

    @property
    def velocities(self) -> list[np.ndarray]:
        return self.state["velocities"]

    def update(self, weight, grad, state, lr, weight_decay):
        (velocity,) = state
        momentum_step(
            weight, velocity, grad, lr, self.momentum, weight_decay, out=(weight, velocity)
        )
