"""The exercises of chapter 15, many tasks and one backbone."""

import math

import numpy as np

from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt

# 1


def _paired_gain(before, after):
    gains = np.subtract(after, before)
    return gains.mean(), gains.std(ddof=1) / math.sqrt(len(gains))


def _check_paired_gain(answer):
    rng = np.random.default_rng(0)
    before = rng.normal(40, 5, 7)
    after = before + rng.normal(2, 1, 7)
    result = answer(before.tolist(), after.tolist())
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong("return two numbers, the mean gain and its standard error.")
    mean, error = result
    gains = after - before
    if not math.isclose(mean, gains.mean(), rel_tol=1e-6):
        if math.isclose(mean, -gains.mean(), rel_tol=1e-6):
            raise Wrong("the sign is turned round: a gain is after minus before.")
        raise Wrong(f"the mean gain is {gains.mean():.4f} here, not {mean}.")
    true = gains.std(ddof=1) / math.sqrt(7)
    reasons = (
        (gains.std(ddof=1), "that is the spread of the gains; the mean of seven is surer: / sqrt."),
        (gains.std() / math.sqrt(7), "a standard deviation of few values is taken with n - 1."),
        (gains.std(), "with n - 1, and divided by the square root of n."),
        (gains.std(ddof=1) / 7, "divided by the square root of n, not by n."),
        (
            math.sqrt((before.var(ddof=1) + after.var(ddof=1)) / 7),
            "that treats the two settings as unrelated. The same seeds make them a pair: what a "
            "seed does to both cancels in the difference.",
        ),
        (
            after.std(ddof=1) / math.sqrt(7),
            "that is the error of the one setting, not of the gain.",
        ),
    )
    if not math.isclose(error, true, rel_tol=1e-6):
        for value, why in reasons:
            if math.isclose(error, value, rel_tol=1e-6):
                raise Wrong(why)
        raise Wrong(f"the mean is right, the standard error is {true:.4f} here, not {error}.")


paired_gain = Exercise(
    "paired_gain",
    check=_check_paired_gain,
    hints=(
        "First the seven differences, then their mean and their standard deviation.",
        "np.std has ddof=1 for n - 1.",
    ),
    reference=_paired_gain,
    keeps="gain:paired_gain",
)

# 2


def _fair_decay(registered, rates, shrink):
    owners = {}
    for names in registered.values():
        for name in names:
            owners[name] = owners.get(name, 0) + 1
    return {
        task: {name: shrink / owners[name] / rates[task] for name in names}
        for task, names in registered.items()
    }


_REGISTERED = {
    "detection": ["body.0", "body.1", "boxes"], "classes": ["body.0", "body.1", "fc"],
    "depth": ["body.0", "decoder"],
}  # fmt: skip
_RATES = {"detection": 0.1, "classes": 0.01, "depth": 0.05}


def _decay_variant(of):
    """A mistake: ``of(owners of the name, tasks, rate, rates)`` in place of owners times rate."""

    def answer(registered, rates, shrink):
        def count(name):
            return sum(name in names for names in registered.values())

        return {
            task: {
                name: shrink / of(count(name), len(registered), rates[task], list(rates.values()))
                for name in names
            }
            for task, names in registered.items()
        }

    return answer


fair_decay = FunctionExercise(
    "fair_decay",
    reference=_fair_decay,
    cases=[
        ({"alone": ["a", "b"]}, {"alone": 0.1}, 0.001),
        ({"one": ["a"], "two": ["a"]}, {"one": 0.1, "two": 0.1}, 0.001),
        (_REGISTERED, _RATES, 0.001),
        (_REGISTERED, _RATES, 0.0),
    ],
    mistakes={
        "each task shrinks a shared weight by all of it, so it shrinks once for each of them.": (
            _decay_variant(lambda owners, tasks, rate, rates: rate)
        ),
        "a weight is shared by the tasks that registered it, not by all.": _decay_variant(
            lambda owners, tasks, rate, rates: tasks * rate
        ),
        "a task multiplies the decay with its learning rate before it sends: divide by that.": (
            _decay_variant(lambda owners, tasks, rate, rates: owners)
        ),
        "each task multiplies with its own rate, not with their mean.": _decay_variant(
            lambda owners, tasks, rate, rates: owners * np.mean(rates)
        ),
        "each task multiplies with its own rate, not with their sum.": _decay_variant(
            lambda owners, tasks, rate, rates: sum(rates)
        ),
    },
    hints=(
        "A task sends alpha (gradient + lambda W). By what fraction does its lambda shrink W?",
        "By alpha lambda. The fractions of all owners have to add up to shrink, in equal parts.",
        "lambda = shrink / (number of owners of the name) / (rate of the task).",
    ),
    praise="Right. That is what the server cannot do for you: it does not know what a decay is.",
)


# 3


def _check_change(answer):
    reasons = {
        0.1: "v is subtracted: W changes by -v.",
        -0.3: "that is task 1 alone; both contributions are added.",
        0.2: "that is task 2 alone; both contributions are added.",
        1.7: "gradients are not added as they are: each task multiplies with its own rate first.",
        -17.0: "gradients are not added as they are: each task multiplies with its own rate first.",
        0.935: "the rates are not averaged: each task multiplies its own gradient.",
        -0.5: "mind the sign of the second gradient.",
        0.5: "mind the sign of the second gradient.",
    }
    if not math.isclose(answer, -0.1, abs_tol=1e-9):
        for value, why in reasons.items():
            if math.isclose(answer, value, abs_tol=1e-9):
                raise Wrong(why)
        raise Wrong("v = alpha_1 g_1 + alpha_2 g_2, and W becomes W - v (equation 3-3).")
    return "Right: 0.3 - 0.2 = 0.1 is subtracted. Task 2's gradient is larger, its say is smaller."


change = Exercise(
    "change",
    check=_check_change,
    hints=("Equation 3-3 with beta = 0.", "v = 0.1 * 3 + 0.01 * (-20)"),
    reference=-0.1,
)

# 4


def _project(gradient, other):
    product = gradient @ other
    if product >= 0:
        return gradient
    return gradient - product / (other @ other) * other


def _check_project(answer):
    friend = np.asarray(answer(np.array([1.0, 2.0]), np.array([3.0, 0.0])))
    if np.allclose(friend, [0, 2]):
        raise Wrong("these two do not fight (their product is 3): leave the gradient as it is.")
    if not np.allclose(friend, [1, 2]):
        raise Wrong(f"where nothing fights, nothing changes: [1, 2], not {friend}.")
    fought = np.asarray(answer(np.array([-1.0, 2.0]), np.array([3.0, 0.0])))
    if np.allclose(fought, [2, 2]):
        raise Wrong(
            "you have subtracted too much: divide by the squared length of the other gradient, "
            "other @ other."
        )
    if np.allclose(fought, [-4, 2]) or np.allclose(fought, [-2, 2]):
        raise Wrong("the sign is turned round: it now fights more than before.")
    if np.allclose(fought, [-1, 0]):
        raise Wrong("you have kept the part that fights and thrown the other away.")
    if not np.allclose(fought, [0, 2]):
        raise Wrong(f"[-1, 2] against [3, 0] should leave [0, 2], not {fought}.")
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.standard_normal((2, 5))
        if not np.allclose(answer(a.copy(), b.copy()), _project(a, b)):
            raise Wrong("right for [-1, 2] and [3, 0], but not in general: which length divides?")
    mine, theirs = np.array([-1.0, 2.0]), np.array([3.0, 0.0])
    answer(mine, theirs)
    if mine.tolist() != [-1, 2]:
        raise Wrong("you have changed the array you were given.")


project = Exercise(
    "project",
    check=_check_project,
    hints=(
        "The part of g along h is (g @ h) / (h @ h) times h.",
        "Subtract it only if g @ h is negative.",
    ),
    reference=_project,
)

# 5


def _check_letters(answer):
    given = "".join(sorted(str(answer).lower().replace(" ", "").replace(",", "")))
    if given == "abc":
        return "Right. Each of the three alone could make a gain of 0.8."
    if "d" in given:
        raise Wrong("(d) is no reason: average precision is what one wants to know.")
    missing = {
        "a": "How far apart do two runs of the *same* setting lie? One run each cannot tell.",
        "b": "The best of many, chosen on the pictures that are reported, is a lucky one.",
        "c": "Of 20 draws the best is better than of 10, even if nothing differs.",
    }
    for letter, why in missing.items():
        if letter not in given:
            raise Wrong(why)
    raise Wrong("letters from a to d, please, for example 'ad'.")


letters = Exercise(
    "letters",
    check=_check_letters,
    hints=(
        "Take each letter alone: could it make 24.1 out of 24.9, with no effect at all?",
        "Three of the four.",
    ),
    reference="abc",
)


# Bug hunt

hunt = Hunt(
    '''
def classes_of_cells(boxes, labels, cells, stride):
    """boxes (G, 4) in pixels -> (cells, cells): each label in the cell of its box's centre."""
    classes = np.zeros((cells, cells), int)
    for (x1, y1, x2, y2), label in zip(boxes, labels, strict=True):
        row, column = int((y1 + y2) / 2 / stride), int((x1 + x2) / 2 / stride)
        classes[column, row] = label
    return classes
''',
    mend=("classes[column, row]", "classes[row, column]"),
    tests={
        "no object": (np.zeros((0, 4)), [], 2, 8),
        "one in the middle": (np.array([[6.0, 6.0, 18.0, 18.0]]), [2], 3, 8),
        "one at the upper right": (np.array([[17.0, 1.0, 23.0, 7.0]]), [1], 3, 8),
    },
    hints=(
        "On the diagonal it is right. What is exchanged?",
        "An array is indexed by row first, and the row comes from y.",
    ),
)
