"""The exercises of chapter 02, Layers and momentum."""

from __future__ import annotations

import inspect

import numpy as np

from exercises.exercise import Exercise, Wrong

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


# 2. The backward pass of a linear layer


def _linear_reference(grad_output, x, weight):
    return grad_output @ weight, grad_output.T @ x, grad_output.sum(axis=0)


def _check_linear(answer):
    rng = np.random.default_rng(2)
    # A square case first, where a transposition too many does not change a shape.
    for N, IN, OUT in ((4, 4, 4), (6, 5, 3), (1, 2, 7)):
        grad_output, x = rng.standard_normal((N, OUT)), rng.standard_normal((N, IN))
        weight = rng.standard_normal((OUT, IN))
        given = answer(grad_output, x, weight)
        if not isinstance(given, tuple | list) or len(given) != 3:
            raise Wrong("return three arrays: the gradients in x, in weight and in bias.")
        right = _linear_reference(grad_output, x, weight)
        for name, array, wanted in zip(("x", "weight", "bias"), given, right, strict=True):
            _judge_gradient(name, np.asarray(array), wanted, grad_output, x, weight)


def _judge_gradient(name, given, right, grad_output, x, weight):
    N = len(x)
    if given.shape == right.shape and np.allclose(given, right):
        return
    if given.shape == right.shape and N > 1 and np.allclose(given * N, right):
        raise Wrong(
            f"the gradient in {name} is divided by the number of points. A mean belongs to the "
            "loss, which has already put it into grad_output; here contributions add up."
        )
    if name == "bias" and given.ndim == 2:
        raise Wrong(
            f"the gradient in bias has shape {given.shape}. The bias was repeated for every point, "
            "so what comes back is summed over the points."
        )
    if name == "bias" and given.shape == (N,) and np.allclose(given, grad_output.sum(axis=1)):
        raise Wrong("the gradient in bias is summed over the outputs; it has to be the points.")
    if name == "weight" and given.shape == right.T.shape and np.allclose(given, right.T):
        raise Wrong("the gradient in weight is transposed: it must have the weight's shape.")
    if name == "x" and given.shape == right.shape and np.allclose(given, grad_output @ weight.T):
        raise Wrong(
            "the gradient in x uses the weight transposed once too often. Forward is x W^T; "
            "backward is grad_output W."
        )
    if given.shape != right.shape:
        raise Wrong(f"the gradient in {name} has shape {given.shape}, it should be {right.shape}.")
    raise Wrong(f"the gradient in {name} has the right shape and wrong numbers.")


linear_backward = Exercise(
    "linear_backward",
    check=_check_linear,
    hints=(
        "Let the shapes guide you: each gradient has the shape of what it belongs to.",
        "(N, OUT) and (OUT, IN) make (N, IN); (OUT, N) and (N, IN) make (OUT, IN).",
        "The bias is added to every row, so its gradient is the sum of the rows of grad_output.",
    ),
    reference=_linear_reference,
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
