"""The exercises of chapter 02, Layers and momentum."""

from __future__ import annotations

import inspect

import numpy as np

from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt

# 1. Count


def _check_count(answer):
    if callable(answer) or np.ndim(answer) != 0:
        raise Wrong("the answer is a single number.")
    reasons = {
        10 * 20 + 20 * 5: "you counted the weights. Each layer also has a bias for every output.",
        10 * 20 + 20 * 5 + 10 + 20: "a bias belongs to each output of a layer, not to each input.",
        10 * 20 + 10 + 20 * 5 + 20 + 5: "one bias vector is too many: the ReLU learns nothing.",
        25: "those are the biases. Each output also has a weight for every input.",
        10 * 20 + 20 + 20 * 5: "the second layer has a bias, too, for each of its 5 outputs.",
        10 * 20 + 20 * 5 + 5: "the first layer has a bias, too, for each of its 20 outputs.",
        10 * 20 + 20: "that is the first layer. The second one learns too.",
    }
    if answer != 325:
        raise Wrong(
            reasons.get(
                answer, "a linear layer has OUT x IN weights and OUT biases, and a ReLU nothing."
            )
        )


count = Exercise(
    "count",
    check=_check_count,
    hints=(
        "The ReLU learns nothing. What shapes have the weight and the bias of each linear layer?",
        "(20, 10) and (20,), then (5, 20) and (5,).",
    ),
    reference=20 * 10 + 20 + 5 * 20 + 5,
)


# 2. Tied weights


def _tied(grad_output, x, weight):
    hidden, grad_hidden = x @ weight.T, grad_output @ weight.T
    return grad_hidden @ weight, hidden.T @ grad_output + grad_hidden.T @ x


def _tied_cases():
    rng = np.random.default_rng(2)
    for N, IN, OUT in ((1, 1, 1), (4, 3, 3), (5, 4, 2)):
        yield tuple(rng.standard_normal(s) for s in ((N, IN), (N, IN), (OUT, IN)))


def _other_tied(grad_x, grad_weight):
    """A mistake: what becomes of the two gradients of the reference, or of their parts."""

    def answer(g, x, w):
        return grad_x(g, x, w), grad_weight(g, x, w)

    return answer


def _right_x(g, x, w):
    return _tied(g, x, w)[0]


def _right_weight(g, x, w):
    return _tied(g, x, w)[1]


tied_backward = FunctionExercise(
    "tied_backward",
    reference=_tied,
    cases=list(_tied_cases()),
    mistakes={
        "the gradient in weight comes from its second use alone, as the one that makes y. It is "
        "used twice, so two gradients add up.": _other_tied(
            _right_x, lambda g, x, w: (x @ w.T).T @ g
        ),
        "the gradient in weight comes from its first use alone, as the one that makes the hidden "
        "numbers. It is used twice, so two gradients add up.": _other_tied(
            _right_x, lambda g, x, w: (g @ w.T).T @ x
        ),
        "you take the mean of the weight's two gradients. Uses add up.": _other_tied(
            _right_x, lambda g, x, w: _right_weight(g, x, w) / 2
        ),
        "the gradient in x stops at the hidden numbers; they have a weight in front of them.": (
            _other_tied(lambda g, x, w: g @ w.T, _right_weight)
        ),
        "the gradient in weight is transposed: it must have the weight's shape.": _other_tied(
            _right_x, lambda g, x, w: _right_weight(g, x, w).T
        ),
        "a mean belongs to the loss, which has put it into grad_output already.": _other_tied(
            _right_x, lambda g, x, w: _right_weight(g, x, w) / len(x)
        ),
    },
    hints=(
        "Give the two uses names of their own: hidden = x A^T and y = hidden B, where A and B are "
        "weight. Which gradients have A and B?",
        "B gets hidden^T grad_output. What arrives at hidden is grad_output B^T, and A gets that, "
        "transposed, times x.",
        "weight is A and B: its gradient is their sum. x gets what arrived at hidden times A.",
    ),
    praise="Right: used twice, so two gradients add up (chapter 01).",
)


# 3. Gliding


def _check_gliding(answer):
    if callable(answer) or np.ndim(answer) != 0:
        raise Wrong("the answer is a single number.")
    reasons = {
        0.1: "that is the first step. Afterwards the gradient is 0, but the velocity is not.",
        0.9: "those are the steps after the first; the first one counts too.",
        0.09: "that is the second step alone.",
        0.19: "those are the first two steps. The velocity goes on shrinking by a tenth a step.",
        10.0: "that is 1 / (1 - beta). The gradient enters the velocity times alpha.",
    }
    value = abs(float(answer))
    for wrong, reason in reasons.items():
        if np.isclose(value, wrong):
            raise Wrong(reason)
    if not np.isclose(value, 1.0, atol=0.005):
        raise Wrong("the steps are 0.1, 0.09, 0.081, ...: add them all up.")


gliding = Exercise(
    "gliding",
    check=_check_gliding,
    hints=(
        "The velocity after the first step is alpha, and each later step multiplies it by beta.",
        "alpha (1 + beta + beta^2 + ...) is a geometric series.",
    ),
    reference=0.1 / (1.0 - 0.9),
)


# 4. Nesterov's momentum


def _nesterov_reference(weight, velocity, grad, lr, momentum):
    velocity = momentum * velocity + lr * grad
    return weight - (momentum * velocity + lr * grad), velocity


def _check_nesterov(answer):
    rng = np.random.default_rng(4)
    weight, velocity, grad = rng.standard_normal((3, 2, 3))
    lr, beta = 0.1, 0.8
    copies = weight.copy(), velocity.copy(), grad.copy()
    given = answer(*copies, lr, beta)
    changed = [
        name
        for name, copy, array in zip(
            ("weight", "velocity", "grad"), copies, (weight, velocity, grad), strict=True
        )
        if not np.array_equal(copy, array)
    ]
    if changed:
        raise Wrong(f"your function changes {changed[0]} in place (an operator such as += does).")
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise Wrong("return a pair: the new weight and the new velocity.")
    new_weight, new_velocity = (np.asarray(array) for array in given)
    right_weight, right_velocity = _nesterov_reference(weight, velocity, grad, lr, beta)
    velocities = {
        "the velocity has the learning rate outside, as in PyTorch. Here it is inside.": beta
        * velocity
        + grad,
        "the velocity you return is the one looked ahead to. It is only used for the step; the "
        "velocity itself is that of equation 3-2.": beta * right_velocity + lr * grad,
        "the velocity you return has the wrong sign: it is subtracted from the weight.": beta
        * velocity
        - lr * grad,
        "you weigh the new gradient with 1 - beta. That is an average, not momentum.": beta
        * velocity
        + (1.0 - beta) * lr * grad,
    }
    weights = {
        "that is plain momentum: the step must use the velocity after one more.": weight
        - right_velocity,
        "the step looks ahead from the old velocity. Use the new one: beta v_t + alpha g.": weight
        - (beta * velocity + lr * grad),
        "you move along the gradient; it has to be against it.": weight
        + (beta * right_velocity + lr * grad),
        "the step multiplies the velocity with beta but leaves out alpha g.": weight
        - beta * right_velocity,
    }
    _judge_step("velocity", new_velocity, right_velocity, velocities)
    _judge_step("weight", new_weight, right_weight, weights)


def _judge_step(name, given, right, mistakes):
    if given.shape != right.shape:
        raise Wrong(f"the new {name} has shape {given.shape}, it should be {right.shape}.")
    if np.allclose(given, right):
        return
    for reason, mistake in mistakes.items():
        if np.allclose(given, mistake):
            raise Wrong(reason)
    raise Wrong(f"the new {name} is not what the formula gives.")


nesterov = Exercise(
    "nesterov",
    check=_check_nesterov,
    hints=(
        "The velocity is the one of equation 3-2, unchanged. Compute it first.",
        "The step is what the velocity would become with the same gradient once more: beta times "
        "the new velocity plus alpha times the gradient.",
    ),
    reference=_nesterov_reference,
    keeps="momentum:nesterov_step",
)


# 5. Every parameter once


class _Parameter:
    """Stands for nn.Parameter; the walk needs nothing else of it."""


class _Module:
    """Stands for nn.Module: an object with attributes."""

    def __init__(self, **parts):
        vars(self).update(parts)


def _named_parameters_reference(module, kinds):
    pairs, seen = [], set()

    def walk(module, prefix):
        for name, part in vars(module).items():
            if isinstance(part, kinds[0]) and id(part) not in seen:
                seen.add(id(part))
                pairs.append((prefix + name, part))
            elif isinstance(part, kinds[1]):
                walk(part, f"{prefix}{name}.")

    walk(module, "")
    return pairs


def _check_named_parameters(answer):
    kinds = (_Parameter, _Module)
    shared = _Module(weight=_Parameter(), bias=_Parameter())
    encoder = _Module(embed=shared, size=3, hidden=_Module(weight=_Parameter()))
    network = _Module(scale=_Parameter(), encoder=encoder, name="net", decoder=shared)
    network.tied = encoder.hidden.weight
    if "kinds" not in inspect.signature(answer).parameters:
        raise Wrong("keep the argument `kinds`: the check has modules of its own.")
    pairs = list(answer(network, kinds=kinds))
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise Wrong("return pairs (name, parameter).")
    right = _named_parameters_reference(network, kinds)
    names, wanted = [name for name, _ in pairs], [name for name, _ in right]
    if names == wanted and all(a is b for (_, a), (_, b) in zip(pairs, right, strict=True)):
        # A second walk must start from nothing.
        if len(list(answer(network, kinds=kinds))) != len(right):
            raise Wrong(
                "the second time your function finds less. What it has seen must be new for each "
                "call: a default argument such as seen=set() is made only once."
            )
        return
    ids = [id(parameter) for _, parameter in pairs]
    if not all(isinstance(parameter, _Parameter) for _, parameter in pairs):
        raise Wrong("your list holds something that is not a parameter.")
    if len(set(ids)) < len(ids):
        twice = next(name for name, i in zip(names, ids, strict=True) if ids.count(i) > 1)
        raise Wrong(f"{twice} is in your list under a second name too.")
    if names == ["scale", "tied"] or len(pairs) < 3:
        raise Wrong(f"you found {names}: look into the modules inside the module as well.")
    if not any("." in name for name in names):
        raise Wrong("the names must say where a parameter sits: encoder.embed.weight, not weight.")
    if set(names) == set(wanted):
        raise Wrong(f"the order should be {wanted}: depth first, in the order of assignment.")
    if len(pairs) == len(right):
        raise Wrong(f"your names are {names}; the first names on the way are {wanted}.")
    raise Wrong(f"there are {len(right)} parameters, you found {len(pairs)}: {names}.")


every_parameter_once = Exercise(
    "every_parameter_once",
    check=_check_named_parameters,
    hints=(
        "Take the walk of section 2 and a set of the parameters already seen.",
        "Two tensors may hold equal numbers and still be two: remember id(parameter).",
        "The set must be shared by the whole walk: make it in an outer function, and let an inner "
        "one call itself with a longer prefix.",
    ),
    reference=_named_parameters_reference,
    keeps="parameters:named_parameters",
)


# Bug hunt

hunt = Hunt(
    '''
def momentum_path(weight, grads, rates, momentum):
    """Equation 3-2, a gradient and a learning rate each step -> all weights, from the first on."""
    velocity, path = 0.0, [weight]
    for grad, lr in zip(grads, rates, strict=True):
        velocity = momentum * velocity + grad
        weight = weight - lr * velocity
        path.append(weight)
    return path
''',
    mend=(
        "velocity = momentum * velocity + grad\n        weight = weight - lr * velocity",
        "velocity = momentum * velocity + lr * grad\n        weight = weight - velocity",
    ),
    tests={
        "a single step": (1.0, [2.0], [0.1], 0.9),
        "a constant rate": (1.0, [1.0, 1.0, -2.0], [0.1, 0.1, 0.1], 0.9),
        "a rate that drops": (1.0, [1.0, 1.0, 1.0], [0.1, 0.1, 0.01], 0.9),
    },
    hints=(
        "With one rate it is right, with two it is not: where does the rate come in?",
        "Section 5 has both ways. Which of them is equation 3-2?",
    ),
)
