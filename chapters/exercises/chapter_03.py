"""The exercises of chapter 03, Convolution, five ways."""

from __future__ import annotations

import numpy as np

from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt
from exercises.watching import watch

# 1. The size of the output


def _size_reference(length, kernel_size, stride, padding, dilation):
    return (length + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1


def _size_mistakes(length, k, stride, padding, dilation):
    full = length + 2 * padding
    yield (
        (full - k) // stride + 1,
        "you ignore the dilation: k taps that stand d apart cover d (k - 1) + 1 pixels.",
    )
    yield (
        (full - dilation * k) // stride + 1,
        "k taps have k - 1 gaps between them: they cover d (k - 1) + 1 pixels, not d k.",
    )
    yield (
        (full - dilation * (k - 1) - 1) // stride,
        "you count the moves of the window. There is one place more than there are moves.",
    )
    yield (
        (full - dilation * (k - 1) - 1) / stride + 1,
        "there are no half places: a window that does not fit any more is left out (//).",
    )
    yield (
        (length + padding - dilation * (k - 1) - 1) // stride + 1,
        "the padding is added on both sides.",
    )
    yield (
        (full - dilation * (k - 1)) // stride + 1,
        "one too many: d (k - 1) is the distance from the first to the last tap, and the last "
        "tap itself takes a pixel as well.",
    )
    yield (
        -(-full // stride),
        "the window has a width: it can not stand on every pixel.",
    )


def _check_size(answer):
    cases = [
        (7, 3, 1, 0, 1), (7, 3, 1, 1, 1), (7, 3, 2, 1, 1), (8, 3, 2, 1, 1),
        (10, 3, 1, 2, 2), (16, 5, 3, 2, 1), (9, 1, 1, 0, 1), (224, 7, 2, 3, 1), (20, 3, 2, 1, 3),
    ]  # fmt: skip
    given = [answer(*case) for case in cases]
    if not all(isinstance(size, int | float | np.number) for size in given):
        raise Wrong("return a number.")
    for case, size in zip(cases, given, strict=True):
        if size != _size_reference(*case):
            _explain_size(cases, given)
            raise Wrong(
                f"for length, kernel, stride, padding, dilation = {case} you return {size}; "
                f"it is {_size_reference(*case)}."
            )


def _explain_size(cases, given):
    """Raise the reason whose formula gives all of the answers given."""
    mistakes = zip(*(_size_mistakes(*case) for case in cases), strict=True)
    for mistake in mistakes:
        if all(np.isclose(size, wrong) for size, (wrong, _) in zip(given, mistake, strict=True)):
            raise Wrong(mistake[0][1])


size = Exercise(
    "size",
    check=_check_size,
    hints=(
        "How many pixels does the kernel cover, from its first tap to its last?",
        "It covers dilation * (kernel_size - 1) + 1. The padded image has length + 2 * padding.",
        "The window has room to move by the difference of the two, in steps of stride; and it "
        "also stands at the start.",
    ),
    reference=_size_reference,
)


# 2. The price of the copy


def _check_price(answer):
    if callable(answer) or np.ndim(answer) != 0:
        raise Wrong("the answer is a single number.")
    reasons = {
        9.0: "that is the price with stride 1. With stride 2 there are fewer windows.",
        4.5: "stride 2 halves the number of windows in both directions.",
        27.0: "27 is the height of the matrix. How many columns has it, and how many numbers the "
        "image?",
        0.25: "that is the number of windows per pixel. How many numbers does each window hold?",
        112.0 * 112 * 27: "that is the number of numbers in the matrix: divide by the image's.",
        6.75: "divide by all numbers of the image, channels included.",
    }
    if not np.isclose(answer, 2.25, atol=0.005):
        raise Wrong(
            reasons.get(
                float(answer),
                "the matrix is (C KH KW) high and (OH OW) wide; the image is C times H W.",
            )
        )
    return "Right: each pixel is copied into 9 / 4 windows on average."


price_of_the_copy = Exercise(
    "price_of_the_copy",
    check=_check_price,
    hints=(
        "The matrix has one column for each output pixel. How many output pixels are there?",
        "112 x 112 columns of 3 x 3 x 3 numbers, and an image of 3 x 224 x 224.",
    ),
    reference=(27 * 112 * 112) / (3 * 224 * 224),
)


# 3. Turned weights


def _turn_reference(weight):
    return weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]


def _check_turn(answer):
    weight = np.random.default_rng(3).standard_normal((4, 3, 3, 2))
    given = np.asarray(answer(weight))
    right = _turn_reference(weight)
    if given.shape == right.shape and np.allclose(given, right):
        square = np.random.default_rng(4).standard_normal((3, 3, 5, 5))
        if not np.allclose(answer(square), _turn_reference(square)):
            raise Wrong("right for this shape, but not for a weight (3, 3, 5, 5).")
        return
    mistakes = [
        (weight, "that is the weight itself."),
        (weight[:, :, ::-1, ::-1], "the taps are turned, but the channel axes are not exchanged."),
        (weight.transpose(1, 0, 2, 3), "the channels are exchanged, but the taps are not turned."),
        (weight.T[::-1, ::-1], "you transposed all axes."),
        (
            weight.transpose(1, 0, 2, 3)[:, :, ::-1],
            "the taps are turned upside down, but not left to right: 180 degrees are both.",
        ),
        (
            weight.transpose(1, 0, 2, 3)[..., ::-1],
            "the taps are turned left to right, but not upside down: 180 degrees are both.",
        ),
        (
            weight.transpose(1, 0, 3, 2),
            "the taps are transposed, which is a mirror along the diagonal; turn them instead.",
        ),
        (
            weight[::-1, ::-1, ::-1, ::-1].transpose(1, 0, 2, 3),
            "the order of the channels is reversed too; only the taps should be.",
        ),
    ]
    for mistake, reason in mistakes:
        if given.shape == mistake.shape and np.allclose(given, mistake):
            raise Wrong(reason)
    if given.shape != right.shape:
        raise Wrong(
            f"a weight {weight.shape} becomes {given.shape}. The gradient has {weight.shape[0]} "
            f"channels and x has {weight.shape[1]}, so it should become {right.shape}."
        )
    raise Wrong("the shape is right, but the numbers are in other places.")


turn = Exercise(
    "turn",
    check=_check_turn,
    hints=(
        "The new convolution goes from OC channels to C: what shape must its weight have?",
        "Exchange the first two axes, then reverse the last two: a slice with step -1 does that.",
    ),
    reference=_turn_reference,
    keeps="turn",
)


# 4. Who owns what


def _check_owners(answer):
    if not isinstance(answer, str):
        raise Wrong("the answer is a string of letters.")
    letters = set(answer) - set(" ,")
    if letters - set("noijcuv"):
        raise Wrong("the letters are n, o, i, j, c, u and v.")
    reasons = {
        "o": "every output channel o writes to all pixels of x: two threads with different o meet.",
        "i": "windows overlap: the rows of x under outputs i and i + 1 are partly the same.",
        "j": "windows overlap: the columns of x under outputs j and j + 1 are partly the same.",
        "u": "pixel i + u is reached with different u from different i: two threads meet there.",
        "v": "pixel j + v is reached with different v from different j: two threads meet there.",
    }
    for letter, reason in reasons.items():
        if letter in letters:
            raise Wrong(f"not {letter}: {reason}")
    missing = {"n", "c"} - letters
    if missing:
        raise Wrong(
            "what you name is safe, but something is missing. Look at the indices of the number "
            "that is written: which loops does it take over unchanged?"
        )


owners = Exercise(
    "owners",
    check=_check_owners,
    hints=(
        "Two turns of a loop are safe if they never write to the same place. The place is "
        "grad_x[n, c, i + u, j + v].",
        "An index that stands alone in the place is safe: different values, different places.",
    ),
    reference="nc",
)


# 5. One axis


def _one_axis_reference(grad, x, w, stride):
    OL, K = len(grad), len(w)
    grad_x, grad_w = np.zeros_like(x), np.zeros_like(w)
    for u in range(K):
        seen = slice(u, u + (OL - 1) * stride + 1, stride)
        grad_x[seen] += grad * w[u]
        grad_w[u] = (grad * x[seen]).sum()
    return grad_x, grad_w


def _check_one_axis(answer):
    rng = np.random.default_rng(5)
    for length, K, stride in ((8, 3, 1), (9, 3, 2), (10, 3, 2), (11, 2, 3), (5, 5, 1)):
        OL = (length - K) // stride + 1
        grad, x, w = (rng.standard_normal(n) for n in (OL, length, K))
        copies = grad.copy(), x.copy(), w.copy()
        given = answer(*copies, stride)
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise Wrong("return a pair: the gradients in x and in w.")
        for array, before, name in zip(copies, (grad, x, w), ("grad", "x", "w"), strict=True):
            if not np.array_equal(array, before):
                raise Wrong(f"your function writes into {name}, which it was only lent.")
        grad_x, grad_w = (np.asarray(array) for array in given)
        where = f"for x ({length},), w ({K},), stride {stride}"
        right_x, right_w = _one_axis_reference(grad, x, w, stride)
        if grad_x.shape != x.shape:
            rest = " Pixels that no window saw get a 0." if stride > 1 else ""
            raise Wrong(f"{where} the gradient in x has shape {grad_x.shape}.{rest}")
        if grad_w.shape != w.shape:
            raise Wrong(f"{where} the gradient in w has shape {grad_w.shape}.")
        if not np.allclose(grad_x, right_x):
            _explain_one_axis(where, grad_x, grad, x, w, stride)
        if not np.allclose(grad_w, right_w):
            flipped = " It is reversed." if np.allclose(grad_w, right_w[::-1]) else ""
            raise Wrong(f"{where} the gradient in x is right, the one in w is not.{flipped}")
    many = 20_000
    _, instructions, _ = watch(answer, np.ones(many), np.ones(many + 1), np.ones(2), 1)
    if instructions > many:
        raise Wrong(
            f"right, but for {many:,} outputs Python takes {instructions:,} instructions: a loop "
            "over the outputs, hidden or not. Loop over the taps, and let slices do the rest."
        )


def _explain_one_axis(where, given, grad, x, w, stride):
    turned, _ = _one_axis_reference(grad, x, w[::-1], stride)
    last = np.zeros_like(x)
    for u in range(len(w)):
        last[u : u + (len(grad) - 1) * stride + 1 : stride] = grad * w[u]
    if np.allclose(given, turned):
        raise Wrong(
            f"{where} the taps of w are turned once too often. If you add up tap by tap, each tap "
            "goes back to where it looked; turning belongs to asking from the pixel's side."
        )
    if np.allclose(given, last):
        raise Wrong(
            f"{where} a pixel that several windows saw keeps only what came last: add (+=)."
        )
    raise Wrong(f"{where} the gradient in x is wrong.")


one_axis = Exercise(
    "one_axis",
    check=_check_one_axis,
    hints=(
        "Tap u sees the pixels u, u + stride, u + 2 stride, ...: a slice of x with OL elements.",
        "That slice is x[u : u + (OL - 1) * stride + 1 : stride].",
        "For each tap: to the same slice of grad_x add grad * w[u], and grad_w[u] is the sum of "
        "grad times the slice.",
    ),
    reference=_one_axis_reference,
)


# Bug hunt

hunt = Hunt(
    '''
def grad_of_image(grad, weight, stride, padding, H, W):
    """One channel: grad (OH, OW), weight (KH, KW) -> the gradient in the image (H, W)."""
    (OH, OW), (KH, KW) = grad.shape, weight.shape
    padded = np.zeros((H + 2 * padding, W + 2 * padding))
    for u, v in np.ndindex(KH, KW):
        rows = slice(u, u + (OH - 1) * stride + 1, stride)
        columns = slice(v, v + (OW - 1) * stride + 1, stride)
        padded[rows, columns] += weight[u, v] * grad
    return padded[padding:-padding, padding:-padding]
''',
    mend=(
        "padded[padding:-padding, padding:-padding]",
        "padded[padding : padding + H, padding : padding + W]",
    ),
    tests={
        "padding 1": (np.arange(12.0).reshape(3, 4), np.arange(9.0).reshape(3, 3), 1, 1, 3, 4),
        "padding 2, stride 2": (np.ones((3, 3)), np.arange(25.0).reshape(5, 5), 2, 2, 5, 6),
        "no padding": (np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]]), 1, 0, 1, 3),
    },
    hints=(
        "What does the slice in the last line take if padding is 0?",
        "-0 is 0, so 0:-0 is empty. Say where the slice ends without counting from the end.",
    ),
)
