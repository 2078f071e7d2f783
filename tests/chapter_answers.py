"""Answers that people give to the exercises, wrong and right ones, and what they must be told.

``ANSWERS["01.paths"]`` is a list of (answer, a piece of the reply). "Right" begins the reply to an
answer that is right, however unusual it is; all others must be refused with that reason.
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
import zlib

import numpy as np

import nn
from detector import boxes

RIGHT = "Right"
F = nn.functional


def in_place(x, other):
    x[...] = other
    return x


# ------------------------------------------------------------------------------ 01


def softplus_by_tanh(g, x):
    return g * 0.5 * (1 + np.tanh(x / 2))


def softplus_clipped(g, x):
    return g / (1 + np.exp(-np.clip(x, -700, 700)))


def softplus_by_logaddexp(g, x):
    return g * np.exp(-np.logaddexp(0, -x))


def depth_first(output):
    order, seen, stack = [], set(), [(output, False)]
    while stack:
        number, done = stack.pop()
        if done:
            order.append(number)
        elif number not in seen:
            seen.add(number)
            stack += [(number, True), *((source, False) for source, _ in number.sources)]
    return order[::-1]


def breadth_first(output):
    order, uses = [output], {output: 0}
    for number in order:
        for source, _ in number.sources:
            if source not in uses:
                order.append(source)
            uses[source] = uses.get(source, 0) + 1
    return order, uses


def by_layers(output):
    """Unusual and right: all that is free at once, layer after layer."""
    uses, found = {output: 0}, [output]
    for number in found:
        for source, _ in number.sources:
            if source not in uses:
                found.append(source)
            uses[source] = uses.get(source, 0) + 1
    order, layer, left = [], [output], dict(uses)
    while layer:
        order += layer
        following = []
        for source in (source for number in layer for source, _ in number.sources):
            left[source] -= 1
            following += [source] * (left[source] == 0)
        layer = following
    return order, uses


class WithoutUnbroadcast:
    """An autograd that is right as long as nothing is repeated."""

    def __init__(self, array, requires_grad=False, sources=(), rule=None):
        self.data, self.grad = np.asarray(array, float), None
        self.requires_grad, self.sources, self.rule = requires_grad, sources, rule

    def made(self, data, rule, *sources):
        return type(self)(data, any(s.requires_grad for s in sources), sources, rule)

    def __add__(self, other):
        return self.made(self.data + other.data, lambda g: (g, g), self, other)

    def __mul__(self, other):
        a, b = self.data, other.data
        return self.made(a * b, lambda g: (g * b, g * a), self, other)

    def __matmul__(self, other):
        a, b = self.data, other.data
        return self.made(a @ b, lambda g: (g @ b.T, a.T @ g), self, other)

    def relu(self):
        return self.made(np.maximum(self.data, 0), lambda g: (g * (self.data > 0),), self)

    def sum(self):
        return self.made(self.data.sum(), lambda g: (g * np.ones_like(self.data),), self)

    def backward(self):
        grads, order, seen = {self: np.ones_like(self.data)}, [], set()

        def walk(tensor):
            if tensor not in seen:
                seen.add(tensor)
                for source in tensor.sources:
                    walk(source)
                order.append(tensor)

        walk(self)
        for tensor in reversed(order):
            if not tensor.sources and tensor.requires_grad:
                old = 0 if tensor.grad is None else tensor.grad
                tensor.grad = old + grads[tensor]
            shares = tensor.rule(grads[tensor]) if tensor.sources else ()
            for source, share in zip(tensor.sources, shares, strict=True):
                grads[source] = grads.get(source, 0) + share


# ------------------------------------------------------------------------------ 02


def nesterov_as_pytorch(w, v, g, lr, beta):
    v = beta * v + g
    return w - lr * (g + beta * v), v


def nesterov_in_place(w, v, g, lr, beta):
    v *= beta
    v += lr * g
    return w - (beta * v + lr * g), v


def tied_by_einsum(g, x, w):
    return (
        np.einsum("ni,oi,oj->nj", g, w, w),
        np.einsum("nj,oj,ni->oi", x, w, g) + np.einsum("nj,oj,ni->oi", g, w, x),
    )


def slope_of(g, x, w):
    """By nudging every weight."""
    out, w = np.zeros_like(w), w.copy()
    for place in np.ndindex(w.shape):
        before = w[place]
        for sign in (1, -1):
            w[place] = before + sign * 1e-4
            out[place] += sign * (g * (x @ w.T @ w)).sum() / 2e-4
        w[place] = before
    return out


def parameters_twice(module, kinds=()):
    def walk(module, prefix):
        for name, part in vars(module).items():
            if isinstance(part, kinds[0]):
                yield prefix + name, part
            elif isinstance(part, kinds[1]):
                yield from walk(part, f"{prefix}{name}.")

    return walk(module, "")


def parameters_once(module, kinds=(), seen=None, prefix=""):
    seen, pairs = ({} if seen is None else seen), []
    for name, part in vars(module).items():
        if isinstance(part, kinds[1]):
            pairs += parameters_once(part, kinds, seen, prefix + name + ".")
        elif (
            isinstance(part, kinds[0]) and seen.setdefault(id(part), prefix + name) == prefix + name
        ):
            pairs.append((prefix + name, part))
    return pairs


def remembered_for_ever(module, kinds=(), seen=set()):  # noqa: B006
    return parameters_once(module, kinds, {}) if not seen and not seen.add(1) else []


# ------------------------------------------------------------------------------ 03


def taps_add(grad, x, w, stride):
    grad_x, grad_w = np.zeros_like(x), np.zeros_like(w)
    for u in range(len(w)):
        seen = slice(u, u + (len(grad) - 1) * stride + 1, stride)
        grad_x[seen] += grad * w[u]
        grad_w[u] = grad @ x[seen]
    return grad_x, grad_w


def taps_assign(grad, x, w, stride):
    _, grad_w = taps_add(grad, x, w, stride)
    grad_x = np.zeros_like(x)
    for u in range(len(w)):
        grad_x[u : u + (len(grad) - 1) * stride + 1 : stride] = grad * w[u]
    return grad_x, grad_w


def by_convolve(grad, x, w, stride):
    wide = np.zeros((len(grad) - 1) * stride + 1)
    wide[::stride] = grad
    grad_x, grad_w = np.zeros_like(x), np.correlate(x[: len(wide) + len(w) - 1], wide, "valid")
    grad_x[: len(wide) + len(w) - 1] = np.convolve(wide, w)
    return grad_x, grad_w


def over_the_outputs(grad, x, w, stride):
    grad_x, grad_w = np.zeros_like(x), np.zeros_like(w)
    for i, g in enumerate(grad.tolist()):
        grad_x[i * stride : i * stride + len(w)] += g * w
        grad_w += g * x[i * stride : i * stride + len(w)]
    return grad_x, grad_w


# ------------------------------------------------------------------------------ 04 05 06


def depthwise_by_einsum(x, weight, stride):
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.einsum("nchwuv,cuv->nchw", windows[:, :, ::stride, ::stride], weight[:, 0])


def depthwise_of_the_library(x, weight, stride):
    weight = nn.Tensor(weight)
    return F.conv2d(nn.Tensor(x), weight, None, stride, 1, groups=len(weight.data)).data


def access_ratio(c1, c2, h, w, n):
    access = h * w * (c1 + c2) + c1 * c2 / n  # for each image of the batch
    return access / (2 * h * w * (c1 * c2) ** 0.5 + c1 * c2 / n)


def by_bisection(c, groups, pixels):
    def moved(width):
        return 2 * pixels * width + width * width / groups

    low, high, wanted = 0.0, c * groups + 1.0, 2 * pixels * c + c * c
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if moved(middle) < wanted else (low, middle)
    return low


def counted(first, second):
    wins = sum(a < b for a, b in zip(first, second, strict=True))
    losses = sum(b < a for a, b in zip(first, second, strict=True))
    return (
        "first"
        if wins >= 0.9 * len(first)
        else "second"
        if losses >= 0.9 * len(first)
        else "neither"
    )


def widest_by_root(c):
    price = (2 * c * c + 9 * c) / 2
    return math.floor((-9 + math.sqrt(81 + 8 * price)) / 4)


def untouched_by_following(channels, blocks):
    def stays(place):
        for _ in range(blocks):
            if place >= channels / 2:
                return False
            place *= 2
        return True

    return sum(map(stays, range(channels)))


# ------------------------------------------------------------------------------ 07 to 10


def layer_norm_by_jacobian(g, normal, inverse_std, gamma):
    D = g.shape[1]
    rows = [
        (np.eye(D) - 1 / D - np.outer(n, n) / D) @ (a * gamma) * s
        for n, a, s in zip(normal, g, inverse_std, strict=True)
    ]
    return np.array(rows)


def as_batch_norm(g, normal, inverse_std, gamma):
    means = g.mean(1, keepdims=True), (g * normal).mean(1, keepdims=True)
    return gamma * inverse_std * (g - means[0] - normal * means[1])


def settled_by_logarithm(momentum):
    return math.ceil(math.log(0.01) / math.log(1 - momentum) - 1e-9)


def ratios(confusion):
    with np.errstate(all="ignore"):
        pairs = [np.diag(confusion) / confusion.sum(axis) for axis in (0, 1)]
    return [np.nan_to_num(pair) for pair in pairs]


def mirrored_by_matrix(corners, width):
    turn = np.array([[0, 0, -1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])
    return corners @ turn + [width, 0, width, 0]


def hard_nms_scores(found, scores, threshold):
    return scores * np.isin(np.arange(len(scores)), boxes.nms(found, scores, threshold))


def decoded_row_by_row(deltas, proposals, stds=(0.1, 0.1, 0.2, 0.2)):
    rows = []
    for delta, (x1, y1, x2, y2) in zip(deltas * np.array(stds), proposals, strict=True):
        w, h = (x2 - x1) * math.exp(min(delta[2], math.log(62.5))), y2 - y1
        tall = h * math.exp(min(delta[3], math.log(62.5)))
        x, y = (x1 + x2) / 2 + delta[0] * (x2 - x1), (y1 + y2) / 2 + delta[1] * h
        rows.append([x - w / 2, y - tall / 2, x + w / 2, y + tall / 2])
    return np.array(rows)


def slope_of_the_library(d, beta):
    tensor = nn.Tensor(d, requires_grad=True)
    F.smooth_l1_loss(tensor, np.zeros_like(d), beta=beta, reduction="sum").backward()
    return tensor.grad


def winners_by_bincount(grad, winners, H, W):
    won = winners >= 0
    return np.bincount(winners[won], grad[won], H * W).reshape(H, W)


def winners_assigned(grad, winners, H, W):
    out = np.zeros(H * W)
    out[winners] += grad
    return out.reshape(H, W)


def bilinear_floor_ceil(plane, y, x):
    rows, columns = (math.floor(y), math.ceil(y)), (math.floor(x), math.ceil(x))
    cells = itertools.product(rows, columns)
    return sum(plane[i, j] * (1 - abs(y - i)) * (1 - abs(x - j)) for i, j in cells)


def bilinear_by_tents(plane, y, x):
    def tent(p, n):
        return np.maximum(1 - np.abs(p - np.arange(n)), 0)

    return tent(y, len(plane)) @ plane @ tent(x, plane.shape[1])


# ------------------------------------------------------------------------------ 11 to 15


def by_power_iteration(kernel):
    b = np.random.default_rng(0).standard_normal(len(kernel))
    for _ in range(2000):
        b = kernel.T @ (kernel @ b)
        b /= np.linalg.norm(b)
    return kernel @ b, b


def hardest_by_sorting(losses, numbers, keep):
    kept = []
    for number in set(numbers.tolist()):
        mine = [i for i in range(len(losses)) if numbers[i] == number]
        kept += sorted(mine, key=lambda i: (not math.isnan(losses[i]), -losses[i]))[:keep]
    return sorted(kept)


def area_by_rectangles(is_right, objects):
    area, best, right = 0.0, 0.0, int(np.sum(is_right))
    for place in range(len(is_right) - 1, -1, -1):  # from the end, where nothing is better
        best = max(best, right / (place + 1))
        if is_right[place]:
            area, right = area + best / objects, right - 1
    return area


def crowds_by_sets(overlap, is_crowd, threshold):
    taken, said = set(), []
    for row in overlap.tolist():
        pairs = [(o, -g) for g, o in enumerate(row) if o >= threshold]
        own = [pair for pair in pairs if not is_crowd[-pair[1]] and -pair[1] not in taken]
        if own:
            taken.add(-max(own)[1])
        crowded = any(is_crowd[-g] for _, g in pairs)
        said.append("right" if own else "ignored" if crowded else "wrong")
    return np.array(said) if len(said) > 99 else said


def order_of_two(channels):
    if channels == 2:
        return 1
    return next(n for n in itertools.count(1) if pow(2, n, channels - 1) == 1)


def summed_as_they_come(arrivals):
    return functools.reduce(np.add, arrivals)


def summed_in_float64(arrivals):
    return functools.reduce(np.add, (a.astype(np.float64) for a in arrivals)).astype(np.float32)


def summed_exactly(arrivals):
    return np.float32([math.fsum(column) for column in np.stack(list(arrivals)).T.tolist()])


def summed_as_whole_numbers(arrivals):
    return (sum(np.rint(a * 2.0**24).astype(np.int64) for a in arrivals) / 2**24).astype(np.float32)


def summed_into_the_first(arrivals):
    first = next(arrivals)
    for other in arrivals:
        first += other
    return first


def messages_by_reading(pieces):
    data, at, found = bytearray().join(pieces), 0, []
    while at + 4 <= len(data):
        length = int.from_bytes(data[at : at + 4], "little")
        if at + 4 + length > len(data):
            break
        found.append(bytes(data[at + 4 : at + 4 + length]))
        at += 4 + length
    return found, bytes(data[at:])


def messages_of_big_endians(pieces):
    data, found = b"".join(pieces), []
    while len(data) >= 4 and len(data) - 4 >= int.from_bytes(data[:4], "big"):
        length = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + length])
        data = data[4 + length :]
    return found, data


def ready_by_counting(owners, inbox, left):
    return [n for n in owners if inbox[n] and not any(o not in left | inbox[n] for o in owners[n])]


def choose_by_crc(task, iteration, count, batch):
    seed = zlib.crc32(f"{task}/{iteration}".encode())
    return np.random.default_rng(seed).permutation(count)[:batch]


def choose_by_sum(task, iteration, count, batch):
    rng = np.random.default_rng(iteration + sum(task.encode()))
    return rng.choice(count, batch, replace=False)


def salted(task):
    return abs(hash(task))


def choose_with_salt(task, iteration, count, batch):
    return np.random.default_rng([iteration, salted(task)]).choice(count, batch, replace=False)


def choose_by_memory(task, iteration, count, batch, rng=np.random.default_rng(0)):  # noqa: B008
    return rng.choice(count, batch, replace=False)


def gain_by_statistics(before, after):
    gains = [b - a for a, b in zip(before, after, strict=True)]
    return statistics.mean(gains), statistics.stdev(gains) / len(gains) ** 0.5


def decay_by_owners(registered, rates, shrink):
    names = [name for own in registered.values() for name in own]
    return {t: {n: shrink / names.count(n) / rates[t] for n in registered[t]} for t in registered}


# ------------------------------------------------------------------------------ 16


def cost_of(is_right, objects, missed, invented, count):
    found = sum(is_right[:count])
    return missed * (objects - found) + invented * (count - found)


def shown_by_price(is_right, objects, missed, invented):
    counts = range(len(is_right) + 1)
    return min(counts, key=lambda count: cost_of(is_right, objects, missed, invented, count))


def one_at_least(right, *prices):
    return min(range(1, len(right) + 1), key=lambda k: cost_of(right, *prices, k), default=0)


ANSWERS = {
    "01.paths": [
        (45, RIGHT), (45.0, RIGHT), (np.float32(45), RIGHT), (25, "one path"), (10, "one path"),
        (20, "the paths that go through c"), (35, "one of the two paths"), (50, "that is y itself"),
        (46, "follow every path"), ([45], "a single number"), ("45", "without quotation marks"),
    ],
    "01.softplus": [
        (softplus_by_tanh, RIGHT), (softplus_by_logaddexp, RIGHT), (softplus_clipped, RIGHT),
        (lambda g, x: 1 / (1 + np.exp(-x)), "the slope alone"),
        (lambda g, x: g * np.exp(x), "the slope you used is e^x"),
        (lambda g, x: g * (x > 0), "the rule of the ReLU"),
        (lambda g, x: g * np.exp(x) / (1 + np.exp(x)), "at x = 1000"),
        (lambda g, x: g / (1 + np.exp(x)), "the slope of the inner function"),
    ],
    "01.order_by_counting": [
        (by_layers, RIGHT), (depth_first, "return a pair"),
        (breadth_first, "takes its turn before"),
        (lambda output: ([output], {output: 0}), "missing"),
    ],
    "01.deceitful_backward": [
        (np.sort, RIGHT), (np.ones_like, RIGHT), (lambda g: g.mean() * np.ones_like(g), RIGHT),
        (lambda g: g[::-1], "that rule is right"), (lambda g: 0 * g, "the sum finds you out"),
        (lambda g: np.roll(g, 1), RIGHT), (lambda g: g[:3], "you return the shape"),
    ],
    "01.from_memory": [(WithoutUnbroadcast, "summed backward"), (nn.Tensor, "no attribute 'relu'")],
    "02.count": [
        (325, RIGHT), (325.0, RIGHT), (300, "you counted the weights"), (320, "the second layer"),
        (305, "the first layer has a bias"), (25, "those are the biases"),
        (335, "one bias vector is too many"), (220, "that is the first layer"),
        (330, "each output"),
    ],
    "02.tied_backward": [
        (tied_by_einsum, RIGHT), (lambda g, x, w: (g @ w.T @ w, slope_of(g, x, w)), RIGHT),
        (lambda g, x, w: (g @ w.T @ w, (x @ w.T).T @ g), "its second use alone"),
        (lambda g, x, w: (g @ w.T @ w, w @ g.T @ x), "its first use alone"),
        (lambda g, x, w: (g, w), "you return"),
    ],
    "02.gliding": [
        (1.0, RIGHT), (-1, RIGHT), (1, RIGHT), (0.1, "the first step"), (0.9, "after the first"),
        (10, "1 / (1 - beta)"), (0.19, "the first two"), (0.09, "the second step alone"),
    ],
    "02.nesterov": [
        (nesterov_as_pytorch, "the learning rate outside"), (nesterov_in_place, "in place"),
        (lambda w, v, g, lr, b: (w - b * (b * v + lr * g) - lr * g, b * v + lr * g), RIGHT),
        (lambda w, v, g, lr, b: (w - (b * v + lr * g), b * v + lr * g), "plain momentum"),
        (lambda w, v, g, lr, b: w, "return a pair"),
    ],
    "02.every_parameter_once": [
        (parameters_once, RIGHT), (parameters_twice, "under a second name"),
        (lambda module, kinds: list(vars(module).items()), "not a parameter"),
        (remembered_for_ever, "the second time"), (lambda module: [], "keep the argument"),
    ],
    "03.size": [
        (lambda n, k, s, p, d: len(range(0, n + 2 * p - d * (k - 1), s)), RIGHT),
        (lambda n, k, s, p, d: (n + 2 * p - k) // s + 1, "you ignore the dilation"),
        (lambda n, k, s, p, d: (n + 2 * p - d * (k - 1) - 1) // s, "one place more"),
        (lambda n, k, s, p, d: (n + p - d * (k - 1) - 1) // s + 1, "on both sides"),
        (lambda n, k, s, p, d: (n + 2 * p - d * (k - 1)) // s + 1, "one too many"),
        (lambda n, k, s, p, d: n // s, "it is"),
    ],
    "03.price_of_the_copy": [
        (2.25, RIGHT), (9 / 4, RIGHT), (9, "with stride 1"), (4.5, "in both directions"),
        (27, "the height of the matrix"), (6.75, "channels included"), ("2.25", "quotation marks"),
    ],
    "03.turn": [
        (lambda w: np.rot90(w.swapaxes(0, 1), 2, (2, 3)), RIGHT),
        (lambda w: np.flip(np.moveaxis(w, 0, 1), (-1, -2)), RIGHT),
        (lambda w: w[:, :, ::-1, ::-1], "not exchanged"), (lambda w: w, "the weight itself"),
        (lambda w: w.transpose(1, 0, 2, 3), "not turned"), (lambda w: w.T, "becomes"),
        (lambda w: w.transpose(1, 0, 2, 3)[:, :, ::-1], "not left to right"),
    ],
    "03.owners": [
        ("nc", RIGHT), ("c, n", RIGHT), ("CN", RIGHT), ("n", "something is missing"),
        ("nco", "not o"), ("ncij", "not i"), ("x", "the letters are"), (("n", "c"), "a string"),
    ],
    "03.one_axis": [
        (taps_add, RIGHT), (by_convolve, RIGHT), (over_the_outputs, "a loop over the outputs"),
        (taps_assign, "keeps only what came last"),
        (lambda g, x, w, s: taps_add(g, x, w[::-1], s), "turned once too often"),
        (lambda g, x, w, s: (in_place(x, taps_add(g, x, w, s)[0]), w), "writes into x"),
    ],
    "04.channels_for": [
        (lambda f, k: np.inf if f >= k * k else math.ceil(f * k * k / (k * k - f)), RIGHT),
        (lambda f, k: math.inf if f >= k * k else int(f * k * k / (k * k - f)), "Round up"),
        (lambda f, k: 72, "you return 72"), (lambda f, k: math.ceil(f), "pointwise is most"),
    ],
    "04.ceiling": [
        (4.5, RIGHT), (9 / 2, RIGHT), (9, "each number is also written"), (3, "3 x 3"),
        (2, "how many numbers are moved"), (2.25, "one too many"), (1, "count again"),
    ],
    "04.depthwise": [
        (depthwise_by_einsum, RIGHT), (depthwise_of_the_library, "that is the library's"),
        (lambda x, w, s: depthwise_by_einsum(x, w[:, :, ::-1, ::-1], s), "turned by 180"),
        (lambda x, w, s: depthwise_by_einsum(x, w.swapaxes(2, 3), s), "transposed"),
        (lambda x, w, s: depthwise_by_einsum(x, w, 1)[:, :, 1::s, 1::s], "it should be"),
        (lambda x, w, s: depthwise_by_einsum(x, w, s).sum(1), "each must stay by itself"),
    ],
    "04.excess": [
        (access_ratio, RIGHT), (lambda a, b, h, w, n: access_ratio(a, b, h, w, 1), "single image"),
        (lambda a, b, h, w, n: 1 / access_ratio(a, b, h, w, n), "turned round"),
        (lambda a, b, h, w, n: (a + b) / (2 * (a * b) ** 0.5), "you forgot the weights"),
        (lambda a, b, h, w, n: 1.0, "you return 1"),
    ],
    "04.relu_for_nothing": [
        (0.4822, RIGHT), (2 * 784 / (4 * 784 + 116), RIGHT), (48.22, "right in percent"),
        (0.5, "nearly"), (0, "no multiply-adds are saved"), (0.2411, "both are saved"),
    ],
    "05.width_with_same_access": [
        (by_bisection, RIGHT), (lambda c, g, p: c * g**0.5, "as many multiply-adds"),
        (lambda c, g, p: c, "room for a little more"),
        (lambda c, g, p: round(by_bisection(c, g, p)), "you return 66"),
    ],
    "05.price_of_groups": [
        (2.83, RIGHT), (8**0.5, RIGHT), (2.8, "two digits"), (8, "sqrt(g) times"),
        (1, "the map is wider"), (0.3536, "the other way round"), (64, "not squared"),
    ],
    "05.more_time": [
        (15.0, RIGHT), (15, RIGHT), (13.05, "how much the rate falls"), (115, "the whole time"),
        (1.15, "the ratio of the times"), (0.15, "the fraction"), (-15, "the sign"),
        (310, "batches a second"),
    ],
    "05.mean_slowdown": [
        (lambda a, b: np.prod(b / a) ** (1 / len(a)), RIGHT),
        (lambda a, b: statistics.geometric_mean(b / a), RIGHT),
        (lambda a, b: (b / a).mean(), "the mean of the ratios"),
        (lambda a, b: b.sum() / a.sum(), "the ratio of the sums"),
        (lambda a, b: np.median(b / a), "the median"), (lambda a, b: 2.0, "you return 2"),
    ],
    "05.faster": [
        (counted, RIGHT), (lambda a, b: "first" if a.mean() < b.mean() else "second", "you say"),
        (lambda a, b: "second" if counted(a, b) == "first" else counted(a, b), "a smaller time"),
        (lambda a, b: "1", 'return "first"'), (lambda a, b: "neither", "you say neither"),
        (lambda a, b: "first" if np.median(a) < np.median(b) else "second", "you say"),
    ],
    "06.shuffle_backward": [
        (lambda g, n: F.channel_shuffle(nn.Tensor(g), g.shape[1] // n).data, "the library's"),
        (lambda g, n: g.reshape(len(g), -1, n, *g.shape[2:]).swapaxes(1, 2).reshape(g.shape),
         RIGHT),
        (lambda g, n: g[:, np.arange(g.shape[1]).reshape(-1, n).T.ravel()], RIGHT),
        (lambda g, n: g[:, np.arange(g.shape[1]).reshape(n, -1).T.ravel()], "shuffles once more"),
        (lambda g, n: g, "the order in which it went in"),
        (lambda g, n: g[:, ::-1], "wrong places"),
        (lambda g, n: g / n, "the same numbers"), (lambda g, n: g[0], "it returns the shape"),
    ],
    "06.widest_branch": [
        (widest_by_root, RIGHT), (lambda c: c // 2, "only a quarter"),
        (lambda c: 81, "you return 81"),
        (lambda c: int(c * 0.5**0.5), "the depthwise convolution"),
        ({116: 81, 232: 163}.get, "you return None"),
    ],
    "06.untouched_channels": [
        (lambda c, b: math.ceil(c / 2**b), RIGHT), (untouched_by_following, RIGHT),
        (lambda c, b: c // 2**b, "you round down"), (lambda c, b: c / 2**b, "passes or does not"),
        (lambda c, b: max(1, c >> b), "you round down"),
        (lambda c, b: c - math.ceil(c / 2**b), "nothing is touched"),
    ],
    "06.star_parameters": [(0, "is not it"), (41_316, "is not it"), ("many", "quotation marks")],
    "07.first_loss": [
        (math.log(81), RIGHT), (4.39, RIGHT), (4.38, "the background"), (math.log2(81), "base 2"),
        (1 / 81, "the probability"), (81, "-ln"), (-4.394, "positive"),
        (math.log(5), "five classes"),
    ],
    "07.he_std": [
        (lambda s: (2 / np.prod(s[1:])) ** 0.5, RIGHT),
        (lambda s: np.sqrt(2 / np.empty(s)[0].size), RIGHT),
        (lambda s: 2 / np.prod(s[1:]), "that is the variance"),
        (lambda s: (1 / np.prod(s[1:])) ** 0.5, "the 2 is missing"),
        (lambda s: (2 / s[1]) ** 0.5, "through a window"),
        (lambda s: (2 / np.prod(s)) ** 0.5, "the number of all weights"),
        (lambda s: (2 / (s[0] * s[2] * s[3])) ** 0.5, "fan-out"), (lambda s: 0.083, "it should be"),
    ],
    "07.batches_until_settled": [
        (settled_by_logarithm, RIGHT), (lambda m: math.log(0.01) / math.log(1 - m), "round up"),
        (lambda m: round(1 / m), "1 / momentum"),
        (lambda m: settled_by_logarithm(m) - 1, "one off"),
        (lambda m: settled_by_logarithm(1 - m), "the other way round"), (lambda m: 44, "it takes"),
    ],
    "07.precision_and_recall": [
        (ratios, RIGHT), (lambda c: ratios(c)[::-1], "exchanged"),
        (lambda c: (np.diag(c) / c.sum(0), np.diag(c) / c.sum(1)), "NaN"),
        (lambda c: (np.diag(c) / c.sum(),) * 2, "not of the whole matrix"),
    ],
    "07.layer_norm_backward": [
        (layer_norm_by_jacobian, RIGHT), (as_batch_norm, "gamma belongs to the numbers of a row"),
        (lambda g, n, s, gamma: g * gamma * s, "the direct way alone"),
        (lambda g, n, s, gamma: np.zeros_like(g), "you return"),
        (lambda g, n, s, gamma: in_place(g, layer_norm_by_jacobian(g, n, s, gamma)),
         "changes what"),
    ],
    "08.mirror": [
        (mirrored_by_matrix, RIGHT),
        (lambda b, w: np.column_stack([w - b[:, 2], b[:, 1], w - b[:, 0], b[:, 3]]), RIGHT),
        (lambda b, w: np.abs([w, 0, w, 0] - b), "inside out"),
        (lambda b, w: mirrored_by_matrix(b, w - 1), "a pixel too far"),
        (lambda b, w: b, "x has not"),
        (lambda b, w: in_place(b, mirrored_by_matrix(b, w)), "it changes the boxes"),
    ],
    "08.worst_iou": [
        (lambda s, t: (lambda o: o / (2 * s * s - o))(max(s - t / 2, 0) ** 2), RIGHT),
        (lambda s, t: (lambda o: o / (2 * s * s - o))(max(s - t, 0) ** 2), "half a stride"),
        (lambda s, t: (lambda o: o / (2 * s * s - o))(max(s - t / 2, 0) * s), "both directions"),
        (lambda s, t: max(s - t / 2, 0) ** 2 / s**2, "over one area"),
        (lambda s, t: max(s - t / 2, 0) ** 2 / (2 * s * s), "once, not twice"),
        (lambda s, t: (lambda o: o / (2 * s * s - o))((s - t / 2) ** 2), "the IoU is 0"),
    ],
    "08.decode_second_stage": [
        (boxes.decode, "the library's"),
        (lambda d, p, stds=(0.1, 0.1, 0.2, 0.2): boxes.decode(d, p, stds), "the library's"),
        (decoded_row_by_row, RIGHT), (lambda d, p, stds=(): d, "should give"),
    ],
    "08.soft_nms": [
        (lambda b, s, t: s, "no score has changed"), (hard_nms_scores, "hard suppression"),
        (lambda b, s, t: s[:2], "it returns the shape"),
        (lambda b, s, t: in_place(s, 0 * s), "changes"),
    ],
    "09.rpn_multiply_adds": [
        (lambda H, W, C, h, A: H * W * h * (9 * C + 6 * A), RIGHT),
        (lambda H, W, C, h, A: H * W * h * (9 * C + 5 * A), "two numbers for each anchor"),
        (lambda H, W, C, h, A: H * W * h * (C + 6 * A), "is 3 x 3"),
        (lambda H, W, C, h, A: h * (9 * C + 6 * A), "the cost of one cell"),
        (lambda H, W, C, h, A: H * W * h * 9 * C, "1 x 1 convolutions are missing"),
    ],
    "09.prior_bias": [
        (lambda p: -math.log(1 / p - 1), RIGHT), (lambda p: 2 * math.atanh(2 * p - 1), RIGHT),
        (lambda p: math.log(1 / p - 1), "the sign"), (math.log, "only as long as p is tiny"),
        (lambda p: p, "the bias is a logit"), (lambda p: -4.6, "would answer"),
    ],
    "09.smooth_l1_gradient": [
        (slope_of_the_library, "the library's"),
        (lambda d, b: np.clip(d / b, -1, 1), RIGHT),
        (lambda d, b: np.where(abs(d) < b, d, np.sign(d)), "the gradient jumps"),
        (lambda d, b: np.where(abs(d) < b, d / b, 1), "the sign of d"),
        (lambda d, b: np.clip(d, -1, 1), "at d = -0.25"), (lambda d, b: d / b, "at d = -2"),
    ],
    "09.object_weights": [
        (lambda m: len(m) / len(set(m.tolist())) / np.array([(m == k).sum() for k in m]), RIGHT),
        (lambda m: 1 / np.array([(m == k).sum() for k in m]), "the mean should be 1"),
        (np.ones_like, "weigh the same"),
        (lambda m: np.array([(m == k).sum() for k in m]), "favour"),
    ],
    "10.bilinear_of_four": [
        (bilinear_by_tents, RIGHT), (bilinear_floor_ceil, "exactly on a cell"),
        (lambda p, y, x: p[round(y), round(x)], "the nearest cell"),
        (lambda p, y, x: 2 * bilinear_by_tents(p, y, x), "instead of"),
    ],
    "10.who_reads": [
        (lambda c, s: tuple(map(int, np.unravel_index(c, (99, s, s)))), RIGHT),
        (lambda c, s: (c // s**2, c % s, c // s % s), "row and column"),
        (lambda c, s: (c // s, 0, c % s), "belongs to output channel"),
    ],
    "10.roi_pool_backward": [
        (winners_by_bincount, RIGHT), (winners_assigned, "only one of their gradients"),
        (lambda g, w, H, W: np.bincount(w.ravel() % (H * W), g.ravel(), H * W).reshape(H, W),
         "-1 is"),
        (lambda g, w, H, W: winners_by_bincount(g, w, H, W).ravel(), "it returns the shape"),
    ],
    "10.break_even": [
        (lambda before: math.floor(before / (2048 * (490 + 81 + 4))) + 1, RIGHT),
        (lambda before: before // (2048 * 490) + 1, "behind the first"),
        (lambda before: before // (2048 * (490 + 80 + 4)) + 1, "the background"),
        (lambda before: math.ceil(before / (2048 * 575)), "one RoI more"),
    ],
    "11.smallest_kernel": [
        (lambda i, m, o: next(k for k in range(1, 99, 2) if 2 * m * (i + o) < k * i * o), RIGHT),
        (lambda i, m, o: 2 * m * (i + o) // (i * o) + 1, "only odd sizes"),
        (lambda i, m, o: 1, "you return 1"),
        (lambda i, m, o: 15, "you return 15"),
    ],
    "11.score_channels": [
        (17934, RIGHT), (366 * 49, RIGHT), (365 * 49, "background"), (366, "each class"),
        (2562, "7 x 7 cells"), (3969, "that is COCO"), (490, "thin map"),
    ],
    "11.factor": [
        (by_power_iteration, RIGHT), (lambda k: (k[:, 0], k[0]), "the squared error"),
        (lambda k: (np.linalg.svd(k)[0][:, 0], np.linalg.svd(k)[2][0]), "where did s[0] go"),
        (lambda k: by_power_iteration(k)[::-1], "column and row"),
    ],
    "11.hardest_of_each": [
        (hardest_by_sorting, RIGHT),
        (lambda x, n, k: np.sort(np.argsort(-x)[:k]), "hardest of all"),
        (lambda x, n, k: np.arange(len(x))[:k], "the answer here"),
        (lambda x, n, k: np.sort(np.argsort(-x, kind="stable")[: 2 * k]), "three places"),
    ],
    "12.five": [
        (0.571, RIGHT), (0.6, "the precision after all five"), (0.75, "the recall"),
        ("0.57", "quotation marks"), (57, "between 0 and 1"), (17 / 30, "the exact area"),
        (round((26 + 25 * 2 / 3 + 25 * 3 / 5) / 101, 4), RIGHT),
    ],
    "12.exact_area": [
        (area_by_rectangles, RIGHT), (lambda r, n: r.sum() / n, "the recall at the end"),
        (lambda r, n: r.mean(), "the precision at the end"), (lambda r, n: 0.5, "you return"),
        (lambda r, n: (np.cumsum(r) / np.arange(1, len(r) + 1))[r].sum() / n, "the saw itself"),
    ],
    "12.with_crowds": [
        (crowds_by_sets, RIGHT), (lambda o, c, t: ["right"] * len(o), "you return"),
        (lambda o, c, t: crowds_by_sets(o, np.zeros_like(c), t), "you return"),
        (lambda o, c, t: ["wrong" if s == "ignored" else s for s in crowds_by_sets(o, c, t)],
         "not wrong"),
    ],
    "12.learning_rate": [
        (lambda t, lr, w, n: lr * min(1, (w + 2 * t) / 3 / w) * math.cos(math.pi * t / n / 2) ** 2,
         RIGHT),
        (lambda t, lr, w, n: lr, "a third of lr"),
        (lambda t, lr, w, n: lr * min(1, 1 / 3 + 2 * t / w / 3) * math.cos(math.pi * t / n / 2),
         "quarter of a cosine"),
        (lambda t, lr, w, n: lr * min(1, 1 / 3 + 2 * t / w / 3) * (1 - t / n) / (1 + 0 * t),
         "it is"),
    ],
    "12.kind": [
        ("place", RIGHT), (" Place", RIGHT), ("class", "at every IoU"),
        ("duplicate", "at every IoU"),
        ("background", "at IoU 0.5 already"), ("both", "one of the four"),
    ],
    "13.fold_before": [
        (lambda w, g, b, m, v, e: (np.einsum("oc,c->oc", w, g / (v + e) ** 0.5),
                                   (w * (b - m * g / (v + e) ** 0.5)).sum(1)), RIGHT),
        (lambda w, g, b, m, v, e: (w @ np.diag(g / np.sqrt(v + e)),
                                   w @ b - w @ (m * g / np.sqrt(v + e))), RIGHT),
        (lambda w, g, b, m, v, e: (w * (g / np.sqrt(v + e)), w @ (b - m)), "the mean is scaled"),
        (lambda w, g, b, m, v, e: (w, b), "you return"),
    ],
    "13.shuffles_until_home": [
        (order_of_two, RIGHT), (lambda c: int(math.log2(c)), "powers of two"),
        (lambda c: 44, "you return 44"), (lambda c: 0, "at the start"),
    ],
    "13.tap_offsets": [
        (lambda C, R, W, h, w: [c * R * W + y * W + x for c in range(C) for y in range(h)
                                for x in range(w)], RIGHT),
        (lambda C, R, W, h, w: np.arange(C * R * W).reshape(C, R, W)[:, :h, :w].ravel(), RIGHT),
        (lambda C, R, W, h, w: np.arange(C * h * w), "one row down"),
        (lambda C, R, W, h, w: np.arange(C * R * W).reshape(C, R, W)[:, :h, :w].T.ravel(), "order"),
    ],
    "13.speed_up": [
        (lambda s, f: f / (f - s * f + s), RIGHT),
        (lambda s, f: 1 - s + s * f, "cannot be averaged"),
        (lambda s, f: 1 - s + s / f, "the time that is left"),
        (lambda s, f: 4 / 3, "for a share of"),
    ],
    "13.best_block": [
        ((5, 5), RIGHT), ([5, 5], RIGHT), (np.array([5, 5]), RIGHT), ((8, 3), "it fits"),
        ((6, 5), "spill"), ((5.05, 5.05), "whole rows"), ((4, 6), "it fits"),
    ],
    "14.any_order": [
        (summed_exactly, RIGHT), (summed_as_whole_numbers, RIGHT),
        (summed_as_they_come, "different sums in six orders"),
        (summed_in_float64, "float64 rounds"),
        (summed_into_the_first, "a contribution has changed"),
        (lambda arrivals: np.zeros(500, np.float32), "not the sum"),
    ],
    "14.messages_in": [
        (messages_by_reading, RIGHT), (messages_of_big_endians, "you return"),
        (lambda pieces: (pieces, b""), "you return"),
        (lambda pieces: (messages_by_reading(pieces)[0], b""), "is lost"),
    ],
    "14.traffic": [
        (54_686_496, RIGHT), (54.7, RIGHT), (27_343_248, "one way only"), (18_228_832, "one site;"),
        (13_671_624, "four bytes"), (109_372_992, "float64"), (437_491_968, "in bits"),
    ],
    "14.ready": [
        (ready_by_counting, RIGHT), (lambda o, i, left: {n for n in o if i[n] == o[n]}, "You say"),
        (lambda o, i, left: {n for n in o if i[n] >= o[n] - left}, "You say"),
        (lambda o, i, left: set(o), "You say"), (lambda o, i, left: "a.head", "You say"),
    ],
    "14.choose": [
        (choose_by_crc, RIGHT), (choose_with_salt, "differs from process to process"),
        (choose_by_sum, "every letter of the name"), (choose_by_memory, "remembers how often"),
        (lambda t, i, n, b: np.arange(b), "two tasks get the same"),
        (lambda t, i, n, b: np.random.default_rng(i).integers(0, n, b), "twice"),
    ],
    "15.paired_gain": [
        (gain_by_statistics, RIGHT), (lambda a, b: gain_by_statistics(b, a), "the sign"),
        (lambda a, b: (np.mean(b) - np.mean(a), np.std(np.subtract(b, a), ddof=1)), "the spread"),
        (lambda a, b: (np.mean(b) - np.mean(a), np.std(np.subtract(b, a)) / 7**0.5), "n - 1"),
        (lambda a, b: (np.mean(b) - np.mean(a), 0.3), "the mean is right"),
    ],
    "15.fair_decay": [
        (decay_by_owners, RIGHT),
        (lambda r, a, s: {t: dict.fromkeys(r[t], s) for t in r}, "you return"),
        (lambda r, a, s: {t: dict.fromkeys(r[t], s / a[t]) for t in r}, "shrinks once for each"),
        (lambda r, a, s: {t: dict.fromkeys(r[t], s / a[t] / len(r)) for t in r}, "not by all"),
    ],
    "15.change": [
        (-0.1, RIGHT), (0.1, "v is subtracted"), (-0.3, "task 1 alone"), (0.2, "task 2 alone"),
        (1.7, "not added as they are"), (-0.5, "the sign of the second"), (0, "v = alpha_1"),
    ],
    "15.project": [
        (lambda g, h: g - min(0, g @ h) * h / (h @ h), RIGHT),
        (lambda g, h: g - np.minimum(0, g @ h) * np.linalg.pinv(h[None])[:, 0], RIGHT),
        (lambda g, h: g - (g @ h) / (h @ h) * h, "do not fight"),
        (lambda g, h: g - min(0, g @ h) * h / np.linalg.norm(h), "squared length"),
        (lambda g, h: g, "should leave"),
        (lambda g, h: g + min(0, g @ h) * h / (h @ h), "turned round"),
    ],
    "15.letters": [
        ("abc", RIGHT), ("ABC", RIGHT), ("c, b, a", RIGHT), ("ab", "Of 20 draws"),
        ("ac", "a lucky one"), ("bc", "cannot tell"), ("abcd", "no reason"),
    ],
    "16.short_side": [
        (lambda w, h, o, least: -(-least * min(w, h) // (32 * o)) * 32, RIGHT),
        (lambda w, h, o, least: next(s for s in range(0, 10**5, 32) if s * o >= least * min(w, h)),
         RIGHT),
        (lambda w, h, o, least: least * min(w, h) / o, "not yet a multiple"),
        (lambda w, h, o, least: round(least * min(w, h) / o / 32) * 32, "to the nearest"),
        (lambda w, h, o, least: int(least * min(w, h) / o) // 32 * 32, "you round down"),
        (lambda w, h, o, least: -(-least * max(w, h) // (32 * o)) * 32, "the longer one"),
        (lambda w, h, o, least: -(-least * h // (32 * o)) * 32, "need not be the height"),
        (lambda w, h, o, least: (least * min(w, h) // (32 * o) + 1) * 32, "is large enough"),
        (lambda w, h, o, least: -(-o * min(w, h) // (32 * least)) * 32, "stands on its head"),
        (lambda w, h, o, least: 480, "you return 480"), (lambda w, h, o, least: w, "you return"),
    ],
    "16.how_many": [
        (shown_by_price, RIGHT),
        (lambda r, n, m, i: np.argmin(np.cumsum([m * n, *(-m if x else i for x in r)])), RIGHT),
        (lambda r, n, m, i: len(list(itertools.takewhile(bool, r))), "before the first wrong"),
        (lambda r, n, m, i: shown_by_price(r, n, i, m), "exchanged"),
        (lambda r, n, m, i: shown_by_price(r, n, 1, 1), "the prices are not used"),
        (lambda r, n, m, i: min(cost_of(r, n, m, i, k) for k in range(len(r) + 1)), "it costs"),
        (lambda r, n, m, i: max(range(len(r) + 1), key=lambda k: (-cost_of(r, n, m, i, k), k)),
         "the fewest are wanted"),
        (one_at_least, "to show nothing"),
        (lambda r, n, m, i: sum(r), "you return"), (lambda r, n, m, i: len(r), "you return"),
    ],
    "16.count_errors": [
        (lambda c, t: (statistics.mean(c) - statistics.mean(t),
                       statistics.mean(abs(a - b) for a, b in zip(c, t, strict=True))), RIGHT),
        (lambda c, t: [np.subtract(c, t).mean(), np.abs(np.subtract(t, c)).mean()], RIGHT),
        (lambda c, t: (np.subtract(t, c).mean(), np.abs(np.subtract(t, c)).mean()), "the sign"),
        (lambda c, t: (np.subtract(c, t).mean(), abs(np.subtract(c, t).mean())), "have cancelled"),
        (lambda c, t: (np.subtract(c, t).mean(),) * 2, "do not cancel there"),
        (lambda c, t: (np.subtract(c, t).mean(), np.std(np.subtract(c, t))), "you return"),
        (lambda c, t: (np.subtract(c, t).mean(), np.linalg.norm(np.subtract(c, t)) / len(t) ** 0.5),
         "root of mean squares"),
        (lambda c, t: (np.subtract(c, t).sum(), np.abs(np.subtract(c, t)).sum()), "are sums"),
        (lambda c, t: (np.abs(np.subtract(c, t)).mean(), np.subtract(c, t).mean()), "exchanged"),
        (lambda c, t: np.subtract(c, t), "you return"), (lambda c, t: (c, t), "you return"),
    ],
}  # fmt: skip
