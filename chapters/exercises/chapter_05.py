"""The exercises of chapter 05, Three principles, measured."""

from __future__ import annotations

import math

import numpy as np

from exercises.exercise import Exercise, Wrong

# 1. As many multiply-adds


def _width_reference(c, groups):
    return round(c * math.sqrt(groups) / groups) * groups


def _check_width(answer):
    cases = [(128, 1), (128, 4), (128, 8), (64, 2), (100, 3), (116, 8)]
    given = [answer(*case) for case in cases]
    if not all(isinstance(width, int | float | np.number) for width in given):
        raise Wrong("return a number.")
    right = [_width_reference(*case) for case in cases]
    if list(given) == right:
        return
    mistakes = {
        "with c groups times as wide the multiply-adds grow: c'^2 / g must stay c^2.": [
            c * g for c, g in cases
        ],
        "you make the layer narrower. Groups save multiply-adds, so it may become wider.": [
            round(c / math.sqrt(g) / g) * g for c, g in cases
        ],
        "the same width has g times fewer multiply-adds, not as many.": [
            round(c / g) * g for c, g in cases
        ],
        "that is the exact width; round it to the nearest multiple of the groups.": [
            c * math.sqrt(g) for c, g in cases
        ],
        "rounded to a whole number, but the groups must divide it.": [
            round(c * math.sqrt(g)) for c, g in cases
        ],
        "that multiple of the groups lies below the exact width; take the nearest.": [
            int(c * math.sqrt(g) / g) * g for c, g in cases
        ],
        "that multiple of the groups lies above the exact width; take the nearest.": [
            math.ceil(c * math.sqrt(g) / g) * g for c, g in cases
        ],
    }
    for reason, mistake in mistakes.items():
        if np.allclose(given, mistake):
            raise Wrong(reason)
    case, width, wanted = next(
        row for row in zip(cases, given, right, strict=True) if row[1] != row[2]
    )
    raise Wrong(f"for c, groups = {case} you return {width}; it is {wanted}.")


width_with_groups = Exercise(
    "width_with_groups",
    check=_check_width,
    hints=(
        "The dense layer has h w c^2 multiply-adds. How many has one of width c' with g groups?",
        "h w c'^2 / g. So c' = c sqrt(g).",
        "The nearest multiple of g: round(c' / g) * g.",
    ),
    reference=_width_reference,
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
        "The layer with groups is sqrt(8) times as wide (exercise 1).",
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


# 4. Relative times


def _relative_reference(rates):
    rates = np.asarray(rates, float)
    return rates[:1] / rates


def _check_relative(answer):
    rates = np.array([[40.0, 10.0, 2.0], [20.0, 8.0, 1.6], [10.0, 5.0, 2.5]])
    before = rates.copy()
    given = np.asarray(answer(rates))
    if not np.array_equal(rates, before):
        raise Wrong("your function writes into the table it was given.")
    if given.shape != rates.shape:
        raise Wrong(f"for a table {rates.shape} you return {given.shape}.")
    right = _relative_reference(rates)
    mistakes = {
        "those are relative rates: a row with half the rate takes twice the time.": 1 / right,
        "relative to the first column; it should be the first row.": rates[:, :1] / rates,
        "relative to the first column, and rates instead of times.": rates / rates[:, :1],
        "those are the times, not yet relative to the first row.": 1 / rates,
        "everything is divided by one number; each column has its own first row.": rates[0, 0]
        / rates,
        "relative to the row before; it should be the first row.": np.concatenate(
            [np.ones((1, 3)), rates[:-1] / rates[1:]]
        ),
        "relative to the last row; it should be the first.": rates[-1:] / rates,
        "that is how much *more* time; add 1.": right - 1,
    }
    if np.allclose(given, right):
        if not np.allclose(answer(np.array([[4, 2], [2, 4]])), [[1, 1], [2, 0.5]]):
            raise Wrong("right for decimals, but not for a table of whole numbers.")
        return
    for reason, mistake in mistakes.items():
        if np.allclose(given, mistake):
            raise Wrong(reason)
    raise Wrong("the first row must become ones, and a row with half the rate twos.")


relative_times = Exercise(
    "relative_times",
    check=_check_relative,
    hints=(
        "A time is one over a rate. What is (1 / rate) / (1 / first rate)?",
        "first rate / rate, where rates[:1] is the first row with its shape (1, columns) kept.",
    ),
    reference=_relative_reference,
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
