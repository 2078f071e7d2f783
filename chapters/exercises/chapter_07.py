"""The exercises of chapter 07: a first loss, weights, running statistics, kinds of errors."""

from __future__ import annotations

import math

import numpy as np

from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt


def _check_first_loss(answer) -> str:
    known = {
        math.log(80): "the background is an answer, too.",
        math.log2(81): "that is the logarithm to the base 2; cross-entropy uses the natural one.",
        math.log10(81): "that is the logarithm to the base 10; cross-entropy uses the natural one.",
        1 / 81: "that is the probability it gives to the right answer. The loss is its -ln.",
        -math.log(81): "nearly: the loss is minus the logarithm of a probability, so it is "
        "positive.",
        81.0: "the loss is -ln of the probability given to the right answer.",
        math.log(5): "that is the loss with this chapter's five classes.",
    }
    for value, why in known.items():
        if math.isclose(answer, value, abs_tol=0.006):
            raise Wrong(why)
    if not math.isclose(answer, math.log(81), abs_tol=0.006):
        raise Wrong(
            f"{answer:g} is not it. With n equally likely answers, which probability does the "
            "right one get, and what is minus its natural logarithm?"
        )
    return "Right. Remember the number: it should stand in the first line of the training's log."


def _he_std(shape):
    fan_in = math.prod(shape[1:])
    return math.sqrt(2 / fan_in)


def _check_he_std(answer) -> None:
    for shape in ((48, 32, 3, 3), (58, 1, 3, 3), (116, 58, 1, 1)):
        out, channels, height, width = shape
        window, fan_in = height * width, channels * height * width
        found, right = answer(shape), _he_std(shape)
        if math.isclose(found, right, rel_tol=1e-3):
            continue
        known = {
            2 / fan_in: "that is the variance; the standard deviation is its square root.",
            math.sqrt(1 / fan_in): "the 2 is missing, which makes up for the half that ReLU drops.",
            math.sqrt(2 / (out * window)): "that divides by the fan-out. What matters going "
            "forward is how many inputs one output sums over.",
            math.sqrt(2 / channels): "each input channel is looked at through a window: the "
            "fan-in is channels x height x width.",
            math.sqrt(2 / (out * fan_in)): "that divides by the number of all weights; one output "
            "uses only those of its own filter.",
            math.sqrt(6 / fan_in): "that is the bound of a uniform distribution of this variance.",
        }
        for value, why in known.items():
            if math.isclose(found, value, rel_tol=1e-3):
                raise Wrong(f"for {shape}: {why}")
        raise Wrong(f"for {shape} it should be {right:.4f}, not {found:.4f}: sqrt(2 / fan-in).")


def _batches_until_settled(momentum):
    batches, running = 0, 0.0
    while abs(running - 1) > 0.01:
        running = (1 - momentum) * running + momentum * 1
        batches += 1
    return batches


def _check_batches_until_settled(answer) -> str:
    for momentum in (0.1, 0.01, 0.3):
        found, right = answer(momentum), _batches_until_settled(momentum)
        if found == right:
            continue
        # One more or less: (1 - 0.9)^2 is 0.01 up to rounding.
        if abs(found - _batches_until_settled(1 - momentum)) <= 1:
            raise Wrong(
                "you have the two factors the other way round: here the momentum is the share of "
                "the new batch, not that of the past."
            )
        if not float(found).is_integer():
            raise Wrong(
                f"for momentum {momentum} you have {found:g} batches: round up, the last one has "
                "to happen."
            )
        if abs(found - right) == 1:
            raise Wrong(
                f"for momentum {momentum} it is {right}, one off your {found}. After n batches "
                "1 - (1 - momentum)^n of the way is done; count the first batch as n = 1."
            )
        if found == round(1 / momentum):
            raise Wrong(
                "after 1 / momentum batches about a third of the way is still to go: "
                "(1 - momentum)^n is what is missing."
            )
        raise Wrong(f"for momentum {momentum} it takes {right} batches, not {found:g}.")
    return (
        f"Right. With the library's 0.1 it takes {_batches_until_settled(0.1)} batches: evaluate "
        "earlier, and you measure the statistics, not the network."
    )


def _precision_and_recall(confusion):
    right = np.diag(confusion)
    answered, occurred = confusion.sum(axis=0), confusion.sum(axis=1)
    return right / np.maximum(answered, 1), right / np.maximum(occurred, 1)


def _check_precision_and_recall(answer) -> None:
    confusion = np.array([[8, 2, 0], [1, 3, 0], [5, 0, 0]])
    precision, recall = _precision_and_recall(confusion)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = answer(confusion.copy())
        unused = answer(np.array([[4, 0], [0, 0]]))
    if len(found) != 2 or np.shape(found[0]) != (3,) or np.shape(found[1]) != (3,):
        raise Wrong("for three classes it should return two arrays of three numbers each.")
    found = np.asarray(found, float)
    if np.isnan(found).any() or np.isnan(np.asarray(unused, float)).any():
        raise Wrong("a class that was never answered, or never occurred, comes out as NaN, not 0.")
    if np.allclose(found, [recall, precision]) and not np.allclose(precision, recall):
        raise Wrong(
            "the two are exchanged. Precision divides by the answers, which are a column; recall "
            "by the objects, which are a row."
        )
    if np.allclose(found, np.diag(confusion) / confusion.sum()):
        raise Wrong("both are shares of one class's answers or objects, not of the whole matrix.")
    if not np.allclose(found[0], precision):
        raise Wrong(
            f"the precision of {confusion.tolist()} is {precision.round(2)}, not "
            f"{found[0].round(2)}: the diagonal over the sum of each column."
        )
    if not np.allclose(found[1], recall):
        raise Wrong(
            f"the recall of {confusion.tolist()} is {recall.round(2)}, not {found[1].round(2)}: "
            "the diagonal over the sum of each row."
        )
    if not np.allclose(unused, [[1, 0], [1, 0]]):
        raise Wrong("with [[4, 0], [0, 0]] precision and recall are [1, 0], both.")


first_loss = Exercise(
    "first_loss",
    check=_check_first_loss,
    hints=(
        "How many different answers can the head give?",
        "Each of n answers gets the probability 1 / n. Cross-entropy is -ln of the right one's.",
    ),
    reference=math.log(81),
)

he_std = Exercise(
    "he_std",
    check=_check_he_std,
    hints=(
        "How many products does one number of the output sum over?",
        "The fan-in is the product of all sizes but the first; the variance is 2 over it.",
    ),
    reference=_he_std,
    keeps="init:he_std",
)

batches_until_settled = Exercise(
    "batches_until_settled",
    check=_check_batches_until_settled,
    hints=(
        "A loop that runs the update until the running mean is at least 0.99 is a fine answer.",
        "After n batches the running mean is 1 - (1 - momentum)^n.",
    ),
    reference=_batches_until_settled,
)

precision_and_recall = Exercise(
    "precision_and_recall",
    check=_check_precision_and_recall,
    hints=(
        "The right answers are on the diagonal. The answers of a class are its column, its "
        "objects are its row.",
        "Divide by np.maximum(sum, 1): where the sum is 0, the diagonal is 0 as well.",
    ),
    reference=_precision_and_recall,
)


# 5. Layer norm


def _layer_norm_backward(grad_output, normal, inverse_std, gamma):
    grad = grad_output * gamma  # arrives at x_hat
    projected = grad - grad.mean(1, keepdims=True)
    projected = projected - normal * (grad * normal).mean(1, keepdims=True)
    return inverse_std * projected


def _layer_norm_cases():
    rng = np.random.default_rng(7)
    for N, D in ((1, 4), (3, 5), (6, 2)):
        x, grad = rng.standard_normal((2, N, D))
        std = np.sqrt(x.var(1, keepdims=True) + 1e-5)
        yield grad, (x - x.mean(1, keepdims=True)) / std, 1 / std, rng.uniform(0.5, 2, D)


def _of_rows(way):
    """A mistake: what somebody puts into the brackets; g is what arrives at x_hat."""

    def answer(grad_output, normal, inverse_std, gamma):
        return inverse_std * way(grad_output * gamma, normal)

    return answer


layer_norm_backward = FunctionExercise(
    "layer_norm_backward",
    reference=_layer_norm_backward,
    cases=list(_layer_norm_cases()),
    mistakes={
        "gamma belongs to the numbers of a row, and differs between them: it cannot be taken out "
        "of the means. Multiply before you average.": lambda g, n, s, gamma: (
            gamma * s * (g - g.mean(1, keepdims=True) - n * (g * n).mean(1, keepdims=True))
        ),
        "the way through the variance is missing.": _of_rows(
            lambda g, n: g - g.mean(1, keepdims=True)
        ),
        "the way through the mean is missing.": _of_rows(
            lambda g, n: g - n * (g * n).mean(1, keepdims=True)
        ),
        "that is the direct way alone; mean and variance depend on x, too.": _of_rows(
            lambda g, n: g
        ),
        "gamma is missing: what arrives at x_hat is gamma times the gradient.": (
            lambda g, n, s, gamma: _layer_norm_backward(g, n, s, np.ones_like(gamma))
        ),
        "the factor 1 / std in front is missing.": lambda g, n, s, gamma: _layer_norm_backward(
            g, n, np.ones_like(s), gamma
        ),
        "you take sums where means are due: each x is one part in D of the mean.": _of_rows(
            lambda g, n: g - g.sum(1, keepdims=True) - n * (g * n).sum(1, keepdims=True)
        ),
        "the means run over the batch, as in batch norm; here each row is normalised by itself.": (
            _of_rows(lambda g, n: g - g.mean(0) - n * (g * n).mean(0))
        ),
        "the way through the variance has a minus sign.": _of_rows(
            lambda g, n: g - g.mean(1, keepdims=True) + n * (g * n).mean(1, keepdims=True)
        ),
        "the way through the mean has a minus sign.": _of_rows(
            lambda g, n: g + g.mean(1, keepdims=True) - n * (g * n).mean(1, keepdims=True)
        ),
    },
    hints=(
        "The three ways of the derivation are the same; what changes is over what is averaged. "
        "What arrives at x_hat?",
        "gamma times grad_output arrives, with a gamma of its own for each number of the row. Call "
        "that g and go through the three ways with s = inverse_std and M = D.",
        "s (g - mean of g - x_hat times the mean of g x_hat), with means over the row.",
    ),
    praise="Right. You have derived it, and not copied it: gamma was in the way.",
)


# Bug hunt

hunt = Hunt(
    '''
def normalised(x, eps):
    """x (N, C, H, W): each channel with mean 0 and variance 1, over the batch and the map."""
    mean = x.mean(axis=(2, 3), keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=(0, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(variance + eps)
''',
    mend=(
        "mean = x.mean(axis=(2, 3), keepdims=True)",
        "mean = x.mean(axis=(0, 2, 3), keepdims=True)",
    ),
    tests={
        "a batch of one": (np.arange(8.0).reshape(1, 2, 2, 2), 0.01),
        "the same picture twice": (np.tile(np.arange(4.0).reshape(1, 1, 2, 2), (2, 1, 1, 1)), 0.01),
        "a dark and a bright picture": (np.array([-1.0, -3.0, 1.0, 3.0]).reshape(2, 1, 1, 2), 0.0),
    },
    hints=(
        "A dark picture should stay darker than a bright one. What removes the difference?",
        "Mean and variance are taken over the same axes: all but the channels.",
    ),
)
