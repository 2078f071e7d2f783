"""The exercises of chapter 13, making it fast."""

import math

import numpy as np

from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt

# 1


def _fold_before(weight, gain, shift, mean, variance, eps):
    scale = gain / np.sqrt(variance + eps)
    return weight * scale, weight @ (shift - mean * scale)


def _fold_cases():
    rng = np.random.default_rng(0)
    for OC, C in ((1, 1), (3, 3), (4, 2)):
        yield (
            rng.standard_normal((OC, C)), *rng.standard_normal((3, C)), rng.uniform(0.1, 2, C), 0.1,
        )  # fmt: skip


def _scale_of(gain, variance, eps):
    return gain / np.sqrt(variance + eps)


fold_before = FunctionExercise(
    "fold_before",
    reference=_fold_before,
    cases=list(_fold_cases()),
    mistakes={
        "you scale the output channels. The norm comes first, so each input channel has its "
        "factor: the last axis.": lambda w, g, b, m, v, eps: (
            w * _scale_of(g, v, eps)[:, None],
            w @ (b - m * _scale_of(g, v, eps)),
        ),
        "the bias has an entry for each output channel: what the shifts of all input channels "
        "become in the convolution.": lambda w, g, b, m, v, eps: (
            w * _scale_of(g, v, eps),
            b - m * _scale_of(g, v, eps),
        ),
        "the shift goes through the convolution as it was, not through the scaled one.": (
            lambda w, g, b, m, v, eps: (
                w * _scale_of(g, v, eps),
                (w * _scale_of(g, v, eps)) @ (b - m * _scale_of(g, v, eps)),
            )
        ),
        "the mean is scaled, too: s (x - m) + b.": lambda w, g, b, m, v, eps: (
            w * _scale_of(g, v, eps),
            w @ (b - m),
        ),
        "the mean has been forgotten: s (x - m) + b.": lambda w, g, b, m, v, eps: (
            w * _scale_of(g, v, eps),
            w @ b,
        ),
        "eps stands under the root, beside the variance.": lambda w, g, b, m, v, eps: (
            w * (g / (np.sqrt(v) + eps)),
            w @ (b - m * (g / (np.sqrt(v) + eps))),
        ),
        "divide by the square root.": lambda w, g, b, m, v, eps: (
            w * (g / (v + eps)),
            w @ (b - m * (g / (v + eps))),
        ),
        "eps is missing in the root.": lambda w, g, b, m, v, eps: (
            w * (g / np.sqrt(v)),
            w @ (b - m * (g / np.sqrt(v))),
        ),
    },
    hints=(
        "In step 1 the norm came last. Here y = W (s x + t), with an s and a t for each input "
        "channel. Multiply out.",
        "y = (W s) x + W t: the columns of W are scaled, and the bias is W times t.",
        "s = gain / sqrt(variance + eps), t = shift - mean s.",
    ),
    praise="Right. With a border of zeros it would not work: the norm makes t of a zero, and the "
    "border has none.",
)


# 2


def _shuffles_until_home(channels):
    home = list(range(channels))
    order, count = home, 0
    while count == 0 or order != home:
        half = channels // 2
        order = [plane for pair in zip(order[:half], order[half:], strict=True) for plane in pair]
        count += 1
    return count


shuffles_until_home = FunctionExercise(
    "shuffles_until_home",
    reference=_shuffles_until_home,
    cases=[(4,), (8,), (6,), (12,), (2,), (116,), (232,)],
    mistakes={
        "that is right for powers of two only. Try 6 channels by hand.": (
            lambda c: max(1, round(math.log2(c)))
        ),
        "that is right for powers of two only. Try 12 channels by hand.": (
            lambda c: max(1, int(math.log2(c)))
        ),
        "after so many shuffles they are home, but for some numbers long before that.": (
            lambda c: max(1, c - 2)
        ),
        "that many shuffles are not needed; follow the list.": lambda c: c,
        "that is half of it: the channels are turned round, not home.": (
            lambda c: max(1, _shuffles_until_home(c) // 2)
        ),
        "shuffle first, then ask whether all are home: at the start they always are.": lambda c: 0,
        "you count the last shuffle, which is one too many.": (
            lambda c: _shuffles_until_home(c) + 1
        ),
    },
    hints=(
        "Keep the list, shuffle it again and again, and stop when it is 0, 1, 2, ... once more.",
        "Or by arithmetic: place j goes to 2 j, modulo C - 1. After how many doublings is that j?",
    ),
    praise="Right: the first n with 2^n = 1 modulo C - 1, which is anything but smooth in C.",
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


# Bug hunt

hunt = Hunt(
    '''
def fold_both(weight, bias, gain, shift, mean, variance, eps):
    """weight (OC, K), the others (OC,) -> weight and bias of what does convolution and norm."""
    scale = gain / np.sqrt(variance + eps)
    return weight * scale[:, None], bias - mean * scale + shift
''',
    mend=("bias - mean * scale + shift", "(bias - mean) * scale + shift"),
    tests={
        "no bias": (
            np.ones((1, 2)),
            np.zeros(1),
            np.full(1, 2.0),
            np.ones(1),
            np.ones(1),
            np.ones(1),
            0.0,
        ),
        "a norm that only shifts": (
            np.ones((1, 2)),
            np.ones(1),
            np.ones(1),
            np.ones(1),
            np.full(1, 3.0),
            np.ones(1),
            0.0,
        ),
        "a bias, and a gain of 2": (
            np.ones((1, 2)),
            np.ones(1),
            np.full(1, 2.0),
            np.zeros(1),
            np.zeros(1),
            np.ones(1),
            0.0,
        ),
    },
    hints=(
        "For an input of zero the convolution says bias. What does the norm make of that?",
        "The bias of the convolution is scaled with the rest of its output.",
    ),
)
