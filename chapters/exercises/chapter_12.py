"""The exercises of chapter 12, training it for real."""

import math

import numpy as np

from exercises.exercise import Exercise, Wrong

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


def _check_smooth(answer):
    given = np.array([0.5, 1.0, 0.6, 0.7, 0.2])
    kept = given.copy()
    got = np.asarray(answer(given))
    expected = np.array([1.0, 1.0, 0.7, 0.7, 0.2])
    if not np.array_equal(given, kept):
        raise Wrong("you have written into the array you were given.")
    if got.shape != (5,):
        raise Wrong(f"5 numbers go in and 5 come out; you return {got.shape}.")
    if np.allclose(got, np.maximum.accumulate(kept)):
        raise Wrong("that is the best precision up to there: turn the direction round.")
    if np.allclose(got, expected[::-1]):
        raise Wrong("the right numbers in the wrong order: turn them back.")
    if np.allclose(got, kept.max()):
        raise Wrong("that is the best of all, also of those that lie before.")
    if not np.allclose(got, expected):
        raise Wrong(f"of {kept} you make {got}; it should be {expected}.")
    if not np.allclose(answer(np.array([0.3])), [0.3]):
        raise Wrong("it fails for a single detection.")


def _smooth(precision):
    return np.maximum.accumulate(precision[::-1])[::-1]


smooth = Exercise(
    "smooth",
    check=_check_smooth,
    hints=(
        "np.maximum.accumulate gives the largest so far, from the left.",
        "Turn the array round, accumulate, and turn the result back.",
    ),
    reference=_smooth,
)

# 3


def _match(overlap, scores, threshold):
    taken = np.full(len(overlap), -1)
    for d in np.argsort(-scores, kind="stable"):
        free = [g for g in range(overlap.shape[1]) if g not in taken]
        if free:
            best = max(free, key=lambda g: overlap[d, g])
            if overlap[d, best] >= threshold:
                taken[d] = best
    return taken


def _check_greedy_match(answer):
    def run(overlap, scores, threshold=0.5):
        return np.asarray(answer(np.array(overlap), np.array(scores), threshold)).tolist()

    got = run([[0.6, 0.0], [0.9, 0.0]], [0.3, 0.8])
    if got == [0, -1]:
        raise Wrong(
            "the second detection is surer than the first and must choose before it: go through "
            "them by falling score."
        )
    if got == [0, 0]:
        raise Wrong("an object can be taken once only; you give it to both detections.")
    if got == [-1, 0][::-1]:
        raise Wrong("the results have to stand in the order of the detections, not of the scores.")
    if got != [-1, 0]:
        raise Wrong(f"for overlaps [[.6, 0], [.9, 0]], scores [.3, .8]: [-1, 0], not {got}.")
    got = run([[0.9, 0.6], [0.8, 0.7]], [0.9, 0.5])
    if got == [0, -1]:
        raise Wrong(
            "a detection whose favourite is taken may still have another object that is free: look "
            "for the best among the free ones."
        )
    if got != [0, 1]:
        raise Wrong(f"for overlaps [[.9, .6], [.8, .7]], scores [.9, .5]: [0, 1], not {got}.")
    if run([[0.5]], [1.0]) != [0]:
        raise Wrong("an overlap equal to the threshold is enough: >=.")
    if run([[0.4]], [1.0]) != [-1]:
        raise Wrong("an overlap below the threshold is not enough.")
    if run(np.zeros((2, 0)), [0.5, 0.6]) != [-1, -1]:
        raise Wrong("a picture may have no objects: then nothing matches.")
    if run([[0.7], [0.7]], [0.5, 0.5]) != [0, -1]:
        raise Wrong("of equal scores the earlier detection comes first: sort in a stable way.")
    rng = np.random.default_rng(0)
    overlap, scores = rng.random((30, 8)), rng.random(30)
    if run(overlap, scores, 0.3) != _match(overlap, scores, 0.3).tolist():
        raise Wrong("right in the small cases, but not for 30 detections and 8 objects.")


greedy_match = Exercise(
    "greedy_match",
    check=_check_greedy_match,
    hints=(
        "for d in np.argsort(-scores, kind='stable'): the surest first, and d is still its place.",
        "Keep a list of the objects that are free; take the best of those, if it reaches the "
        "threshold.",
    ),
    reference=_match,
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
