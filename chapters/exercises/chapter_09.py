"""The exercises of chapter 09: the proposal network's cost, its bias, its gradient, its balance."""

from __future__ import annotations

import math

import numpy as np

from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt
from exercises.own_matching import match  # noqa: F401
from exercises.watching import by_hand


def _rpn_multiply_adds(H, W, in_channels, hidden, anchors):
    look = in_channels * hidden * 3 * 3
    answer = hidden * (2 * anchors + 4 * anchors)
    return H * W * (look + answer)


def _check_rpn_multiply_adds(answer) -> str:
    arguments = H, W, C, hidden, A = 50, 75, 232, 256, 15
    look = C * hidden * 9
    known = {
        H * W * (look + hidden * 5 * A): "the papers' network has two numbers for each anchor, "
        "background and object, and four deltas.",
        H * W * (C * hidden + hidden * 6 * A): "the first convolution is 3 x 3.",
        H * W * look: "the two 1 x 1 convolutions are missing.",
        H * W * (look + hidden * 4 * A): "the objectness layer is missing.",
        H * W * (look + hidden * 2 * A): "the layer of the deltas is missing.",
        H * W * (look + C * 6 * A): "the 1 x 1 convolutions look at the hidden channels, not at "
        "the map's.",
        look + hidden * 6 * A: "that is the cost of one cell; there are H x W.",
        H * W * (look + 9 * hidden * 6 * A): "only the first convolution is 3 x 3, the two others "
        "are 1 x 1.",
        H * W * A * (look + hidden * 6 * A): "the layers run once for each cell, not for each "
        "anchor: the anchors are in their output channels.",
    }
    found = answer(*arguments)
    if found in known:
        raise Wrong(known[found])
    right = _rpn_multiply_adds(*arguments)
    if found != right:
        raise Wrong(f"for {arguments} it is {right:,}, not {found}.")
    if answer(10, 12, 96, 64, 9) != _rpn_multiply_adds(10, 12, 96, 64, 9):
        raise Wrong("right for one map but not for another: does it use all its arguments?")
    return f"Right. At the thesis's 800 x 1200, with 232 channels, it is {right / 1e9:.2f} billion."


def _prior_bias(p):
    return math.log(p / (1 - p))


def _check_prior_bias(answer) -> None:
    for p in (0.01, 0.1, 0.5):
        found, right = float(answer(p)), _prior_bias(p)
        if math.isclose(found, right, abs_tol=1e-6):
            continue
        known = {
            -right: "the sign: sigmoid of your bias is 1 - p.",
            math.log(p): "ln p is the bias only as long as p is tiny. Solve 1 / (1 + e^-b) = p.",
            p: "the bias is a logit: it goes through the sigmoid before it is a probability.",
            1 / (1 + math.exp(-p)): "this is the sigmoid of p; wanted is its inverse.",
            math.log10(p / (1 - p)): "the sigmoid uses e, so the logarithm is the natural one.",
        }
        for value, why in known.items():
            if math.isclose(found, value, abs_tol=1e-6):
                raise Wrong(f"for p = {p}: {why}")
        got = 1 / (1 + math.exp(-max(min(found, 700), -700)))
        raise Wrong(f"for p = {p} the network would answer {got:.3g}, the sigmoid of {found:.3g}.")


def _smooth_l1_gradient(d, beta):
    return np.where(np.abs(d) < beta, d / beta, np.sign(d))


def _check_smooth_l1_gradient(answer) -> None:
    answer = by_hand(answer)
    beta, d = 0.25, np.array([[-2.0, -0.25, -0.1, 0], [0.05, 0.2, 0.3, 7]])
    found, right = np.asarray(answer(d.copy(), beta)), _smooth_l1_gradient(d, beta)
    if found.shape != d.shape:
        raise Wrong(f"for differences {d.shape} it returns the shape {found.shape}.")
    if np.allclose(found, right):
        return
    small = np.abs(d) < beta
    if np.allclose(found, np.where(small, d, np.sign(d))):
        raise Wrong("inside it is d / beta: otherwise the gradient jumps at |d| = beta.")
    if np.allclose(found, np.where(small, d / (2 * beta), np.sign(d))):
        raise Wrong("the derivative of d^2 / (2 beta) is d / beta: the 2 comes down.")
    if np.allclose(found, np.where(small, d / beta, 1)):
        raise Wrong("outside, the gradient has the sign of d: too far left must push to the right.")
    if np.allclose(found, np.where(small, d / beta, np.abs(d))):
        raise Wrong("outside, the loss is a straight line, so its gradient does not grow with |d|.")
    if np.allclose(found, np.where(np.abs(d) < 1, d / beta, np.sign(d))):
        raise Wrong("the parabola ends at |d| = beta, not at 1.")
    if np.allclose(found, np.where(small, d**2 / (2 * beta), np.abs(d) - beta / 2)):
        raise Wrong("this is the loss; its derivative is wanted.")
    place = tuple(np.argwhere(~np.isclose(found, right))[0])
    raise Wrong(
        f"at d = {d[place]:g} with beta = {beta} the slope is {right[place]:g}, not "
        f"{found[place]:g}."
    )


def _object_weights(matched):
    _, object_of, anchors_of = np.unique(matched, return_inverse=True, return_counts=True)
    weights = 1 / anchors_of[object_of]
    return weights / weights.mean()


def _check_object_weights(answer) -> None:
    matched = np.array([4, 4, 4, 0, 7, 4, 7])
    found, right = np.asarray(answer(matched.copy()), float), _object_weights(matched)
    if found.shape != matched.shape:
        raise Wrong(f"for {len(matched)} anchors it returns the shape {found.shape}.")
    counts = np.array([(matched == m).sum() for m in matched])
    if np.allclose(found, right):
        return
    if np.allclose(found / found.mean(), right):
        raise Wrong(f"the proportions are right; the mean should be 1 and is {found.mean():.3f}.")
    if np.allclose(found / found.mean(), counts / counts.mean()):
        raise Wrong("these favour the objects with many anchors: it is 1 / count, not the count.")
    if np.allclose(found / found.mean(), 1):
        raise Wrong(
            "all anchors weigh the same, so object 4 with its four anchors counts four times as "
            "much as object 0 with one."
        )
    sums = {int(m): round(float(found[matched == m].sum()), 3) for m in np.unique(matched)}
    raise Wrong(f"the weights of each object's anchors should have the same sum, and have {sums}.")


rpn_multiply_adds = Exercise(
    "rpn_multiply_adds",
    check=_check_rpn_multiply_adds,
    hints=(
        "Three convolutions, each once on every cell: a 3 x 3, and two of 1 x 1 behind it.",
        "Per cell: in_channels x hidden x 9, then hidden x 2 anchors and hidden x 4 anchors.",
    ),
    reference=_rpn_multiply_adds,
)

prior_bias = Exercise(
    "prior_bias",
    check=_check_prior_bias,
    hints=(
        "With weights near 0 the logit is the bias: sigmoid(bias) = p.",
        "1 / (1 + e^-b) = p. Turn both sides over, take away 1, and then the logarithm.",
    ),
    reference=_prior_bias,
)

smooth_l1_gradient = Exercise(
    "smooth_l1_gradient",
    check=_check_smooth_l1_gradient,
    hints=(
        "Derive the two pieces one by one: a parabola and a straight line on either side.",
        "np.where(np.abs(d) < beta, ..., ...) with the parabola's slope and the line's; "
        "np.sign knows the side.",
    ),
    reference=_smooth_l1_gradient,
    keeps="smooth_l1:smooth_l1_gradient",
)

object_weights = Exercise(
    "object_weights",
    check=_check_object_weights,
    hints=(
        "If an object has n positive anchors and each weighs 1 / n, the object weighs 1.",
        "np.unique(matched, return_inverse=True, return_counts=True) counts; dividing the weights "
        "by their mean makes the mean 1.",
    ),
    reference=_object_weights,
)


# Bug hunt

hunt = Hunt(
    '''
def box_loss_of(predicted, wanted, beta):
    """The sum of the smooth L1 losses of two arrays of deltas: a number."""
    d = np.abs(predicted - wanted)
    return float(np.where(d < beta, d**2 / (2 * beta), d - 0.5).sum())
''',
    mend=("d - 0.5)", "d - beta / 2)"),
    tests={
        "beta = 1": (np.array([0.5, 2.0, -3.0]), np.zeros(3), 1.0),
        "beta = 1/4, small differences": (np.array([0.1, 0.2]), np.zeros(2), 0.25),
        "beta = 1/4, a box far off": (np.array([1.0]), np.zeros(1), 0.25),
    },
    hints=(
        "At |d| = beta the two pieces must meet. Do they?",
        "The parabola reaches beta / 2 there. What must be taken from |d|?",
    ),
)
