"""The exercises of chapter 04, Depthwise, pointwise and the cost of memory."""

from __future__ import annotations

import math

import numpy as np

from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt
from exercises.watching import watch

# 1. When is it worth it?


def _channels_for(factor, kernel):
    taps, c = kernel * kernel, 1
    if factor >= taps:
        return math.inf
    while taps * c < factor * (taps + c):
        c += 1
    return c


channels_for = FunctionExercise(
    "channels_for",
    reference=_channels_for,
    cases=[(8, 3), (4.5, 3), (8.5, 3), (1, 3), (7, 3), (9, 3), (20, 5), (25, 5), (30, 5)],
    mistakes={
        "nearly: so many do not quite reach the factor. Round up.": (
            lambda f, k: math.inf if f >= k * k else int(f * k * k / (k * k - f))
        ),
        "nearly: where the division leaves no rest, that is one too many.": (
            lambda f, k: math.inf if f >= k * k else int(f * k * k / (k * k - f)) + 1
        ),
        "that is in depthwise multiply-adds alone; pointwise is most of the pair's work.": (
            lambda f, k: math.ceil(f)
        ),
        "that is against the pointwise convolution alone, k k times its work whatever c is.": (
            lambda f, k: 1 if f <= k * k else math.inf
        ),
        "the window has kernel x kernel taps.": lambda f, k: _channels_for(f, math.sqrt(k)),
    },
    hints=(
        "For each pixel an ordinary convolution has k k c c multiply-adds, depthwise k k c, "
        "pointwise c c.",
        "Ordinary over pair is k k c / (k k + c). What does that become when c grows without end?",
        "k k c >= factor (k k + c). If factor >= k k no c is large enough; else solve for c, or "
        "try 1, 2, 3, ...",
    ),
)


# 2. The ceiling of depthwise


def _check_ceiling(answer):
    if callable(answer) or np.ndim(answer) != 0:
        raise Wrong("the answer is a single number.")
    reasons = {
        9.0: "nine multiply-adds for each number read, but each number is also written.",
        1.0: "count again: nine multiply-adds for every pixel of every channel.",
        3.0: "the kernel is 3 x 3.",
        2.25: "that is one too many: a number is read once and written once.",
        2.0: "that is how many numbers are moved for each pixel. How many multiply-adds?",
    }
    if not np.isclose(answer, 4.5):
        raise Wrong(
            reasons.get(
                float(answer),
                "for each pixel of each channel: count the multiply-adds, and the numbers read and "
                "written. The weights do not matter once the map is large.",
            )
        )
    return "Right: nine multiply-adds for one number read and one written."


ceiling = Exercise(
    "ceiling",
    check=_check_ceiling,
    hints=(
        "Multiply-adds: 9 h w c. Numbers moved: h w c read, h w c written, 9 c weights.",
        "Let h w become very large: what is left of 9 h w c / (2 h w c + 9 c)?",
    ),
    reference=9.0 / 2.0,
)


# 3. Depthwise with a stride


def _depthwise_reference(x, weight, stride):
    N, C, H, W = x.shape
    OH, OW = (H - 1) // stride + 1, (W - 1) // stride + 1
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)])
    y = np.zeros((N, C, OH, OW), x.dtype)
    for u, v in np.ndindex(3, 3):
        seen = padded[:, :, u : u + (OH - 1) * stride + 1 : stride]
        y += weight[:, :, u, v, None] * seen[..., v : v + (OW - 1) * stride + 1 : stride]
    return y


def _check_depthwise(answer):
    rng = np.random.default_rng(4)
    for N, C, H, W, stride in ((2, 3, 6, 7, 1), (1, 4, 7, 7, 2), (2, 2, 8, 6, 2), (1, 3, 10, 8, 3)):
        x, weight = rng.standard_normal((N, C, H, W)), rng.standard_normal((C, 1, 3, 3))
        given, _, packages = watch(answer, x.copy(), weight.copy(), stride)
        if "nn" in packages:
            raise Wrong("that is the library's; write it on arrays, with a loop over nine taps.")
        given = np.asarray(given)
        right = _depthwise_reference(x, weight, stride)
        where = f"for x {x.shape} and stride {stride}"
        if given.shape != right.shape:
            if given.shape == (N, 1, *right.shape[2:]) or given.shape == (N, *right.shape[2:]):
                raise Wrong(f"{where} you add up the channels; each must stay by itself.")
            border = " Is there a border of zeros around x?" if given.size < right.size else ""
            raise Wrong(f"{where} you return {given.shape}, it should be {right.shape}.{border}")
        if np.allclose(given, right):
            continue
        mistakes = {
            "the kernel is turned by 180 degrees: tap (u, v) looks at row i + u.": weight[
                :, :, ::-1, ::-1
            ],
            "the kernel is transposed: u counts rows, v counts columns.": weight.swapaxes(2, 3),
            "every channel gets the first channel's kernel.": np.repeat(weight[:1], C, axis=0),
        }
        for reason, other in mistakes.items():
            if np.allclose(given, _depthwise_reference(x, other, stride)):
                raise Wrong(reason)
        if stride > 1 and given.shape == right.shape:
            raise Wrong(
                f"{where} the numbers are wrong, while stride 1 was right: output i looks at "
                "row i * stride + u of the padded x."
            )
        raise Wrong(f"{where} the shape is right, the numbers are not.")


depthwise = Exercise(
    "depthwise",
    check=_check_depthwise,
    hints=(
        "Start from conv_depthwise of section 1. OH is (H - 1) // stride + 1.",
        "Tap (u, v) of all outputs at once: a slice of the padded x that starts at (u, v) and "
        "takes every stride-th row and column.",
        "The slice of rows is u : u + (OH - 1) * stride + 1 : stride.",
    ),
    reference=_depthwise_reference,
    keeps="depthwise",
)


# 4. Equation 3-1, with a batch


def _excess(c1, c2, h, w, batch):
    pixels, weights = batch * h * w, c1 * c2
    return (pixels * (c1 + c2) + weights) / (2.0 * pixels * math.sqrt(weights) + weights)


excess = FunctionExercise(
    "excess",
    reference=_excess,
    cases=[
        (64, 64, 28, 28, 1),
        (24, 144, 56, 56, 1),
        (24, 144, 56, 56, 8),
        (320, 1280, 7, 7, 1),
        (320, 1280, 7, 7, 32),
        (10, 1000, 1, 1, 4),
    ],
    mistakes={
        "that is the ratio for a single image. The weights are read once for the whole batch, the "
        "maps once for each image.": lambda c1, c2, h, w, n: _excess(c1, c2, h, w, 1),
        "you read the weights again for each image. Once they are there, they serve all.": (
            lambda c1, c2, h, w, n: (
                (n * (h * w * (c1 + c2) + c1 * c2))
                / (2.0 * n * h * w * math.sqrt(c1 * c2) + c1 * c2)
            )
        ),
        "that is the fraction turned round: the least over the actual.": (
            lambda *case: 1 / _excess(*case)
        ),
        "you forgot the weights, c1 c2: they have to be moved as well.": (
            lambda c1, c2, h, w, n: (c1 + c2) / (2.0 * math.sqrt(c1 * c2))
        ),
        "that is the memory access itself; divide by the least.": (
            lambda c1, c2, h, w, n: n * h * w * (c1 + c2) + c1 * c2
        ),
        "the best layer has the same product c1 c2, not the same sum c1 + c2.": (
            lambda c1, c2, h, w, n: (
                (n * h * w * (c1 + c2) + c1 * c2) / (n * h * w * (c1 + c2) + ((c1 + c2) / 2) ** 2)
            )
        ),
    },
    hints=(
        "What is moved for a batch of n: which of the three terms of equation 3-1 is needed n "
        "times, and which once?",
        "n h w (c1 + c2) + c1 c2. The best layer with the same c1 c2 has both widths sqrt(c1 c2).",
    ),
    praise="Right. A batch is a larger map, and there unequal widths cost the most.",
)


# 5. A ReLU for nothing


def _check_relu(answer):
    if callable(answer) or np.ndim(answer) != 0:
        raise Wrong("the answer is a single number.")
    pixels, c = 28 * 28, 116
    map_size, weights = pixels * c, c * c
    reasons = {
        map_size / (4 * map_size + weights): "the ReLU reads and writes its map: both are saved.",
        0.5: "nearly. The convolution also reads its weights.",
        2 * map_size / (2 * map_size + weights): "that is saved over remaining. Asked for is "
        "the part of all that the two move.",
        1 - 2 * map_size / (4 * map_size + weights): "that is the fraction that remains.",
        0.0: "no multiply-adds are saved, but numbers moved are.",
        float(2 * map_size): "that is how many numbers are saved; divide by all numbers moved.",
    }
    right = 2 * map_size / (4 * map_size + weights)
    if 1.0 < answer <= 100.0 and np.isclose(answer / 100.0, right, atol=0.002):
        raise Wrong("right in percent; give it as a fraction between 0 and 1.")
    if not np.isclose(answer, right, atol=0.002):
        for wrong, reason in reasons.items():
            if np.isclose(answer, wrong, atol=0.002):
                raise Wrong(reason)
        raise Wrong(
            "the convolution moves h w (c1 + c2) + c1 c2 numbers, the ReLU after it 2 h w c2. "
            "Which of them disappear?"
        )
    return "Right: nearly half of everything that the two move."


relu_for_nothing = Exercise(
    "relu_for_nothing",
    check=_check_relu,
    hints=(
        "How many numbers does the convolution move (equation 3-1), and how many the ReLU?",
        "The ReLU reads and writes one map, 2 h w c. All of that disappears.",
    ),
    reference=(2 * 28 * 28 * 116) / (4 * 28 * 28 * 116 + 116 * 116),
)


# Bug hunt

hunt = Hunt(
    '''
def pointwise_in_groups(x, weight, groups):
    """x (C, P), weight (OC, C / groups) -> (OC, P); each group sees its own channels, in a row."""
    C, P = x.shape
    inputs = x.reshape(C // groups, groups, P).swapaxes(0, 1)
    weights = weight.reshape(groups, len(weight) // groups, C // groups)
    return (weights @ inputs).reshape(len(weight), P)
''',
    mend=("x.reshape(C // groups, groups, P).swapaxes(0, 1)", "x.reshape(groups, C // groups, P)"),
    tests={
        "one group": (np.arange(8.0).reshape(4, 2), np.arange(8.0).reshape(2, 4), 1),
        "as many groups as channels": (np.arange(8.0).reshape(4, 2), np.arange(4.0)[:, None], 4),
        "two groups of two": (np.arange(4.0)[:, None], np.array([[1.0, 10.0], [1.0, 10.0]]), 2),
    },
    hints=(
        "Of channels 0, 1, 2, 3 the first group is 0 and 1. Which two does it get here?",
        "Every second channel. Cut the axis into groups first, then into the channels of a group.",
    ),
)
