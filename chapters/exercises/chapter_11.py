"""The exercises of chapter 11, Light-Head R-CNN."""

import numpy as np

from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt
from exercises.own_selection import select  # noqa: F401
from exercises.watching import by_hand

# 1


def _smallest_kernel(c_in, c_mid, c_out):
    k = 1
    while 2 * c_mid * (c_in + c_out) >= k * c_in * c_out:
        k += 2
    return k


def _first_odd(condition):
    return next(k for k in range(1, 10_000, 2) if condition(k))


smallest_kernel = FunctionExercise(
    "smallest_kernel",
    reference=_smallest_kernel,
    cases=[(464, 64, 490), (464, 256, 490), (4, 3, 4), (100, 1, 100), (8, 40, 32), (6, 5, 6)],
    mistakes={
        "that is one branch; there are two, tall then wide and wide then tall.": (
            lambda i, m, o: _first_odd(lambda k: m * (i + o) < k * i * o)
        ),
        "that is the first convolution of each branch alone; the second one has weights, too.": (
            lambda i, m, o: _first_odd(lambda k: 2 * m < k * o)
        ),
        "that is the second convolution of each branch alone.": (
            lambda i, m, o: _first_odd(lambda k: 2 * m < k * i)
        ),
        "a kernel has to have a cell in its middle: only odd sizes.": (
            lambda i, m, o: 2 * m * (i + o) // (i * o) + 1
        ),
        "there it costs just as much; asked for is cheaper.": (
            lambda i, m, o: _first_odd(lambda k: 2 * m * (i + o) <= k * i * o)
        ),
        "that is the size before; it is not yet cheaper.": (
            lambda i, m, o: max(_smallest_kernel(i, m, o) - 2, 1)
        ),
    },
    hints=(
        "For each cell: dense k k c_in c_out; a branch k c_in c_mid + k c_mid c_out, and there are "
        "two of them.",
        "2 k c_mid (c_in + c_out) < k k c_in c_out. One k goes away on both sides.",
        "Then try 1, 3, 5, ...",
    ),
    praise=f"Right. From 464 to 490 channels it is {_smallest_kernel(464, 256, 490)} in setting L, "
    f"and {_smallest_kernel(464, 64, 490)} in setting S: two small steps beat one large.",
)


# 2


def _check_score_channels(answer):
    reasons = {
        365 * 49: "a region can also show nothing: the background has score maps too.",
        366: "each class has a map for every cell of the 7 x 7 grid.",
        365: "each class, and the background, has a map for every cell of the 7 x 7 grid.",
        366 * 7: "the grid has 7 x 7 cells.",
        81 * 49: "that is COCO.",
        490: "that is the light head's thin map, whose width does not depend on the classes.",
    }
    if answer != 366 * 49:
        raise Wrong(reasons.get(answer, "(classes + background) x cells of the grid."))
    return "Right. The thin map of the light head would still have 490."


score_channels = Exercise(
    "score_channels",
    check=_check_score_channels,
    hints=("What else but an object can a region show?", "(365 + 1) classes, 7 x 7 cells"),
    reference=366 * 49,
)

# 3


def _check_cheaper_from(answer):
    cases = (
        ((10, 1, 0, 3), 6, "at K = 5 both cost 15: equal is not cheaper."),
        ((0, 3, 10, 1), 0, "the first is cheaper from the start: 0 < 10."),
        ((5, 2, 0, 3), 6, "at K = 5 both cost 15: equal is not cheaper."),
        ((10, 3, 0, 3), None, "the lines are parallel and never meet."),
        ((10, 3, 10, 3), None, "both always cost the same: none is ever cheaper."),
        ((10, 4, 0, 3), None, "the first starts higher and rises faster: it is never cheaper."),
        ((7, 1, 0, 3), 4, "7 + 4 = 11 < 12, but 7 + 3 = 10 is not below 9."),
    )
    for arguments, expected, why in cases:
        try:
            got = answer(*arguments)
        except BaseException as error:
            # A function that returns None counts as not answered, but None is an answer here.
            if type(error).__name__ != "Unanswered" or expected is not None:
                raise
            got = None
        if got != expected:
            raise Wrong(f"cheaper_from{arguments} should be {expected}, not {got}: {why}")


def _cheaper_from(once, each, other_once, other_each):
    if once < other_once:
        return 0
    if each >= other_each:
        return None
    return (once - other_once) // (other_each - each) + 1


cheaper_from = Exercise(
    "cheaper_from",
    check=_check_cheaper_from,
    hints=(
        "Three cases: cheaper from the start, never cheaper, or two lines that cross.",
        "Where they cross, K (other_each - each) = once - other_once; strictly cheaper is the next "
        "whole number after that: // and + 1.",
    ),
    reference=_cheaper_from,
)

# 4


def _check_factor(answer):
    rng = np.random.default_rng(0)
    exact = np.outer(rng.standard_normal(5), rng.standard_normal(5))
    for kernel in (exact, rng.standard_normal((15, 15)), -np.ones((3, 3)), np.eye(3) * [1, 5, 2]):
        a, b = answer(kernel.copy())
        k = len(kernel)
        if np.shape(a) != (k,) or np.shape(b) != (k,):
            raise Wrong(
                f"a and b should be ({k},) for a {k} x {k} kernel, they are {np.shape(a)}, "
                f"{np.shape(b)}."
            )
        error = np.square(kernel - np.outer(a, b)).sum()
        best = np.square(np.linalg.svd(kernel)[1][1:]).sum()
        if error > best * (1 + 1e-6) + 1e-9:
            transposed = np.square(kernel - np.outer(b, a)).sum()
            if transposed <= best * (1 + 1e-6) + 1e-9:
                raise Wrong("column and row are exchanged: a runs down the kernel, b across it.")
            largest = np.linalg.svd(kernel)[1][0]
            unscaled = np.outer(a, b) * largest
            if np.square(kernel - unscaled).sum() <= best * (1 + 1e-6) + 1e-9:
                raise Wrong("the directions are right, the length is not: where did s[0] go?")
            raise Wrong(
                f"the squared error is {error:.4g} for a {k} x {k} kernel, the best outer product "
                f"reaches {best:.4g}."
            )


def _factor(kernel):
    u, s, vt = np.linalg.svd(kernel)
    return u[:, 0] * s[0], vt[0]


factor = Exercise(
    "factor",
    check=_check_factor,
    hints=(
        "The singular value decomposition writes a matrix as a sum of outer products, the largest "
        "first: np.linalg.svd.",
        "u, s, vt = np.linalg.svd(kernel): the first outer product is s[0] times u[:, 0] and "
        "vt[0] (a row of vt, not a column).",
    ),
    reference=_factor,
)

# 5


def _check_hardest_of_each(answer):
    answer = by_hand(answer)
    losses = np.array([0.1, 5.0, 4.0, 3.0, 0.2, 0.3, 0.3, 0.3])
    numbers = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    got = np.asarray(answer(losses.copy(), numbers.copy(), 2))
    if got.tolist() == [1, 2]:
        raise Wrong("those are the two hardest of all; two of each picture are wanted.")
    if got.tolist() == [1, 2, 3, 6] or got.tolist() == [1, 2, 3, 5]:
        raise Wrong("picture 0 gets three places and picture 1 one: keep counts per picture.")
    if sorted(got.tolist()) == [1, 2, 6, 7]:
        raise Wrong("of equal losses the earlier region wins: sort in a stable way.")
    if got.tolist() != [1, 2, 5, 6]:
        if sorted(got.tolist()) == [1, 2, 5, 6]:
            raise Wrong("the indices should be ascending.")
        raise Wrong(f"the answer here is [1, 2, 5, 6], you return {got.tolist()}.")
    got = np.asarray(answer(losses[::-1].copy(), numbers.copy(), 2))
    if got.tolist() != [0, 1, 5, 6]:
        raise Wrong(f"with the losses reversed it is [0, 1, 5, 6], you return {got.tolist()}.")
    mixed = np.asarray(answer(losses.copy(), np.array([1, 0, 1, 0, 1, 0, 1, 0]), 1))
    if mixed.tolist() != [1, 2]:
        raise Wrong("the regions of a picture need not lie side by side: look at the numbers.")
    if np.asarray(answer(losses.copy(), numbers.copy(), 100)).tolist() != list(range(8)):
        raise Wrong("if a picture has fewer regions than keep, all of them are kept.")
    broken = losses.copy()
    broken[4] = np.nan
    if 4 not in np.asarray(answer(broken, numbers.copy(), 1)).tolist():
        raise Wrong("a NaN counts as the largest loss: otherwise nobody ever hears of it.")


def _hardest_of_each(losses, image_numbers, keep):
    losses = np.where(np.isnan(losses), np.inf, losses)
    picked = []
    for number in np.unique(image_numbers):
        mine = np.flatnonzero(image_numbers == number)
        picked.append(mine[np.argsort(-losses[mine], kind="stable")[:keep]])
    return np.sort(np.concatenate(picked))


hardest_of_each = Exercise(
    "hardest_of_each",
    check=_check_hardest_of_each,
    hints=(
        "For each number in np.unique(image_numbers): which regions are its own, and which of "
        "those are the hardest?",
        "mine = np.flatnonzero(image_numbers == number), then the stable argsort of "
        "-losses[mine]; its results are places in mine, not in losses.",
    ),
    reference=_hardest_of_each,
    keeps="mining:hardest_of_each",
)


# Bug hunt

hunt = Hunt(
    '''
def candidates_of(probabilities, least):
    """(K, 1 + classes), column 0 the background -> a list of (region, label, probability).

    One for each class of a region with at least ``least``. Labels count from 1, as in the targets.
    """
    objects = probabilities[:, 1:]
    regions, columns = np.nonzero(objects >= least)
    pairs = zip(regions.tolist(), columns.tolist(), strict=True)
    return [(region, column, float(objects[region, column])) for region, column in pairs]
''',
    mend=("(region, column, float", "(region, column + 1, float"),
    tests={
        "nothing but background": (np.array([[0.9, 0.1], [0.8, 0.2]]), 0.5),
        "two classes in one region": (np.array([[0.1, 0.5, 0.4], [1.0, 0.0, 0.0]]), 0.3),
    },
    hints=(
        "Which label has the first class, and which column, once the background is cut off?",
        "Without the background's column each label is one more than its column.",
    ),
)
