"""The exercises of chapter 01, Tensors that remember."""

from __future__ import annotations

import inspect
import sys

import numpy as np

from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt

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
    keeps="softplus:softplus_backward",
)


# 3. Topological order by counting uses


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
    order, free, left = [], [output], dict(uses)
    while free:
        number = free.pop()
        order.append(number)
        for source, _ in number.sources:
            left[source] -= 1
            if left[source] == 0:
                free.append(source)
    return order, uses


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
            given = answer(nodes[-1])
        except RecursionError:
            raise Wrong(
                f"on {title} your function calls itself too deeply. Keep a list of what is free."
            ) from None
        if not isinstance(given, tuple | list) or len(given) != 2 or not hasattr(given[1], "keys"):
            raise Wrong("return a pair: the list, and the dict of uses.")
        _judge_order(title, nodes, list(given[0]))
        _judge_uses(title, nodes, given[1])


def _judge_uses(title, nodes, uses):
    right = dict.fromkeys(nodes, 0)
    for user in nodes:
        for source, _ in user._sources:
            right[source] += 1
    if set(uses) != set(right):
        raise Wrong(f"on {title}, count the uses of all numbers, the last one (0 uses) as well.")
    for node, count in right.items():
        if uses[node] != count:
            raise Wrong(
                f"on {title}, {node} is used {count} times by others, you count {uses[node]}. "
                "Return the uses as they are before any of them is struck off."
            )


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


# 4. A wrong rule that the sum takes for right


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


# 5. An autograd from memory


class MyTensor:
    def __init__(self, array, requires_grad=False, sources=(), rule=None):
        self.data = np.asarray(array, dtype=np.float64)
        self.grad, self.requires_grad = None, requires_grad
        self.sources, self.rule = sources, rule  # rule: the gradient -> one for each source

    def _remember(self, data, rule, *sources):
        if not any(source.requires_grad for source in sources):
            return MyTensor(data)
        return MyTensor(data, True, sources, rule)

    def __add__(self, other):
        return self._remember(self.data + other.data, lambda g: (g, g), self, other)

    def __mul__(self, other):
        a, b = self.data, other.data
        return self._remember(a * b, lambda g: (g * b, g * a), self, other)

    def __matmul__(self, other):
        a, b = self.data, other.data
        return self._remember(a @ b, lambda g: (g @ b.T, a.T @ g), self, other)

    def relu(self):
        return self._remember(np.maximum(self.data, 0), lambda g: (g * (self.data > 0),), self)

    def sum(self):
        shape = self.data.shape
        return self._remember(self.data.sum(), lambda g: (np.broadcast_to(g, shape),), self)

    def _in_order(self):
        finished, seen, to_do = [], set(), [(self, False)]
        while to_do:
            tensor, sources_are_done = to_do.pop()
            if sources_are_done:
                finished.append(tensor)
            elif tensor not in seen:
                seen.add(tensor)
                to_do.append((tensor, True))
                to_do.extend((source, False) for source in tensor.sources)
        return finished[::-1]

    def backward(self):
        gradients = {self: np.ones_like(self.data)}
        for tensor in self._in_order():
            grad = gradients.pop(tensor)
            if tensor.rule is None:
                if tensor.requires_grad:
                    tensor.grad = grad if tensor.grad is None else tensor.grad + grad
                continue
            for source, share in zip(tensor.sources, tensor.rule(grad), strict=True):
                front = share.ndim - source.data.ndim
                stretched = [front + i for i, n in enumerate(source.data.shape) if n == 1]
                share = share.sum(axis=(*range(front), *stretched)).reshape(source.data.shape)
                gradients[source] = gradients.get(source, 0.0) + share


def _check_from_memory(answer):
    if not inspect.isclass(answer):
        raise Wrong("pass the class itself: exercises.from_memory.check(MyTensor).")
    for promise in (_numbers, _used_twice, _diamond, _passes, _constants, _layer, _broadcasting):
        promise(answer)
    _tower(answer)
    _chain_of_steps(answer)
    return "Right. That is an autograd, and you wrote it."


def _leaf(tensor_class, values):
    return tensor_class(np.array(values, dtype=np.float64), requires_grad=True)


def _expect(tensor, right, story):
    if tensor.grad is None:
        raise Wrong(f"{story}: after backward(), grad is still None.")
    grad = np.asarray(tensor.grad, dtype=np.float64)
    if grad.shape != np.shape(right):
        raise Wrong(
            f"{story}: grad has shape {grad.shape}, the tensor {np.shape(right)}. What was "
            "repeated forward has to be summed backward."
        )
    if not np.allclose(grad, right):
        place = np.unravel_index(np.argmax(np.abs(grad - right)), grad.shape)
        where = f"grad{list(map(int, place))}" if place else "grad"
        raise Wrong(f"{story}: {where} is {grad[place]:.6g}, not {np.asarray(right)[place]:.6g}.")


def _numbers(T):
    a, b = _leaf(T, 2.0), _leaf(T, 3.0)
    y = a * b + a
    if not np.isclose(y.data, 8.0):
        raise Wrong(f"a * b + a with a = 2 and b = 3 should be 8; data is {y.data}.")
    y.backward()
    _expect(b, 2.0, "in y = a * b + a, with a = 2 and b = 3, the gradient of b")
    _expect(a, 4.0, "in y = a * b + a, with a = 2 and b = 3, the gradient of a")


def _used_twice(T):
    x = _leaf(T, 5.0)
    (x * x).backward()
    if x.grad is not None and np.allclose(x.grad, 5.0):
        raise Wrong("x * x with x = 5 has the slope 10, you find 5: both uses of x count, so add.")
    _expect(x, 10.0, "in y = x * x with x = 5")


def _diamond(T):
    a, b = _leaf(T, 2.0), _leaf(T, -3.0)
    c = a * b
    ((c + b) * c).backward()
    if a.grad is not None and np.allclose(a.grad, 18.0):
        raise Wrong(
            "in e = (c + b) * c with c = a * b, c handed on its gradient before all of it had "
            "arrived: go through the tensors in topological order."
        )
    _expect(a, 45.0, "in e = (c + b) * c with c = a * b, a = 2 and b = -3, the gradient of a")
    _expect(b, -36.0, "in e = (c + b) * c with c = a * b, a = 2 and b = -3, the gradient of b")


def _passes(T):
    x = _leaf(T, 2.0)
    for _ in range(2):
        (x * x).backward()
    if x.grad is not None and np.allclose(x.grad, 4.0):
        raise Wrong("two backward passes, one after the other, should add up in grad.")
    _expect(x, 8.0, "after two backward passes of y = x * x with x = 2")


def _constants(T):
    x, w = T(np.array(3.0)), _leaf(T, 2.0)
    (x * w).backward()
    if x.grad is not None:
        raise Wrong("a tensor made without requires_grad has got a gradient.")
    _expect(w, 3.0, "in y = x * w, where x wants no gradient,")


def _layer(T):
    rng = np.random.default_rng(1)
    x, w, v = (rng.standard_normal(shape) for shape in ((4, 3), (3, 5), (4, 5)))
    a, b = _leaf(T, x), _leaf(T, w)
    ((a @ b).relu() * T(v)).sum().backward()
    arrived = v * (x @ w > 0)
    story = "in y = sum(relu(A @ B) * V), with A (4, 3) and B (3, 5), the gradient of"
    _expect(a, arrived @ w.T, f"{story} A")
    _expect(b, x.T @ arrived, f"{story} B")


def _broadcasting(T):
    rng = np.random.default_rng(2)
    wide = rng.standard_normal((4, 3))
    for shape, axes in (((3,), 0), ((1, 3), 0), ((4, 1), 1), ((), None)):
        bias = _leaf(T, rng.standard_normal(shape))
        (T(wide) * bias + bias).sum().backward()
        right = (wide + 1.0).sum(axis=axes).reshape(shape)
        _expect(bias, right, f"in sum(x * b + b), x (4, 3) and b {shape}, the gradient of b")


def _tower(T):
    x = y = _leaf(T, 1.0)
    for _ in range(40):
        y = y + y
    events = 0

    def count(frame, event, argument):
        nonlocal events
        events += 1
        if events > 100_000:
            raise Wrong(
                "doubling a number 40 times keeps backward() busy without end: it follows every "
                "path. Let each tensor have one turn."
            )

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        y.backward()
    finally:
        sys.setprofile(before)
    _expect(x, 2.0**40, "after doubling 40 times")


def _chain_of_steps(T):
    x = y = _leaf(T, 1.0)
    one = T(np.array(1.0))
    for _ in range(20_000):
        y = y + one
    try:
        y.backward()
    except RecursionError:
        raise Wrong(
            "a chain of 20,000 steps is too deep for a function that calls itself: keep a list of "
            "what is still to be visited."
        ) from None
    _expect(x, 1.0, "after 20,000 additions")


from_memory = Exercise(
    "from_memory",
    check=_check_from_memory,
    hints=(
        "Let each tensor keep the tensors it was computed from, and a function from its own "
        "gradient to the gradient of each of these.",
        "backward(): find all tensors with a walk that writes each down after its sources; go "
        "through that list from its end; add what arrives at each in a dictionary.",
        "Before adding a share to a source, sum it over the axes that were repeated. A tensor "
        "without sources keeps what arrived, added to what it has, in grad.",
    ),
    reference=MyTensor,
    keeps="tensor:Tensor",
)


# Bug hunt

_handed_to_both = np.array([1.0, 2.0])  # as the rule of a sum does it
hunt = Hunt(
    '''
def add_shares(shares):
    """[(name, array), ...] in the order of arrival -> {name: the sum of its arrays}.

    The arrays themselves are left as they are: others may hold them, too.
    """
    totals = {}
    for name, share in shares:
        if name in totals:
            totals[name] += share
        else:
            totals[name] = share
    return totals
''',
    mend=("totals[name] += share", "totals[name] = totals[name] + share"),
    tests={
        "one share each": ([("x", np.array([1.0, 2.0])), ("y", np.array([3.0, 4.0]))],),
        "numbers, used three times": ([("x", 1.0), ("x", 2.0), ("x", 4.0)],),
        "y = x + z, then x once more": (
            [("x", _handed_to_both), ("z", _handed_to_both), ("x", np.array([10.0, 20.0]))],
        ),
    },
    hints=(
        "Only x gets another share, and yet z changes. Which two arrays are one and the same?",
        "For an array, a += b writes into a; a = a + b makes a new one.",
    ),
)
