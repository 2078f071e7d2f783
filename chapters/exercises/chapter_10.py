"""The exercises of chapter 10: four neighbours, a bin's channel, winners, and the head's price."""

from __future__ import annotations

import numpy as np

from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt
from exercises.own_pooling import pool  # noqa: F401


def _bilinear_of_four(plane, y, x):
    H, W = plane.shape
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, H - 1), min(x0 + 1, W - 1)
    down, right = y - y0, x - x0
    upper = plane[y0, x0] * (1 - right) + plane[y0, x1] * right
    lower = plane[y1, x0] * (1 - right) + plane[y1, x1] * right
    return upper * (1 - down) + lower * down


def _check_bilinear_of_four(answer) -> None:
    plane = np.random.default_rng(0).uniform(1, 9, (4, 6))
    turned = plane.T
    inside = [(1.25, 3.5), (0.5, 0.75), (2.9, 4.1)]
    for y, x in inside:
        found, right = float(answer(plane.copy(), y, x)), _bilinear_of_four(plane, y, x)
        if np.isclose(found, right):
            continue
        if y < 4 and x < 4 and np.isclose(found, _bilinear_of_four(turned, y, x)):
            raise Wrong("rows and columns are exchanged: a cell is plane[row, column], row from y.")
        share_y, share_x = y - int(y), x - int(x)
        swapped = _bilinear_of_four(plane, int(y) + 1 - share_y, int(x) + 1 - share_x)
        if np.isclose(found, swapped):
            raise Wrong(
                "the shares are exchanged: the nearer a cell, the more it counts. At y = 1.25 row "
                "1 has the share 0.75."
            )
        if np.isclose(found, plane[int(round(y)), int(round(x))]):
            raise Wrong("this takes the nearest cell; wanted is the mean of four, by distance.")
        raise Wrong(f"at ({y}, {x}) it gives {found:.3f} instead of {right:.3f}.")
    for y, x in [(2.0, 3.5), (1.5, 2.0), (1.0, 4.0), (0.0, 0.0)]:
        found, right = float(answer(plane.copy(), y, x)), _bilinear_of_four(plane, y, x)
        if not np.isclose(found, right):
            times = found / right
            if np.isclose(times, 0):
                raise Wrong(
                    f"exactly on a cell, at ({y}, {x}), it gives 0: floor and ceil are the same "
                    "cell there, and both distances are 0. Take floor and floor + 1."
                )
            if np.isclose(times, 2) or np.isclose(times, 4):
                raise Wrong(
                    f"exactly on a cell, at ({y}, {x}), it gives {times:.0f} times it: floor "
                    "and ceil are the same cell there, and it is counted more than once."
                )
            raise Wrong(f"exactly on a cell, at ({y}, {x}), it gives {found:.3f}, not {right:.3f}.")
    for y, x in [(3.0, 5.0), (3.0, 1.5), (0.5, 5.0)]:
        try:
            found = float(answer(plane.copy(), y, x))
        except IndexError:
            raise Wrong(
                f"at ({y}, {x}), on the last row or column, it reads a cell beyond the map. Its "
                "share is 0, but it must be one that exists."
            ) from None
        if not np.isclose(found, _bilinear_of_four(plane, y, x)):
            raise Wrong(f"at ({y}, {x}), on the last row or column, it gives {found:.3f}.")


def _who_reads(channel, size):
    rest, pw = divmod(channel, size)
    c, ph = divmod(rest, size)
    return c, ph, pw


def _check_who_reads(answer) -> None:
    for channel, size in ((0, 7), (5, 7), (8, 7), (166, 7), (489, 7), (17, 3), (10, 2)):
        found = tuple(answer(channel, size))
        right = c, ph, pw = _who_reads(channel, size)
        if found == right:
            continue
        asked = f"channel {channel} with {size} x {size} bins"
        if found == (c, pw, ph):
            raise Wrong(f"{asked}: row and column of the bin are exchanged. pw runs fastest.")
        groups = 10 if size == 7 else 2
        if found == (channel % groups, channel // groups // size, channel // groups % size):
            raise Wrong(
                f"{asked}: you let c run fastest. In (c PH + ph) PW + pw it is pw that does."
            )
        if found[0] != c:
            raise Wrong(
                f"{asked} belongs to output channel {c}, not {found[0]}: groups of {size**2}."
            )
        raise Wrong(f"{asked} is read by {right}, not {found}.")


def _roi_pool_backward(grad_output, winners, H, W):
    grad = np.zeros(H * W)
    won = winners >= 0
    np.add.at(grad, winners[won], grad_output[won])
    return grad.reshape(H, W)


def _check_roi_pool_backward(answer) -> None:
    winners = np.array(
        [[[0, 0, 7], [3, -1, 7], [9, 10, 19]], [[7, 7, 2], [3, -1, 4], [-1, 18, 19]]]
    )
    grad_output = 1.0 + np.arange(18).reshape(2, 3, 3)
    H, W = 4, 5
    found, right = (
        answer(grad_output.copy(), winners, H, W),
        _roi_pool_backward(grad_output, winners, H, W),
    )
    if np.shape(found) != (H, W):
        raise Wrong(f"for a map of {H} x {W} it returns the shape {np.shape(found)}.")
    if np.allclose(found, right):
        return
    wrapped = np.zeros(H * W)
    np.add.at(wrapped, winners, grad_output)
    last_wins, last_wins_wrapped = np.zeros(H * W), np.zeros(H * W)
    last_wins[winners[winners >= 0]] = grad_output[winners >= 0]
    last_wins_wrapped[winners] = grad_output
    if np.allclose(found, wrapped.reshape(H, W)):
        raise Wrong(
            "the empty bins put their gradient into the last cell: -1 is an index in NumPy, and it "
            "means the last one."
        )
    if np.allclose(found, last_wins.reshape(H, W)) or np.allclose(
        found, last_wins_wrapped.reshape(H, W)
    ):
        raise Wrong(
            "cells that won more than once have only one of their gradients. grad[winners] += "
            "adds each cell once, however often it is named: np.add.at adds every time."
        )
    counts = np.bincount(winners[winners >= 0], minlength=H * W).reshape(H, W)
    if np.allclose(found, right / np.maximum(counts, 1)):
        raise Wrong("gradients of several bins add up; they are not averaged.")
    raise Wrong(
        f"cell 7 won three bins with gradients 3, 6, 10 and 11, in sum {right.ravel()[7]:g}; you "
        f"have {np.ravel(found)[7]:g}."
    )


def _break_even(before_the_head):
    classes = 80 + 1  # the background is one
    per_roi = 490 * 2048 + 2048 * classes + 2048 * 4
    return before_the_head // per_roi + 1


def _check_break_even(answer) -> str:
    hidden, classes, deltas = 490 * 2048, 2048 * 81, 2048 * 4
    right_price = hidden + classes + deltas
    known = {
        hidden: "the two layers behind the first are missing.",
        hidden + classes: "the layer of the box deltas is missing.",
        hidden + deltas: "the layer of the classes is missing.",
        hidden + 2048 * 80 + deltas: "the background is a class, too.",
        hidden + classes + 81 * deltas: "the classes share one set of four deltas.",
        hidden + 490 * 81 + 490 * 4: "the last two layers read the 2,048 hidden numbers.",
        49 * right_price: "490 is 10 channels of 7 x 7 bins already.",
    }
    for before in (650_000_000, 3 * right_price, 12_345_678_901):
        found, right = answer(before), before // right_price + 1
        if found == right:
            continue
        asked = f"with {before:,} multiply-adds before the head"
        if before == 3 * right_price and found == 3:
            raise Wrong(
                f"{asked} the third RoI makes both equal. The head shall cost more: one RoI more."
            )
        for price, why in known.items():
            if abs(found - before / price) <= 1:
                raise Wrong(f"{asked} you say {found}: {why}")
        if abs(found - before / right_price) <= 1:
            raise Wrong(f"{asked} it is {right}, not {found}: the first whole number of RoIs whose "
                        "cost is greater.")  # fmt: skip
        raise Wrong(f"{asked} it is {right}, not {found}: one RoI costs {right_price:,}.")
    return (
        f"Right. 2,000 RoIs, as the papers keep in training, cost {2000 * right_price / 1e9:.2f} "
        "billion multiply-adds: call your function with before_the_head and compare."
    )


bilinear_of_four = Exercise(
    "bilinear_of_four",
    check=_check_bilinear_of_four,
    hints=(
        "The cells are rows int(y) and int(y) + 1, columns int(x) and int(x) + 1. A row's share is "
        "1 minus its distance to y.",
        "In the last row, int(y) + 1 does not exist. Take min(int(y) + 1, H - 1): its share is 0 "
        "there, so it does no harm.",
    ),
    reference=_bilinear_of_four,
)

who_reads = Exercise(
    "who_reads",
    check=_check_who_reads,
    hints=(
        "(c PH + ph) PW + pw is a number with three digits, of which pw is the last.",
        "divmod(channel, size) splits off pw; once more, and ph is split off.",
    ),
    reference=_who_reads,
)

roi_pool_backward = Exercise(
    "roi_pool_backward",
    check=_check_roi_pool_backward,
    hints=(
        "Every bin adds its gradient to the cell that won it. Two traps: empty bins, and cells "
        "that won more than once.",
        "Leave out the bins with -1, and add with np.add.at(grad, places, values), which adds "
        "every time a place is named.",
    ),
    reference=_roi_pool_backward,
)

break_even = Exercise(
    "break_even",
    check=_check_break_even,
    hints=(
        "One RoI costs the weights of three layers: 490 x 2048, 2048 x classes, 2048 x 4.",
        "COCO has 80 classes and the background. The first whole number above a quotient is the "
        "quotient rounded down, plus one.",
    ),
    reference=_break_even,
)


# Bug hunt

hunt = Hunt(
    '''
def bins_of(first, last, size):
    """Cells first..last, both counted, among ``size`` bins: pairs (start, end), end not counted.

    Each cell lies in a bin, and none is empty; where they do not divide evenly, two share a cell.
    """
    length = last - first + 1
    starts = [first + i * length // size for i in range(size)]
    ends = [first + (i + 1) * length // size for i in range(size)]
    return list(zip(starts, ends, strict=True))
''',
    mend=("first + (i + 1) * length // size", "first - (-(i + 1) * length // size)"),
    tests={
        "six cells, three bins": (2, 7, 3),
        "a bin for each cell": (0, 3, 4),
        "two cells, three bins": (4, 5, 3),
    },
    hints=(
        "Where does the first of the three bins begin, and where does it end?",
        "A start is rounded down. An end has to be rounded up, or a bin may be empty.",
    ),
)
