"""The exercises of chapter 04, Depthwise, pointwise and the cost of memory."""

from __future__ import annotations

import math

import numpy as np

from exercises.exercise import Exercise, Wrong
from exercises.watching import watch

# 1. Multiply-adds


def _count_reference(c1, c2, h, w, kernel, stride, groups):
    out_h, out_w = -(-h // stride), -(-w // stride)
    return out_h * out_w * c2 * (c1 // groups) * kernel * kernel


def _count_mistakes(c1, c2, h, w, kernel, stride, groups):
    out = -(-h // stride) * -(-w // stride)
    per_pixel = c2 * c1 // groups * kernel * kernel
    yield h * w * per_pixel, "you count a window for every pixel of the input. The stride skips."
    yield (
        h * w * per_pixel / stride,
        "the stride skips rows and columns: the outputs are fewer by its square.",
    )
    yield out * c1 * c2 * kernel**2, "you ignore the groups: an output sees c1 / groups channels."
    yield (
        out * (c1 // groups) * (c2 // groups) * kernel**2,
        "you divide by the groups twice. That is the count of one group.",
    )
    yield out * per_pixel / kernel, "a kernel has kernel x kernel taps."
    yield 2 * out * per_pixel, "a multiplication and its addition count as one, as in the thesis."
    yield (
        (h // stride) * (w // stride) * per_pixel,
        "the output's size is rounded up: 7 pixels with stride 2 make 4.",
    )
    yield h * w * per_pixel / stride**2, "the output's size is rounded up to whole pixels."
    yield per_pixel, "those are the weights: each is used once for every output pixel."


def _check_count(answer):
    cases = [
        (3, 24, 224, 224, 3, 2, 1), (24, 58, 56, 56, 1, 1, 1), (58, 58, 56, 56, 3, 2, 58),
        (240, 60, 28, 28, 1, 1, 3), (12, 6, 7, 9, 3, 2, 3), (8, 8, 5, 5, 5, 1, 2),
    ]  # fmt: skip
    given = [answer(*case) for case in cases]
    right = [_count_reference(*case) for case in cases]
    if not all(isinstance(count, int | float | np.number) for count in given):
        raise Wrong("return a number.")
    if list(given) == right:
        return
    for mistake in zip(*(_count_mistakes(*case) for case in cases), strict=True):
        # A mistake shows only in some cases; it must explain all of them.
        if all(math.isclose(a, b) for a, (b, _) in zip(given, mistake, strict=True)):
            raise Wrong(mistake[0][1])
    case, count, wanted = next(
        row for row in zip(cases, given, right, strict=True) if row[1] != row[2]
    )
    raise Wrong(
        f"for c1, c2, h, w, kernel, stride, groups = {case} you return {count:,}; it is {wanted:,}."
    )


count = Exercise(
    "count",
    check=_check_count,
    hints=(
        "How many numbers does the output hold, and over how many products does each one sum?",
        "The output is -(-h // stride) x -(-w // stride) pixels (rounded up) of c2 channels.",
        "Each output number sums over c1 / groups channels and kernel x kernel taps.",
    ),
    reference=_count_reference,
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


# 4. Equation 3-1


def _excess_reference(c1, c2, h, w):
    C = h * w * c1 * c2
    return (h * w * (c1 + c2) + c1 * c2) / (2.0 * math.sqrt(h * w * C) + C / (h * w))


def _check_excess(answer):
    cases = [(24, 144, 56, 56), (64, 64, 28, 28), (320, 1280, 7, 7), (10, 1000, 1, 1)]
    given = np.array([float(answer(*case)) for case in cases])
    right = np.array([_excess_reference(*case) for case in cases])
    if np.allclose(given, right):
        return
    c1, c2, h, w = np.array(cases, float).T
    pixels = h * w
    access = pixels * (c1 + c2) + c1 * c2
    mistakes = {
        "you forgot the weights, c1 c2: they have to be moved as well.": (c1 + c2)
        / (2 * np.sqrt(c1 * c2)),
        "that is the fraction turned round: the least over the actual.": 1 / right,
        "that is the memory access itself; divide by the least.": access,
        "that is the least memory access; it belongs below the actual one.": access / right,
        "in the bound, C is h w c1 c2, all multiply-adds, not c1 c2.": access
        / (2 * np.sqrt(pixels * c1 * c2) + c1 * c2 / pixels),
        "the weights are missing above the line: h w (c1 + c2) + c1 c2.": pixels
        * (c1 + c2)
        / (access / right),
        "the best layer has the same product c1 c2, not the same sum c1 + c2.": access
        / (pixels * (c1 + c2) + ((c1 + c2) / 2) ** 2),
    }
    for reason, mistake in mistakes.items():
        if np.allclose(given, mistake):
            raise Wrong(reason)
    worst = int(np.argmax(np.abs(given / right - 1)))
    raise Wrong(
        f"for c1, c2, h, w = {cases[worst]} you return {given[worst]:.4g}; it is "
        f"{right[worst]:.4g}. With c1 = c2 it must be exactly 1."
    )


excess = Exercise(
    "excess",
    check=_check_excess,
    hints=(
        "Equation 3-1 has both: the memory access on its left side, the least on its right.",
        "C is the number of multiply-adds, h w c1 c2; the bound is 2 sqrt(h w C) + C / (h w).",
    ),
    reference=_excess_reference,
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
