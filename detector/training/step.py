"""One step of training: forward, backward, update. Whatever is trained, it is trained by this."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from detector.training.non_finite import NonFiniteError, explain_non_finite
from detector.training.objectives.objective import Objective
from nn.optim import MomentumSGD, clip_grad_norm


class Step(NamedTuple):
    """What a step says: ``loss``, the sum, then each loss by its name; the gradient's length."""

    losses: dict[str, float]
    grad_norm: float


def take_step(
    objective: Objective,
    optimizer: MomentumSGD,
    batch: Any,
    rng: np.random.Generator | None = None,
    clip_norm: float | None = None,
) -> Step:
    """One update of the objective's model.

    Args:
        rng: makes all random choices of the loss.
        clip_norm: the joint length to which longer gradients are cut.

    Raises:
        NonFiniteError: the loss or the gradient is not a finite number; the weights are untouched.
    """
    state = None if rng is None else rng.bit_generator.state
    losses = objective.loss(batch, rng)
    total = sum(losses.values())
    values = {"loss": total.item(), **{name: loss.item() for name, loss in losses.items()}}
    optimizer.zero_grad()
    total.backward()
    norm = clip_grad_norm(objective.model.parameters(), clip_norm or math.inf)
    if not (math.isfinite(values["loss"]) and math.isfinite(norm)):
        if rng is not None:
            rng.bit_generator.state = state

        def again() -> None:
            objective.loss(batch, rng)

        reason = explain_non_finite(objective.model, again, values)
        raise NonFiniteError(f"{reason}; the batch was {objective.name(batch)}")
    optimizer.step()
    return Step(values, norm)
