"""What is done to a step's result where it lies, while it is still in the cache.

    y = clamp(function(x join second), last_low, last_high)

x is the result, ``second`` another map, or a number for each of its planes. ReLU, ReLU6 and the
hard sigmoid need none of this: a clamp is part of every step.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.machine.choice import choice
from nn.kernels.machine.elements import ELEMENTS, make_map
from nn.kernels.machine.jit import device
from nn.kernels.program.step import View

scale_shift = make_map(ELEMENTS["scale and shift"])
add = make_map(ELEMENTS["add"], of_two=True)
multiply = make_map(ELEMENTS["multiply"], of_two=True)


def _sigmoid(x):
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


# What a function of x and ``slope`` is to NumPy. A step names it by its number in this order;
# ``nn.kernels.machine.elements`` has it for vectors.
FUNCTIONS = {
    "scale and shift": lambda x, slope: slope * x,
    "sigmoid": lambda x, slope: _sigmoid(x),
    "silu": lambda x, slope: x * _sigmoid(x),
    "hard swish": lambda x, slope: x * np.clip(x + 3, 0, 6) / 6,
    "leaky relu": lambda x, slope: np.where(x < 0, slope * x, x),
}
JOINS = ("alone", "add", "multiply", "scale")  # the last with one number for a plane
ALONE, ADD, MULTIPLY, SCALE = range(4)
IDENTITY = 0  # to scale by a slope of 1

apply_function = choice([make_map(ELEMENTS[name]) for name in FUNCTIONS])


def finish_reference(view: View, result: np.ndarray) -> None:
    """Put ``result`` (OC, OH, OW) where it belongs, finished."""
    step = view.step
    x = np.clip(result, step.low, step.high)
    if step.join in (ADD, MULTIPLY):
        second = view.second((step.out_height, step.out_width))
        x = x + second if step.join == ADD else x * second
    elif step.join == SCALE:
        x = x * view.second((1, 1))
    function = list(FUNCTIONS.values())[step.function]
    view.put(np.clip(function(x, step.slope), step.last_low, step.last_high))


@device
def finish(step, n, first, last, pixel, count, places, arena):
    """``count`` pixels from ``pixel`` on of target planes ``first`` to ``last`` of image n."""
    join_low, join_high = -np.inf, np.inf
    if step.function == IDENTITY:
        join_low, join_high = step.last_low, step.last_high
    for m in range(first, last):
        at = places[step.target + m] + n * step.target_image + pixel
        if step.join != ALONE:
            second = places[step.second + m] + n * step.second_image
            if step.join == ADD:
                add(arena, at, arena, second + pixel, 0.0, 0.0, join_low, join_high,
                    arena, at, count)  # fmt: skip
            elif step.join == MULTIPLY:
                multiply(arena, at, arena, second + pixel, 0.0, 0.0, join_low, join_high,
                         arena, at, count)  # fmt: skip
            else:
                scale_shift(arena, at, arena, at, arena[second], 0.0, join_low, join_high,
                            arena, at, count)  # fmt: skip
        if step.function != IDENTITY:
            apply_function(step.function, arena, at, arena, at, step.slope, 0.0, step.last_low,
                           step.last_high, arena, at, count)  # fmt: skip
