"""Learning: the thesis's momentum, learning rate schedules, and clipping of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from nn.kernels import momentum as momentum_kernel
from nn.kernels.sum_of_squares import sum_of_squares
from nn.module import Parameter

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


class MomentumSGD:
    """Stochastic gradient descent with the thesis's momentum (equation 3-2).

    v = beta v + alpha g, W = W - v. Unlike PyTorch's SGD the learning rate alpha is inside the
    velocity, so a change of alpha takes effect gradually.

    Args:
        params: parameters, or dicts ``{"params": [...], "lr_scale": 1.0, "weight_decay": ...}``
            for groups with settings of their own. Parameters that do not require gradients
            stay as they are.
        lr: alpha; set ``optimizer.lr`` to change it (schedules do).
        momentum: beta.
        weight_decay: lambda, added to the gradient as lambda W.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ):
        if lr < 0 or not 0 <= momentum < 1 or weight_decay < 0:
            raise ValueError(
                f"MomentumSGD: lr {lr} and weight_decay {weight_decay} must be at least 0, "
                f"momentum {momentum} in [0, 1)"
            )
        self.lr, self.momentum = lr, momentum
        groups = list(params)
        if not groups:
            raise ValueError("MomentumSGD: there are no parameters to learn")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        self.groups = [
            {
                "lr_scale": 1.0,
                "weight_decay": weight_decay,
                **group,
                "params": list(group["params"]),
            }
            for group in groups
        ]
        self.velocities = [np.zeros_like(parameter.data) for parameter in self._parameters()]

    def _parameters(self) -> list[Parameter]:
        return [parameter for group in self.groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        for parameter in self._parameters():
            parameter.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient, in place."""
        velocities = iter(self.velocities)
        for group in self.groups:
            for parameter in group["params"]:
                velocity = next(velocities)
                if parameter.grad is None or not parameter.requires_grad:
                    continue
                momentum_step(
                    parameter.data, velocity, parameter.grad,
                    self.lr * group["lr_scale"], self.momentum, group["weight_decay"],
                    out=(parameter.data, velocity),
                )  # fmt: skip

    def state_dict(self) -> dict:
        """What a checkpoint needs to go on: the velocities in parameter order."""
        return {"velocities": list(self.velocities)}

    def load_state_dict(self, state: dict) -> None:
        given = state["velocities"]
        shapes = [velocity.shape for velocity in self.velocities]
        if [velocity.shape for velocity in given] != shapes:
            raise ValueError("MomentumSGD: this state belongs to other parameters")
        for own, velocity in zip(self.velocities, given, strict=True):
            own[...] = velocity


def clip_grad_norm(parameters: Iterable[Parameter], max_norm: float) -> float:
    """Scale all gradients down together so that their joint length is at most ``max_norm``.

    Returns the length before, sqrt of the sum of all squares, summed in float64.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    sums = np.zeros((len(gradients), 2))
    for row, grad in zip(sums, gradients, strict=True):
        sum_of_squares(grad.reshape(-1), row)
    total = math.sqrt(sums[:, 1].sum())
    if total > max_norm:
        for grad in gradients:
            grad *= grad.dtype.type(max_norm / total)
    return total


# Schedules are functions from the iteration (0, 1, ...) to the factor on the learning rate, so
# that training resumed at iteration t needs nothing but t.


def warmup(iterations: int, start: float = 1 / 3) -> Callable[[int], float]:
    """Linear from ``start`` to 1 over the first ``iterations``, then 1."""

    def factor(iteration: int) -> float:
        if iteration >= iterations:
            return 1.0
        return start + (1.0 - start) * iteration / iterations

    return factor


def step_decay(milestones: Iterable[int], gamma: float = 0.1) -> Callable[[int], float]:
    """``gamma`` to the power of the number of milestones that have passed."""
    milestones = sorted(milestones)

    def factor(iteration: int) -> float:
        return gamma ** sum(iteration >= milestone for milestone in milestones)

    return factor


def cosine_decay(iterations: int, end: float = 0.0) -> Callable[[int], float]:
    """Half a cosine from 1 down to ``end`` over ``iterations`` (Loshchilov and Hutter 2017)."""

    def factor(iteration: int) -> float:
        progress = min(iteration / iterations, 1.0)
        return end + (1.0 - end) * 0.5 * (1.0 + math.cos(math.pi * progress))

    return factor


def linear_decay(iterations: int, end: float = 0.0) -> Callable[[int], float]:
    """A straight line from 1 down to ``end`` over ``iterations``."""

    def factor(iteration: int) -> float:
        return 1.0 + (end - 1.0) * min(iteration / iterations, 1.0)

    return factor


def product(*schedules: Callable[[int], float]) -> Callable[[int], float]:
    """All factors multiplied: ``product(warmup(500), step_decay([8000, 11000]))``."""
    return lambda iteration: math.prod(schedule(iteration) for schedule in schedules)
