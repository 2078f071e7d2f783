"""The exercises of chapter 05, Three principles, measured."""

from __future__ import annotations

import math

import numpy as np

from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt

# 1. As many numbers moved


def _same_access(c, groups, pixels):
    # 2 p w + w^2 / g = 2 p c + c^2, the positive solution
    wanted = 2 * pixels * c + c * c
    return groups * (math.sqrt(pixels**2 + wanted / groups) - pixels)


width_with_same_access = FunctionExercise(
    "width_with_same_access",
    reference=_same_access,
    cases=[(64, 1, 784), (64, 4, 784), (128, 8, 3136), (256, 8, 49), (100, 2, 1)],
    mistakes={
        "that is as many multiply-adds. Asked for are as many numbers moved.": (
            lambda c, g, p: c * math.sqrt(g)
        ),
        "with the same width the maps are the same, but groups have fewer weights: there is room "
        "for a little more.": lambda c, g, p: c,
        "the quadratic equation has another solution, which is positive.": (
            lambda c, g, p: -g * (math.sqrt(p**2 + (2 * p * c + c * c) / g) + p)
        ),
        "the layer reads one map and writes another: the pixels count twice.": (
            lambda c, g, p: g * (math.sqrt((p / 2) ** 2 + (p * c + c * c) / g) - p / 2)
        ),
    },
    hints=(
        "The dense layer moves 2 p c + c^2 numbers for p pixels. And one of width w with g groups?",
        "2 p w + w^2 / g. Set both equal: a quadratic equation for w.",
        "w^2 + 2 p g w = g (2 p c + c^2). Add (p g)^2 on both sides, take the root.",
    ),
    praise="Right. Groups save weights, and on a large map these are few: there is little room.",
)


# 2. The price of groups


def _check_price(answer):
    if callable(answer) or np.ndim(answer) != 0:
        raise Wrong("the answer is a single number.")
    reasons = {
        8.0: "the map is not g times as wide: with as many multiply-adds it is sqrt(g) times.",
        1.0: "the multiply-adds are the same, the numbers moved are not: the map is wider.",
        1 / math.sqrt(8): "the other way round: the map with groups is the wider one.",
        64.0: "the width enters once for each pixel, not squared.",
        4.0: "that would be with 16 groups.",
    }
    if not np.isclose(answer, math.sqrt(8.0), atol=0.01):
        if np.isclose(answer, math.sqrt(8.0), atol=0.1):
            raise Wrong("nearly: give two digits behind the point, or let Python work it out.")
        for wrong, reason in reasons.items():
            if np.isclose(answer, wrong, atol=0.01):
                raise Wrong(reason)
        raise Wrong(
            "write down h w (c1 + c2) for both layers; on a very large map the weights vanish."
        )


price_of_groups = Exercise(
    "price_of_groups",
    check=_check_price,
    hints=(
        "On a very large map the weights do not count: h w (c1 + c2) is left.",
        "The layer with groups is sqrt(8) times as wide (section 4).",
    ),
    reference=math.sqrt(8.0),
)


# 3. More time: X. Zhang, slides, "ReLUs and residual-adds", 56x56, c=64, GPU

WITH, WITHOUT = 2066.0, 2376.0


def _check_more_time(answer):
    if callable(answer) or np.ndim(answer) != 0:
        raise Wrong("the answer is a single number.")
    right = 100.0 * (WITHOUT / WITH - 1.0)
    reasons = {
        100.0 * (1.0 - WITH / WITHOUT): "that is how much the rate falls, compared with the rate "
        "without. Time is one over rate: compare the times.",
        100.0 * WITHOUT / WITH: "that is the whole time in per cent of the other. How much more "
        "is it?",
        WITHOUT / WITH: "that is the ratio of the times. How many per cent more than 1 is it?",
        WITHOUT / WITH - 1.0: "that is the fraction; the question asks for per cent.",
        -right: "the sign: with them it takes more time.",
        WITHOUT - WITH: "those are batches a second, not per cent of time.",
    }
    if np.isclose(answer, right, atol=0.06):
        return
    for wrong, reason in reasons.items():
        if np.isclose(answer, wrong, rtol=0.004):
            raise Wrong(reason)
    raise Wrong("a batch takes 1 / rate. Divide the time with by the time without.")


more_time = Exercise(
    "more_time",
    check=_check_more_time,
    hints=(
        "With them, a batch takes 1 / 2066 seconds; without, 1 / 2376.",
        "The ratio of the times is 2376 / 2066.",
    ),
    reference=100.0 * (2376 / 2066 - 1),
)


# 4. One figure for a table


def _mean_slowdown(first, second):
    return float(np.exp(np.mean(np.log(np.asarray(second) / np.asarray(first)))))


mean_slowdown = FunctionExercise(
    "mean_slowdown",
    reference=_mean_slowdown,
    cases=[
        (np.array([2.0]), np.array([4.0])),
        (np.array([1.0, 1.0]), np.array([2.0, 8.0])),
        (np.array([1.0, 100.0]), np.array([2.0, 50.0])),
        (np.array([1.0, 10.0, 4.0, 0.5]), np.array([2.0, 10.0, 1.0, 4.0])),
    ],
    mistakes={
        "that is the mean of the ratios. Of 2 and 1/2 it makes 1.25: each network would be slower "
        "than the other.": lambda a, b: np.mean(b / a),
        "that is the ratio of the sums: the row with the longest times decides alone.": (
            lambda a, b: np.sum(b) / np.sum(a)
        ),
        "that is how many times as long the *first* takes: turn it round.": (
            lambda a, b: 1 / _mean_slowdown(a, b)
        ),
        "that is the median of the ratios: how large the others are would not matter.": (
            lambda a, b: np.median(b / a)
        ),
        "that is one over the mean of the inverse ratios, which makes 0.8 of 2 and 1/2.": (
            lambda a, b: 1 / np.mean(a / b)
        ),
        "that is the mean of the logarithms; turn it back into a ratio.": (
            lambda a, b: np.mean(np.log(b / a))
        ),
    },
    hints=(
        "What should a slowdown of 2 in one row and of 1/2 in another make together?",
        "1, so that it is a product that counts: ratios are multiplied, and of n ratios the n-th "
        "root is taken.",
        "The mean of the logarithms, and e to that: as section 6 does it.",
    ),
)


# 5. Who is faster?


def _faster_reference(first, second):
    first, second = np.asarray(first), np.asarray(second)
    if np.mean(first < second) >= 0.9:
        return "first"
    if np.mean(second < first) >= 0.9:
        return "second"
    return "neither"


def _check_faster(answer):
    rng = np.random.default_rng(5)
    rounds = 40
    slow = np.where(np.arange(rounds) < rounds // 2, 1.0, 3.0)  # the computer, half-way
    jitter = 1.0 + 0.002 * rng.standard_normal((2, rounds))
    spikes = np.ones(rounds)
    spikes[[3, 30]] = 50.0  # two rounds in which the first network was disturbed
    cases = {
        "the second is 2% slower in every round": (slow * jitter[0], 1.02 * slow * jitter[1]),
        "the first is 2% slower in every round": (1.02 * slow * jitter[0], slow * jitter[1]),
        "both are the same network": (slow * jitter[0], slow * jitter[1]),
        "the first is 2% faster, but was badly disturbed in 2 rounds of 40": (
            slow * jitter[0] * spikes,
            1.02 * slow * jitter[1],
        ),
        "the first is faster in 30 rounds of 40": (
            slow * np.where(np.arange(rounds) % 4 == 0, 1.1, 0.9),
            slow,
        ),
        "both take exactly as long": (slow, slow.copy()),
    }
    for story, (first, second) in cases.items():
        given, right = answer(first.copy(), second.copy()), _faster_reference(first, second)
        if given not in ("first", "second", "neither"):
            raise Wrong('return "first", "second" or "neither".')
        if given == right:
            continue
        if {given, right} == {"first", "second"} and "disturbed" not in story:
            raise Wrong(f"where {story}, you say {given}. Faster means a smaller time.")
        if "disturbed" in story:
            raise Wrong(
                f"where {story}, you say {given}. A mean is carried away by a few bad rounds: "
                "compare round by round, and count."
            )
        if "30 rounds" in story or "same" in story or "exactly" in story:
            raise Wrong(
                f"where {story}, you say {given}: it should be neither. Faster on the whole, or in "
                "most rounds, is not enough; nine of ten are asked for."
            )
        raise Wrong(
            f"where {story}, you say {given}. Half-way everything became three times slower: "
            "compare the two within each round."
        )


faster = Exercise(
    "faster",
    check=_check_faster,
    hints=(
        "first < second is an array of True and False, one for each round.",
        "The mean of such an array is the fraction that is True.",
        "Mind that not (first < second) is not the same as second < first: they may be equal.",
    ),
    reference=_faster_reference,
    keeps="faster",
)


# Bug hunt

hunt = Hunt(
    '''
def fastest(runs):
    """runs (rounds, networks, layers), seconds -> (networks,): of each layer the fastest run.

    The first round warms up and does not count.
    """
    return runs[1:].sum(axis=2).min(axis=0)
''',
    mend=(".sum(axis=2).min(axis=0)", ".min(axis=0).sum(axis=1)"),
    tests={
        "one layer": (np.array([[[9.0], [9.0]], [[3.0], [2.0]], [[1.0], [4.0]]]),),
        "the same in every round": (np.array([[[9.0, 9.0]], [[1.0, 2.0]], [[1.0, 2.0]]]),),
        "each round disturbs another layer": (
            np.array([[[9.0, 9.0]], [[1.0, 8.0]], [[7.0, 2.0]]]),
        ),
    },
    hints=(
        "The fastest whole run is not made of the fastest layers.",
        "Two reductions: over the rounds and over the layers. Which comes first?",
    ),
)
