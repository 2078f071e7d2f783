"""One step of momentum on flat arrays: what the optimiser and the parameter server share.

    v' = momentum v + lr (g + weight_decay w)
    w' = w - v'

The thesis's equation 3-2: the learning rate sits inside the velocity.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from nn.kernels.machine.jit import kernel


def momentum_step_reference(
    weight, velocity, grad, lr, momentum, weight_decay, new_weight, new_velocity
):
    """The two formulas, every intermediate rounded to the type of the arrays."""
    real = weight.dtype.type
    decayed = grad + real(weight_decay) * weight if weight_decay else grad
    np.add(real(momentum) * velocity, real(lr) * decayed, out=new_velocity)
    np.subtract(weight, new_velocity, out=new_weight)


@kernel(twin=momentum_step_reference)
def momentum_step(weight, velocity, grad, lr, momentum, weight_decay, new_weight, new_velocity):
    """Fill ``new_weight`` and ``new_velocity``; both may be the arrays ``weight``, ``velocity``.

    All arrays are flat and of one type, float32 or float64; the factors are rounded to that type.
    Equal to the twin bit for bit, so a server without Numba takes the same steps. Without decay
    nothing is added to the gradient, not even 0 w, which would turn -0.0 into 0.0.
    """
    lr, momentum, weight_decay = (
        weight.dtype.type(lr), weight.dtype.type(momentum), weight.dtype.type(weight_decay)
    )  # fmt: skip
    for i in prange(weight.size):
        decayed = grad[i]
        if weight_decay != 0:
            decayed += weight_decay * weight[i]
        v = momentum * velocity[i] + lr * decayed
        new_velocity[i] = v
        new_weight[i] = weight[i] - v
