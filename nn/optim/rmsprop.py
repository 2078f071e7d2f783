"""RMSprop: steps divided by the recent size of the gradient. It trained the MobileNets."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nn.optim.optimizer import Optimizer


def rmsprop_step(
    weight: np.ndarray,
    square: np.ndarray,
    velocity: np.ndarray,
    grad: np.ndarray,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One update of RMSprop (Tieleman and Hinton 2012, lecture 6.5), PyTorch's, s = g + lambda W::

        u' = alpha u + (1 - alpha) s^2
        v' = momentum v + s / (sqrt(u') + eps)
        W' = W - lr v'

    Args:
        weight, square, velocity, grad: W, u, v and g, arrays of one shape and float type.
        lr, alpha, eps, weight_decay, momentum: numbers; weight_decay is lambda.
        out: where W', u' and v' go (may be the inputs themselves); new arrays if None.

    Returns:
        (W', u', v').
    """
    real = weight.dtype.type
    new_weight, new_square, new_velocity = out or (None, None, None)
    if weight_decay:
        grad = grad + real(weight_decay) * weight
    new_square = np.multiply(square, real(alpha), out=new_square)
    new_square += real(1 - alpha) * np.square(grad)
    new_velocity = np.multiply(velocity, real(momentum), out=new_velocity)
    new_velocity += grad / (np.sqrt(new_square) + real(eps))
    return np.subtract(weight, real(lr) * new_velocity, out=new_weight), new_square, new_velocity


class RMSprop(Optimizer):
    """PyTorch's RMSprop: see ``rmsprop_step``.

    Args:
        params, lr, weight_decay: as for every ``Optimizer``.
        alpha, eps, momentum: of ``rmsprop_step``. (TensorFlow has eps inside the root.)
    """

    arrays = ("squares", "velocities")

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ):
        if not (eps > 0 and 0 <= alpha < 1 and 0 <= momentum < 1):
            raise ValueError(
                f"RMSprop: eps {eps} must be positive, alpha {alpha} and momentum {momentum} "
                "in [0, 1)"
            )
        super().__init__(params, lr, weight_decay)
        self.alpha, self.eps, self.momentum = alpha, eps, momentum

    def update(self, weight, grad, state, lr, weight_decay):
        square, velocity = state
        rmsprop_step(
            weight, square, velocity, grad, lr, self.alpha, self.eps, weight_decay, self.momentum,
            out=(weight, square, velocity),
        )  # fmt: skip
