"""The exercises of chapter 01, Tensors that remember."""

from __future__ import annotations

import numpy as np

from exercises.exercise import Exercise, Wrong

# 1. Paths: a = 2, b = 3, c = a + b, d = a c, y = c d, so y = a (a + b)^2.

PATHS = {
    25.0: "you followed one path out of a, a → d → y. But a also nudges c, and c is used twice.",
    10.0: "you followed one path out of a, a → c → y. But c also nudges d, and a nudges d itself.",
    20.0: "you followed the paths that go through c. But a is also used directly, to make d.",
    35.0: "you left out one of the two paths through c, which is used twice: by d and by y.",
    50.0: "that is y itself. What is asked for is how y changes with a.",
}


def _check_paths(answer):
    if callable(answer) or np.ndim(answer) != 0:
        raise Wrong("the answer is a single number.")
    value = float(answer)
    if value in PATHS:
        raise Wrong(PATHS[value])
    if not np.isclose(value, 45.0):
        raise Wrong(
            "follow every path from a to y, multiply the local slopes along each, add them up. "
            "There are three paths."
        )


paths = Exercise(
    "paths",
    check=_check_paths,
    hints=(
        "The edges are a → c, b → c, a → d, c → d, c → y and d → y. Which ways lead from a to y?",
        "The local slopes: of c in a it is 1, of d in a it is c = 5, of d in c it is a = 2, "
        "of y in c it is d = 10, of y in d it is c = 5.",
        "The three paths are a → d → y, a → c → y and a → c → d → y.",
    ),
    reference=5.0 * 5.0 + 1.0 * 10.0 + 1.0 * 2.0 * 5.0,
)


# 2. Softplus


def _softplus_reference(grad_output, x):
    # The sigmoid, from e^-|x|, which is never larger than 1.
    small = np.exp(-np.abs(x))
    return grad_output * np.where(x >= 0.0, 1.0, small) / (1.0 + small)


def _check_softplus(answer):
    rng = np.random.default_rng(2)
    x, grad_output = rng.standard_normal((2, 3, 4))
    sigmoid = 1.0 / (1.0 + np.exp(-x))
    given = np.asarray(answer(grad_output.copy(), x.copy()))
    mistakes = {
        "this is the slope alone. A rule multiplies it with the gradient that arrived.": sigmoid,
        "this is the value of softplus times the gradient, not its slope.": grad_output
        * np.log1p(np.exp(x)),
        "the slope you used is e^x. By the chain rule, ln(1 + e^x) has the slope "
        "1 / (1 + e^x) times the slope of what is inside.": grad_output * np.exp(x),
        "the slope you used is 1 / (1 + e^x): the slope of the inner function, e^x, "
        "is missing.": grad_output / (1.0 + np.exp(x)),
        "that is the slope of the sigmoid. The sigmoid is itself the slope of "
        "softplus.": grad_output * sigmoid * (1.0 - sigmoid),
        "that is the rule of the ReLU, without the rounded corner.": grad_output * (x > 0.0),
        "the slope is added to the gradient; it should multiply it.": grad_output + sigmoid,
    }
    if given.shape != x.shape:
        raise Wrong(f"the gradient has shape {given.shape}, the input {x.shape}.")
    if not np.allclose(given, grad_output * sigmoid):
        for reason, mistake in mistakes.items():
            if np.allclose(given, mistake):
                raise Wrong(reason)
        i = np.unravel_index(np.argmax(np.abs(given - grad_output * sigmoid)), x.shape)
        raise Wrong(
            f"at x = {x[i]:.3f} with a gradient of {grad_output[i]:.3f} you return "
            f"{given[i]:.5f}; nudging x gives {(grad_output * sigmoid)[i]:.5f}."
        )
    with np.errstate(all="ignore"):
        far = np.asarray(answer(np.ones(2), np.array([1000.0, -1000.0])))
    if not np.allclose(far, [1.0, 0.0]):
        raise Wrong(
            f"right for ordinary numbers, but at x = 1000 and -1000 you return {far[0]:g} and "
            f"{far[1]:g}; it should be 1 and 0. e^1000 is infinite, and infinite / infinite is "
            "not a number: let no exponent be large and positive."
        )


softplus = Exercise(
    "softplus",
    check=_check_softplus,
    hints=(
        "The chain rule: the slope of ln(u) is 1 / u, and u = 1 + e^x has the slope e^x.",
        "e^x / (1 + e^x) is the sigmoid, which is also 1 / (1 + e^-x). Do not forget what arrived.",
        "For the large numbers: e^-|x| never overflows. For x >= 0 the sigmoid is "
        "1 / (1 + e^-|x|), for x < 0 it is e^-|x| / (1 + e^-|x|).",
    ),
    reference=_softplus_reference,
)


# 3. Broadcasting undone


def _unbroadcast_reference(grad, shape):
    front = grad.ndim - len(shape)
    stretched = [front + axis for axis, size in enumerate(shape) if size == 1]
    return grad.sum(axis=(*range(front), *stretched)).reshape(shape)


def _check_unbroadcast(answer):
    rng = np.random.default_rng(3)
    cases = [
        ((4, 3), (4, 3), "nothing was repeated, so nothing may be summed"),
        ((4, 3), (3,), "the axis in front was put there by NumPy"),
        ((4, 3), (1, 3), "the first axis was stretched from 1 to 4 and must be 1 again"),
        ((4, 3), (4, 1), "the last axis was stretched from 1 to 3 and must be 1 again"),
        ((2, 4, 3), (4, 1), "one axis was put in front, and the last one was stretched"),
        ((4, 3), (), "a single number was repeated along every axis"),
        ((2, 1, 3), (1, 3), "an axis in front, and one of length 1 that was not stretched"),
        ((3, 3), (3,), "the axis in front goes, the last one stays, though both have length 3"),
    ]
    for given_shape, shape, story in cases:
        grad = rng.standard_normal(given_shape)
        before = grad.copy()
        summed = np.asarray(answer(grad, shape))
        where = f"for a gradient {given_shape} and a source {shape} ({story})"
        right = _unbroadcast_reference(before, shape)
        if not np.array_equal(grad, before):
            raise Wrong("your function writes into the gradient it was given, which others hold.")
        if summed.shape != shape:
            raise Wrong(f"{where} you return the shape {summed.shape}.")
        if np.allclose(summed, right):
            continue
        count = before.size / max(right.size, 1)
        if np.allclose(summed * count, right):
            raise Wrong("you take the mean. Paths add up: it has to be the sum.")
        if shape == (3,) and np.allclose(summed, before.sum(axis=-1)):
            raise Wrong(f"{where} you sum over the wrong axis: NumPy aligns shapes at their end.")
        raise Wrong(f"{where} the shape is right but the numbers are not.")


unbroadcast_once = Exercise(
    "unbroadcast_once",
    check=_check_unbroadcast,
    hints=(
        "NumPy aligns shapes at their end. So the first grad.ndim - len(shape) axes are new.",
        "Axis i of the source is axis i + grad.ndim - len(shape) of the gradient.",
        "Sum over all these axes at once (axis takes a tuple), then reshape to the shape wanted: "
        "that brings the axes of length 1 back.",
    ),
    reference=_unbroadcast_reference,
)


# 4. Topological order by counting uses


class _Node:
    """Like the chapter's Number, without a value; counts how often its sources are read."""

    def __init__(self, name, *sources):
        self.name, self.value, self.reads = name, 1.0, 0
        self._sources = tuple((source, 1.0) for source in sources)

    @property
    def sources(self):
        self.reads += 1
        if self.reads > 100:
            raise Wrong(
                "you come back to the same number again and again: the time grows with the number "
                "of paths, not with the number of numbers. Visit each a fixed number of times."
            )
        return self._sources

    def __repr__(self):
        return self.name


def _chain(length):
    nodes = [_Node("n0")]
    for index in range(1, length):
        nodes.append(_Node(f"n{index}", nodes[-1]))
    return nodes


def _diamonds(count):
    nodes = [_Node("n0")]
    for index in range(count):
        left = _Node(f"left{index}", nodes[-1])
        right = _Node(f"right{index}", nodes[-1], left)
        nodes += [left, right, _Node(f"n{index + 1}", left, right)]
    return nodes


def _order_reference(output):
    uses, found = {output: 0}, [output]
    for number in found:  # grows while we walk along it
        for source, _ in number.sources:
            if source not in uses:
                uses[source] = 0
                found.append(source)
            uses[source] += 1
    order, free = [], [output]
    while free:
        number = free.pop()
        order.append(number)
        for source, _ in number.sources:
            uses[source] -= 1
            if uses[source] == 0:
                free.append(source)
    return order


def _check_order(answer):
    a, b = _Node("a"), _Node("b")
    c = _Node("c", a, b)
    d = _Node("d", c, b)
    example = [a, b, c, d, _Node("e", d, c)]
    square = [_Node("x")]
    square.append(_Node("x * x", square[0], square[0]))
    for title, nodes in (
        ("the graph of section 2", example),
        ("the graph of x * x, which uses x twice", square),
        ("a tower of diamonds", _diamonds(200)),
        ("a chain of 20,000 numbers", _chain(20000)),
    ):
        try:
            order = list(answer(nodes[-1]))
        except RecursionError:
            raise Wrong(
                f"on {title} your function calls itself too deeply. Keep a list of what is free."
            ) from None
        _judge_order(title, nodes, order)


def _judge_order(title, nodes, order):
    place = {}
    for index, node in enumerate(order):
        if not isinstance(node, _Node):
            raise Wrong("the list should hold the numbers themselves.")
        if node in place:
            raise Wrong(f"on {title}, {node} is in your list twice.")
        place[node] = index
    missing = [node for node in nodes if node not in place]
    if missing:
        raise Wrong(f"on {title}, {len(missing)} numbers are missing, {missing[-1]} for example.")
    for user in nodes:
        for source, _ in user._sources:
            if place[source] < place[user]:
                backwards = " (the whole list runs the wrong way)" if order[0] != nodes[-1] else ""
                raise Wrong(
                    f"on {title}, {source} takes its turn before {user}, which was computed from "
                    f"it and still has a gradient for it{backwards}."
                )


order_by_counting = Exercise(
    "order_by_counting",
    check=_check_order,
    hints=(
        "Two passes. The first finds all numbers and counts the uses of each: one for every pair "
        "in somebody's sources. Count x * x twice.",
        "The second pass starts with a list of what is free, [output]. Take one from it, write it "
        "down, and strike off one use from each of its sources.",
        "A source whose uses have come down to 0 is free: put it on the list.",
    ),
    reference=_order_reference,
)


# 5. A wrong rule that the sum takes for right


def _deceitful_reference(grad_output):
    return grad_output  # forgets to reverse: ones look the same in any order


def _check_deceitful(answer):
    rng = np.random.default_rng(5)
    weights = rng.standard_normal(7)
    by_sum = np.asarray(answer(np.ones(7)))
    by_weights = np.asarray(answer(weights.copy()))
    if by_sum.shape != (7,) or by_weights.shape != (7,):
        raise Wrong(f"for a gradient (7,) you return the shape {by_weights.shape}.")
    if not np.allclose(by_sum, 1.0):
        raise Wrong(
            "the sum finds you out. With the sum of the outputs as the loss, ones arrive, and "
            f"nudging says that the gradient is 1 everywhere; you return {by_sum.round(3)}."
        )
    if np.allclose(by_weights, weights[::-1]):
        raise Wrong("that rule is right. Make it wrong, but so that ones still give ones.")
    return "Right: it is wrong. Ones still give ones, and only random weights find it out."


deceitful_backward = Exercise(
    "deceitful_backward",
    check=_check_deceitful,
    hints=(
        "With the sum as the loss, every element of grad_output is 1. What must your rule return?",
        "Any rule that returns ones for ones is safe from the sum. The most innocent one forgets "
        "what the operation does.",
    ),
    reference=_deceitful_reference,
)
