"""The exercises of chapter 16, photographs of your own: their size, their mistakes, their price."""

from __future__ import annotations

import math

import numpy as np

from exercises.cases import FunctionExercise
from exercises.hunt import Hunt

# 1


def _short_side(width, height, object_side, least):
    needed = least * min(width, height) / object_side
    return 32 * math.ceil(needed / 32)


short_side = FunctionExercise(
    "short_side",
    _short_side,
    cases=[
        (640, 480, 46, 24),
        (480, 640, 50, 24),
        (1920, 1080, 54, 16),
        (640, 480, 48, 32),
        (3000, 4000, 25, 16),
    ],
    mistakes={
        "that is the side in the photograph's own pixels, not yet a multiple of 32": (
            lambda width, height, o, least: least * min(width, height) / o
        ),
        "you round to the nearest multiple of 32; the next larger one is needed.": (
            lambda width, height, o, least: 32 * round(least * min(width, height) / o / 32)
        ),
        "you round down: then the object is smaller than `least`.": (
            lambda width, height, o, least: 32 * int(least * min(width, height) / o // 32)
        ),
        "it is the shorter side whose length is set; you take the longer one.": (
            lambda width, height, o, least: 32 * math.ceil(least * max(width, height) / o / 32)
        ),
        "it is the shorter side whose length is set, and that need not be the height.": (
            lambda width, height, o, least: 32 * math.ceil(least * height / o / 32)
        ),
        "a side that is a multiple of 32 already is large enough.": (
            lambda width, height, o, least: 32 * int(least * min(width, height) / o // 32 + 1)
        ),
        "the quotient stands on its head: a small object needs a larger picture.": (
            lambda width, height, o, least: 32 * math.ceil(o * min(width, height) / least / 32)
        ),
    },
    hints=(
        "Both sides are scaled by one factor, short_side / min(width, height). The object becomes "
        "object_side times that.",
        "So short_side is at least least * min(width, height) / object_side, and "
        "32 * math.ceil(x / 32) is the next multiple of 32.",
    ),
)

# 2


def _how_many(is_right, objects, missed, invented):
    costs = [missed * objects]
    for right in is_right:
        costs.append(costs[-1] + (-missed if right else invented))
    return costs.index(min(costs))


def _costs(is_right, objects, missed, invented):
    right = np.concatenate([[0], np.cumsum(is_right)])
    return missed * (objects - right) + invented * (np.arange(len(right)) - right)


def _f1(is_right, objects, missed, invented):
    right = np.cumsum(is_right)
    return int((2 * right / (np.arange(1, len(right) + 1) + objects)).argmax()) + 1


def _until_wrong(is_right, objects, missed, invented):
    return is_right.index(False) if False in is_right else len(is_right)


_RUN = [True, True, False, True, False, False, True, False]

how_many = FunctionExercise(
    "how_many",
    _how_many,
    cases=[
        (_RUN, 5, 1.0, 1.5),
        (_RUN, 5, 10.0, 1.0),
        (_RUN, 5, 1.0, 10.0),
        ([False, True, False], 2, 1.0, 2.0),
        ([], 3, 1.0, 1.0),
        ([True, False, True, False, True], 3, 1.0, 1.0),
        ([True, False, True, True, False], 4, 1.0, 1.0),
    ],
    mistakes={
        "that is where F1 is highest: it takes a missed object to be as bad as an invented one.": (
            _f1
        ),
        "that ends before the first wrong one: behind it there may be enough right ones to pay "
        "for it.": _until_wrong,
        "the prices are not used: a missed object need not cost what an invented one does.": (
            lambda is_right, objects, missed, invented: _how_many(is_right, objects, 1, 1)
        ),
        "of several that cost the same, the fewest are wanted.": (
            lambda is_right, objects, missed, invented: (
                len(is_right) - int(_costs(is_right, objects, missed, invented)[::-1].argmin())
            )
        ),
        "the two prices are exchanged.": (
            lambda is_right, objects, missed, invented: _how_many(
                is_right, objects, invented, missed
            )
        ),
        "to show nothing is a choice, too: 0.": (
            lambda is_right, objects, missed, invented: (
                1 + int(_costs(is_right, objects, missed, invented)[1:].argmin()) if is_right else 0
            )
        ),
        "that is what it costs; wanted is how many to show.": (
            lambda is_right, objects, missed, invented: float(
                min(_costs(is_right, objects, missed, invented))
            )
        ),
    },
    hints=(
        "If none is shown, all objects are missed. What changes when one more is shown, a right "
        "one or a wrong one?",
        "A right one takes `missed` off the cost, a wrong one adds `invented`. Walk down the list, "
        "note the costs, and take the place of the smallest, the first of equals.",
    ),
)

# 3


def _count_errors(counted, true):
    off = np.subtract(counted, true)
    return float(off.mean()), float(np.abs(off).mean())


count_errors = FunctionExercise(
    "count_errors",
    _count_errors,
    cases=[
        ([10, 12, 9], [11, 11, 9]),
        ([5, 8, 20, 3], [7, 8, 21, 5]),
        ([14, 15], [12, 10]),
    ],
    mistakes={
        "the sign of the first is turned round: a detector that counts too few is below 0.": (
            lambda counted, true: (
                -_count_errors(counted, true)[0],
                _count_errors(counted, true)[1],
            )
        ),
        "the second is the mean of the errors' sizes; too many and too few do not cancel there.": (
            lambda counted, true: (_count_errors(counted, true)[0],) * 2
        ),
        "the second is the size of the mean: too many and too few have cancelled by then.": (
            lambda counted, true: (
                _count_errors(counted, true)[0],
                abs(_count_errors(counted, true)[0]),
            )
        ),
        "the second is a root of mean squares here; wanted is the mean of the sizes.": (
            lambda counted, true: (
                _count_errors(counted, true)[0],
                float(np.sqrt(np.mean(np.subtract(counted, true) ** 2))),
            )
        ),
        "those are sums over the pictures, not means.": (
            lambda counted, true: tuple(len(true) * e for e in _count_errors(counted, true))
        ),
        "the first is the mean error, the second the mean of its size: they are exchanged.": (
            lambda counted, true: _count_errors(counted, true)[::-1]
        ),
    },
    hints=("First the differences, counted - true, one a picture.", "np.abs before the mean."),
    praise="Right. A count that is right on average may be wrong in every picture.",
)

hunt = Hunt(
    '''
def corners(lines, width, height):
    """YOLO's lines "class x y w h", in parts of the picture -> (R, 4) x1, y1, x2, y2 in pixels."""
    boxes = []
    for line in lines:
        _, x, y, w, h = map(float, line.split())
        left, right = (x - w / 2) * width, (x + w / 2) * width
        top, bottom = (y - h / 2) * height, (y + h / 2) * width
        boxes.append([left, top, right, bottom])
    return np.array(boxes).reshape(-1, 4)
''',
    mend=("(y + h / 2) * width", "(y + h / 2) * height"),
    tests={
        "a picture without objects": ([], 640, 480),
        "an object that fills a square picture": (["0 0.5 0.5 1 1"], 64, 64),
        "two objects": (["0 0.5 0.25 0.5 0.5", "1 0.75 0.75 0.5 0.25"], 80, 80),
        "a picture that is wider than high": (["0 0.5 0.5 0.25 0.5"], 640, 480),
    },
    hints=(
        "In square pictures it is right. Which number is measured along which side?",
        "Everything that has y and h in it is a part of the height.",
    ),
)
