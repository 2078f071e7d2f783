"""Schedules: functions from the iteration (0, 1, ...) to the factor on the learning rate.

Training resumed at iteration t therefore needs nothing but t.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable


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
