"""The exercises of chapter 12, training it for real."""

import math

import numpy as np

from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt

# 1

_RIGHT = np.array([1, 0, 1, 0, 1])


def _average(precision, recall, recalls):
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
    return best[np.searchsorted(recall, recalls)].mean()


_PRECISION = np.cumsum(_RIGHT) / np.arange(1, 6)
_RECALL = np.cumsum(_RIGHT) / 4
_FIVE = _average(_PRECISION, _RECALL, np.linspace(0, 1, 101))


def _check_five(answer):
    if abs(answer - _FIVE) < 6e-5:
        return None
    all_found = np.cumsum(_RIGHT) / 3
    recalls = np.linspace(0, 1, 101)
    unsmoothed = np.append(_PRECISION, 0)[np.searchsorted(_RECALL, recalls)].mean()
    reasons = (
        (_average(_PRECISION, all_found, recalls), "there are four objects; one is never found."),
        (unsmoothed, "that is the saw itself; smooth it first: the best precision from there on."),
        (_average(_PRECISION, _RECALL, np.linspace(0, 1, 11)), "that is with 11 recalls (PASCAL)."),
        (
            (1 + 2 / 3 + 3 / 5) / 4,
            "that is the exact area; COCO reads the curve at 101 recalls, which differs a little.",
        ),
        (3 / 5, "that is the precision after all five."),
        (3 / 4, "that is the recall after all five."),
        (
            (26 * 1 + 25 * 2 / 3 + 25 * 3 / 5) / 76,
            "the recalls above 0.75 are never reached, and each of them counts 0: divide by 101.",
        ),
    )
    for value, why in reasons:
        if abs(answer - value) < 6e-5:
            raise Wrong(why)
    if not 0 <= answer <= 1:
        raise Wrong("an average precision lies between 0 and 1.")
    raise Wrong(
        "recall reaches 0.25, 0.5 and 0.75. How many of the 101 recalls lie in each step, and what "
        "is the best precision from there on?"
    )


five = Exercise(
    "five",
    check=_check_five,
    hints=(
        "After the right ones, recall is 0.25, 0.50, 0.75 and precision 1, 2/3, 3/5. It falls all "
        "the way, so there is nothing to smooth but the wrong ones in between.",
        "The recalls 0 to 0.25 are 26, those up to 0.50 another 25, those up to 0.75 another 25; "
        "the other 25 are never reached.",
    ),
    reference=round((26 * 1 + 25 * 2 / 3 + 25 * 3 / 5) / 101, 4),
)

# 2


def _exact_area(is_right, objects):
    right = np.asarray(is_right, bool)
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return best_from_here[right].sum() / objects


def _unsmoothed(is_right, objects):
    right = np.asarray(is_right, bool)
    return (np.cumsum(right) / np.arange(1, len(right) + 1))[right].sum() / objects


exact_area = FunctionExercise(
    "exact_area",
    reference=_exact_area,
    cases=[
        (np.array([True]), 1),
        (np.array([True, False, True]), 2),
        (np.array([False, True, True, False, True]), 5),
        (np.array([False, False]), 3),
        (np.array([True, False, False, True, True, True]), 4),
    ],
    mistakes={
        "that is the saw itself. The precision at a recall is the best from there on.": _unsmoothed,
        "recall never reaches 1 if an object is not found: divide by all objects.": (
            lambda r, n: _exact_area(r, max(1, np.sum(r)))
        ),
        "that is the mean over all detections. Recall only grows where one is right, and only "
        "these steps have a width.": lambda r, n: np.maximum.accumulate(
            (np.cumsum(r) / np.arange(1, len(r) + 1))[::-1]
        ).mean(),
        "that is the best precision up to there; it is from there on.": lambda r, n: (
            np.maximum.accumulate(np.cumsum(r) / np.arange(1, len(r) + 1))[r].sum() / n
        ),
        "that is a sum of precisions; each step of recall is 1 / objects wide.": (
            lambda r, n: _exact_area(r, 1)
        ),
        "that is the recall at the end.": lambda r, n: np.sum(r) / n,
        "that is the precision at the end.": lambda r, n: np.mean(r),
        "with 101 recalls the area is only nearly right; asked for is the limit.": (
            lambda r, n: _average(
                np.cumsum(r) / np.arange(1, len(r) + 1), np.cumsum(r) / n, np.linspace(0, 1, 101)
            )
        ),
    },
    hints=(
        "Draw the smoothed curve as steps. At which detections does recall grow, and by how much?",
        "By 1 / objects at each right one. The height there is the best precision from there on.",
        "best_from_here[is_right].sum() / objects",
    ),
)


# 3


def _with_crowds(overlap, is_crowd, threshold):
    free, said = ~np.asarray(is_crowd, bool), []
    for row in np.asarray(overlap, float):
        own = np.where(free, row, -1.0)
        if own.max(initial=-1.0) >= threshold:
            free[own.argmax()] = False
            said.append("right")
        elif row[np.asarray(is_crowd, bool)].max(initial=-1.0) >= threshold:
            said.append("ignored")
        else:
            said.append("wrong")
    return said


def _crowd_variant(crowd_is_used_up=False, crowd_first=False, crowd_counts=None, duplicates=False):
    def answer(overlap, is_crowd, threshold):
        free, said = np.ones(len(is_crowd), bool), []
        for row in np.asarray(overlap, float):
            crowd, own = row * is_crowd * free, row * ~is_crowd * (free | duplicates)
            in_crowd, found = crowd.max(initial=0) >= threshold, own.max(initial=0) >= threshold
            if found and not (crowd_first and in_crowd):
                free[own.argmax()] = False
                said.append("right")
            elif in_crowd:
                free[crowd.argmax()] = not crowd_is_used_up
                said.append(crowd_counts or "ignored")
            else:
                said.append("wrong")
        return said

    return answer


_CROWD = np.array([False, True])
with_crowds = FunctionExercise(
    "with_crowds",
    reference=_with_crowds,
    cases=[
        (np.array([[0.9, 0.0], [0.2, 0.1]]), _CROWD, 0.5),
        (np.array([[0.1, 0.7], [0.0, 0.8], [0.6, 0.0]]), _CROWD, 0.5),
        (np.array([[0.6, 0.9], [0.7, 0.6], [0.8, 0.3]]), _CROWD, 0.5),
        (np.array([[0.9, 0.6, 0.0], [0.8, 0.7, 0.0]]), np.array([False, False, True]), 0.5),
        (np.array([[0.5, 0.0], [0.0, 0.5]]), _CROWD, 0.5),
        (np.zeros((2, 0)), np.zeros(0, bool), 0.5),
    ],
    mistakes={
        "a crowd holds many objects: it is not used up by the first detection in it.": (
            _crowd_variant(crowd_is_used_up=True)
        ),
        "an object that is free comes first, even if the crowd is overlapped more.": (
            _crowd_variant(crowd_first=True)
        ),
        "a detection in a crowd is not wrong: it does not count.": _crowd_variant(
            crowd_counts="wrong"
        ),
        "a detection in a crowd is not right either: it does not count.": _crowd_variant(
            crowd_counts="right"
        ),
        "an object can be taken once only; a second box on it is wrong.": _crowd_variant(
            duplicates=True
        ),
    },
    hints=(
        "First the objects that are no crowd, as in step 1 of the chapter.",
        "Only a detection that has taken none of them looks at the crowds; these are never taken.",
        "row[is_crowd].max(initial=-1) works where there is no crowd, too.",
    ),
)


# 4


def _rate(iteration, lr, warmup, total):
    factor = min(1, 1 / 3 + 2 / 3 * iteration / warmup)
    return lr * factor * 0.5 * (1 + math.cos(math.pi * iteration / total))


def _check_learning_rate(answer):
    if not math.isclose(answer(0, 0.1, 10, 100), 0.1 / 3, rel_tol=1e-6):
        raise Wrong(
            f"it starts at a third of lr, 0.0333 for 0.1; yours at {answer(0, 0.1, 10, 100)}"
        )
    got, expected = answer(50, 0.1, 10, 100), 0.05
    if math.isclose(got, 0.1 * 0.5 * (1 + math.cos(math.pi * 40 / 90)), rel_tol=1e-6):
        raise Wrong("the cosine runs over the whole training, not only over what warm-up leaves.")
    if math.isclose(got, 0.1 * math.cos(math.pi / 4), rel_tol=1e-6):
        raise Wrong("that is a quarter of a cosine wave; half of one goes from 1 to -1: shift it.")
    if not math.isclose(got, expected, rel_tol=1e-6):
        raise Wrong(f"in the middle the cosine is at one half: {expected}, yours is {got}.")
    if abs(answer(100, 0.1, 10, 100)) > 1e-9:
        raise Wrong("at the end the rate is 0.")
    if math.isclose(answer(5, 0.1, 10, 100), 0.1 * (1 / 3 + 1 / 3), rel_tol=1e-6):
        raise Wrong("during warm-up the two factors are multiplied: the cosine counts from 0 on.")
    for t in (5, 9, 10, 11, 73):
        if not math.isclose(answer(t, 0.1, 10, 100), _rate(t, 0.1, 10, 100), rel_tol=1e-6):
            raise Wrong(
                f"at iteration {t} of 100, with 10 of warm-up, it is "
                f"{_rate(t, 0.1, 10, 100):.5f}, yours is {answer(t, 0.1, 10, 100):.5f}."
            )


learning_rate = Exercise(
    "learning_rate",
    check=_check_learning_rate,
    hints=(
        "Two factors: one for the warm-up, which stays at 1 after it, and one for the cosine.",
        "min(1, 1/3 + 2/3 iteration / warmup), and (1 + cos(pi iteration / total)) / 2.",
    ),
    reference=_rate,
    keeps="schedule:learning_rate",
)

# 5


def _check_kind(answer):
    reasons = {
        "class": "a wrong class is wrong at every IoU threshold: it would lower AP50 as much.",
        "duplicate": "a duplicate is wrong at every IoU threshold: it would lower AP50 as much.",
        "background": "a box on nothing is wrong at IoU 0.5 already, and would lower AP50.",
    }
    if answer in reasons:
        raise Wrong(reasons[answer])
    if answer != "place":
        raise Wrong("one of the four words, please.")
    return "Right: what it finds, it finds roughly, and the higher thresholds notice."


kind = Exercise(
    "kind",
    check=_check_kind,
    hints=(
        "AP is the mean over IoU 0.50 to 0.95, AP50 looks at 0.50 only.",
        "Which error does one see at 0.75 but not at 0.50?",
    ),
    reference="place",
)


# Bug hunt

hunt = Hunt(
    '''
def taken_by(overlap, threshold):
    """overlap (D, G), the surest detection first -> the object that each takes, or -1.

    COCO's rule: of the objects still free, the one it overlaps most.
    """
    free, taken = np.ones(overlap.shape[1], bool), []
    for row in overlap:
        best = int(np.argmax(row))
        found = free[best] and row[best] >= threshold
        free[best] &= not found
        taken.append(best if found else -1)
    return taken
''',
    mend=("np.argmax(row)", "np.argmax(np.where(free, row, -1))"),
    tests={
        "an object each": (np.array([[0.9, 0.0], [0.0, 0.8]]), 0.5),
        "a duplicate": (np.array([[0.9], [0.8]]), 0.5),
        "askew": (np.array([[0.4, 0.1]]), 0.5),
        "two objects close together": (np.array([[0.9, 0.5], [0.7, 0.6]]), 0.5),
    },
    hints=(
        "The second detection overlaps both objects well enough. Which of them is still free?",
        "Look for the best of the free ones, not for the best and then whether it is free.",
    ),
)
