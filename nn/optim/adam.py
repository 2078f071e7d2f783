"""Adam, and AdamW: steps measured by the gradient's own size."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nn.optim.optimizer import Optimizer


def adam_step(
    weight: np.ndarray,
    mean: np.ndarray,
    square: np.ndarray,
    grad: np.ndarray,
    updates: int,
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    out: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One update of Adam (Kingma and Ba 2015, algorithm 1), with s = g + lambda W::

        m' = beta1 m + (1 - beta1) s       W' = W - lr m' / (1 - beta1^t)
        u' = beta2 u + (1 - beta2) s^2               / (sqrt(u' / (1 - beta2^t)) + eps)

    Args:
        weight, mean, square, grad: W, m, u and g, arrays of one shape and floating point type.
        updates: how many updates these weights have had before; t is one more.
        lr, betas, eps, weight_decay: numbers; lambda is the last.
        out: where W', m' and u' go (may be the inputs themselves); new arrays if None.

    Returns:
        (W', m', u').
    """
    real, (beta1, beta2), t = weight.dtype.type, betas, updates + 1
    new_weight, new_mean, new_square = out or (None, None, None)
    if weight_decay:
        grad = grad + real(weight_decay) * weight
    new_mean = np.multiply(mean, real(beta1), out=new_mean)
    new_mean += real(1 - beta1) * grad
    new_square = np.multiply(square, real(beta2), out=new_square)
    new_square += real(1 - beta2) * np.square(grad)
    scale = np.sqrt(new_square / real(1 - beta2**t)) + real(eps)
    step = real(lr / (1 - beta1**t)) * new_mean / scale
    return np.subtract(weight, step, out=new_weight), new_mean, new_square


class Adam(Optimizer):
    """PyTorch's Adam: see ``adam_step``; the weight decay is part of the gradient.

    Args:
        params, lr, weight_decay: as for every ``Optimizer``.
        betas, eps: of ``adam_step``.
    """

    arrays, counts = ("means", "squares"), ("updates",)

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        # Written so that NaN, which is neither, is refused too.
        if not (eps > 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(f"{self.name}: eps {eps} must be positive, betas {betas} in [0, 1)")
        super().__init__(params, lr, weight_decay)
        self.betas, self.eps = tuple(betas), eps

    def update(self, weight, grad, state, lr, weight_decay):
        mean, square, updates = state
        adam_step(
            weight, mean, square, grad, int(updates), lr, self.betas, self.eps, weight_decay,
            out=(weight, mean, square),
        )  # fmt: skip
        updates += 1


class AdamW(Adam):
    """Adam with the weight decay beside it: W' = W - lr lambda W - ...

    The decay is then not divided by the size of the gradients. (Loshchilov and Hutter 2019.)
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)

    def update(self, weight, grad, state, lr, weight_decay):
        weight *= weight.dtype.type(1 - lr * weight_decay)
        super().update(weight, grad, state, lr, 0.0)
