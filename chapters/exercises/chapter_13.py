"""The exercises of chapter 13, making it fast."""

import math

import numpy as np

from exercises.exercise import Exercise, Wrong

# 1


def _fold_norm(weight, gain, shift, mean, variance, eps):
    scale = gain / np.sqrt(variance + eps)
    return weight * scale[:, None, None, None], shift - scale * mean


def _check_fold_norm(answer):
    rng = np.random.default_rng(0)
    # All axes as long as each other: a scale along the wrong one is then no error of shapes.
    weight = rng.standard_normal((4, 4, 4, 4))
    gain, shift, mean = rng.standard_normal((3, 4))
    variance, eps = rng.uniform(0.1, 2, 4), 0.1
    given = (weight, gain, shift, mean, variance)
    kept = [array.copy() for array in given]
    result = answer(*given, eps)
    if any(not np.array_equal(a, b) for a, b in zip(given, kept, strict=True)):
        raise Wrong("an argument has changed: the network you fold may still be trained further.")
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong("return two arrays, the weight and the bias.")
    new_weight, bias = map(np.asarray, result)
    if new_weight.shape != weight.shape or bias.shape != (4,):
        raise Wrong(
            f"the shapes are {new_weight.shape} and {bias.shape}, they should be {weight.shape} "
            "and (4,)."
        )
    expected_weight, expected_bias = _fold_norm(*given, eps)
    scale = gain / np.sqrt(variance + eps)
    others = (
        (weight * (gain / np.sqrt(variance))[:, None, None, None], "eps is missing in the root."),
        (weight * (gain / (variance + eps))[:, None, None, None], "divide by the square root."),
        (
            weight * (gain / (np.sqrt(variance) + eps))[:, None, None, None],
            "eps stands under the root, beside the variance.",
        ),
        (
            weight * scale[None, :, None, None],
            "you scale the input channels; the batch norm comes after the convolution, so each "
            "output channel has its factor: axis 0.",
        ),
        (weight * scale, "a plain product scales along the last axis, the columns of the kernel."),
        (weight, "the weight has not changed: the batch norm's factor belongs into it."),
    )
    if not np.allclose(new_weight, expected_weight):
        for value, why in others:
            if np.allclose(new_weight, value):
                raise Wrong(why)
        raise Wrong("the weight is not w g / sqrt(v + eps), one factor for each output channel.")
    if not np.allclose(bias, expected_bias):
        for value, why in (
            (shift - mean, "the mean is scaled too: s (0 - m) + b."),
            (shift, "the mean has been forgotten: s (0 - m) + b."),
            (shift + scale * mean, "the mean is subtracted."),
            (scale * (shift - mean), "b is added after the scaling."),
        ):
            if np.allclose(bias, value):
                raise Wrong(why)
        raise Wrong("the weight is right, the bias is not s (0 - m) + b.")


fold_norm = Exercise(
    "fold_norm",
    check=_check_fold_norm,
    hints=(
        "s = gain / sqrt(variance + eps) is one number for each output channel.",
        "The weight's first axis are the output channels: s[:, None, None, None]. The convolution "
        "had no bias, so c = 0 in the formula.",
    ),
    reference=_fold_norm,
)

# 2


def _next_order(order, groups):
    return np.asarray(order).reshape(groups, -1).T.ravel()


def _check_next_order(answer):
    order = np.array([3, 1, 4, 0, 5, 2])
    for groups, expected in ((2, [3, 0, 1, 5, 4, 2]), (3, [3, 4, 5, 1, 0, 2])):
        got = np.asarray(answer(order.copy(), groups)).tolist()
        if got == expected:
            continue
        if got == order.tolist():
            raise Wrong("that is the concatenation; the shuffle is missing.")
        if got == order.reshape(-1, groups).T.ravel().tolist():
            raise Wrong(
                "that is the inverse shuffle: the channels of a group stand one after another, so "
                "the array is (groups, channels of a group) before it is turned."
            )
        fresh = np.arange(6).reshape(groups, -1).T.ravel().tolist()
        if got == fresh:
            raise Wrong("that is the shuffle of 0, 1, 2, ...: the planes are where order says.")
        if got == np.argsort(expected).tolist():
            raise Wrong("that is the inverse list: from a plane to its channel.")
        if sorted(got) != list(range(6)):
            raise Wrong(f"each plane must occur once; you return {got}.")
        raise Wrong(f"for order {order.tolist()} and {groups} groups: {expected}, not {got}.")


next_order = Exercise(
    "next_order",
    check=_check_next_order,
    hints=(
        "Chapter 6: a shuffle is reshape to (groups, C / groups), transpose, flatten.",
        "Shuffle the list itself, not the numbers 0 to C - 1.",
    ),
    reference=_next_order,
)

# 3


def _tap_offsets(channels, rows, width, kh, kw):
    c, y, x = np.ogrid[:channels, :kh, :kw]
    return (c * rows * width + y * width + x).ravel()


def _check_tap_offsets(answer):
    for case in ((1, 5, 7, 1, 3), (1, 5, 7, 3, 1), (2, 5, 7, 2, 3)):
        channels, rows, width, kh, kw = case
        got, expected = np.asarray(answer(*case)), _tap_offsets(*case)
        if got.shape != expected.shape:
            raise Wrong(
                f"{channels} channels and {kh} x {kw} taps are {len(expected)} offsets, you "
                f"return {got.shape}."
            )
        if np.array_equal(got, expected):
            continue
        c, y, x = np.ogrid[:channels, :kh, :kw]
        if np.array_equal(got, (c * rows * width + y + x * width).ravel()):
            raise Wrong("rows and columns are exchanged: one row down is `width` numbers further.")
        if np.array_equal(got, (c * rows * width + y * rows + x).ravel()):
            raise Wrong("a row is `width` numbers long, not `rows`.")
        if channels > 1 and sorted(got.tolist()) == sorted(expected.tolist()):
            raise Wrong(
                "the right offsets in another order: a weight (OC, C, KH, KW) runs through the "
                "columns of the kernel first, then its rows, then the channels."
            )
        raise Wrong(f"tap_offsets{case} should be {expected.tolist()}, not {got.tolist()}.")


tap_offsets = Exercise(
    "tap_offsets",
    check=_check_tap_offsets,
    hints=(
        "Row y of channel c begins at (c rows + y) width.",
        "Three loops, channel outside and column inside, or np.ogrid.",
    ),
    reference=_tap_offsets,
    keeps="taps:tap_offsets",
)

# 4


def _speed_up(share, factor):
    return 1 / (1 - share + share / factor)


def _check_speed_up(answer):
    got = answer(0.5, 2.0)
    if math.isclose(got, 1.5):
        raise Wrong(
            "half the time is halved: 1/2 + 1/4 = 3/4 of the time is left, that is 1.33 times as "
            "fast. Speeds cannot be averaged, times can be added."
        )
    if math.isclose(got, 0.75):
        raise Wrong("that is the time that is left; the speed is its inverse.")
    if not math.isclose(got, 4 / 3):
        raise Wrong(f"half of the time, twice as fast: 1.333 in all, not {got}.")
    for share, factor in ((0.0, 9.0), (1.0, 9.0), (0.9, 10.0), (0.4, 3.0)):
        if not math.isclose(answer(share, factor), _speed_up(share, factor)):
            raise Wrong(
                f"for a share of {share} and a factor of {factor} it is "
                f"{_speed_up(share, factor):.3f}, not {answer(share, factor)}."
            )
    return "Right. And however large the factor: never more than 1 / (1 - share)."


speed_up = Exercise(
    "speed_up",
    check=_check_speed_up,
    hints=(
        "Count in time, not in speed: before, it took 1.",
        "Afterwards: 1 - share for the rest, share / factor for what has become faster.",
    ),
    reference=_speed_up,
)

# 5


def _check_best_block(answer):
    rows, vectors = answer
    if rows != int(rows) or vectors != int(vectors):
        raise Wrong("a block has whole rows and whole vectors.")
    needed = rows * vectors + vectors + 1
    if needed > 32:
        raise Wrong(
            f"{rows} x {vectors} sums, {vectors} of B and 1 broadcast are {needed} registers: the "
            "sums would spill into memory, and all is lost."
        )
    rate, best = rows * vectors / (rows + vectors), 25 / 10
    if rate < best:
        raise Wrong(
            f"it fits ({needed} registers) and does {rate:.2f} multiply-adds a load; there is one "
            f"with {best:.2f}."
        )
    return (
        "Right. The library takes 8 x 3, a little less per load, which leaves some registers for "
        "one column more."
    )


best_block = Exercise(
    "best_block",
    check=_check_best_block,
    hints=(
        "For a given number of sums, a square has the fewest loads.",
        "Try 5 x 5 and its neighbours; or let two loops try all.",
    ),
    reference=(5, 5),
)
