"""The exercises of chapter 14, a parameter server in 100 lines."""

import itertools
from unittest import mock

import numpy as np

from exercises.exercise import Exercise, Wrong

# 1


def _check_ordered_sum(answer):
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((3, 500)).astype(np.float32)
    given = dict(zip(("ant", "bee", "cat"), arrays, strict=True))
    expected = arrays[0] + arrays[1] + arrays[2]
    kept = {task: array.copy() for task, array in given.items()}
    total = np.asarray(answer(kept))
    if total.shape != (500,):
        raise Wrong(f"the sum of arrays of shape (500,) has that shape, yours has {total.shape}.")
    if not np.allclose(total, expected, atol=1e-5):
        raise Wrong("this is not the sum of all contributions.")
    if total.dtype != np.float32:
        raise Wrong(
            f"your sum is {total.dtype}. A sum in another precision is rounded elsewhere than "
            "the reference: stay in float32."
        )
    if any(kept[task].tobytes() != given[task].tobytes() for task in given):
        raise Wrong(
            "a contribution has changed: += on the first array writes into the caller's array. "
            "Add to a copy."
        )
    for order in itertools.permutations(given):
        total = answer({task: given[task].copy() for task in order})
        if total.tobytes() != expected.tobytes():
            raise Wrong(
                f"with the commits in the order {', '.join(order)} some bits differ. A dict keeps "
                "the order of arrival; the alphabet does not depend on it."
            )
    zeros = {task: np.float32([-0.0]) for task in given}
    if not np.signbit(answer(zeros)[0]):
        raise Wrong(
            "the sum of -0.0 and -0.0 is -0.0, yours is 0.0: you start from a zero, and "
            "0.0 + -0.0 is 0.0. Start from the first contribution."
        )
    lone = {"ant": arrays[0].copy()}
    if np.shares_memory(answer(lone), lone["ant"]):
        raise Wrong(
            "with a single task you return its own array, not a copy: whoever changes the sum "
            "later changes the contribution too."
        )


def _ordered_sum(contributions):
    first, *others = sorted(contributions)
    total = contributions[first].copy()
    for task in others:
        total += contributions[task]
    return total


ordered_sum = Exercise(
    "ordered_sum",
    check=_check_ordered_sum,
    hints=(
        "sorted(contributions) gives the tasks in the order in which they are to be added.",
        "Do not start from zeros: copy the contribution of the first task and add the others.",
    ),
    reference=_ordered_sum,
)

# 2


class _Stream:
    """Hands out its bytes in pieces of 1 to ``piece``, then b"" for ever."""

    def __init__(self, data, piece):
        self.data, self.piece, self.empty = data, piece, 0

    def __call__(self, count):
        if count <= 0:
            raise Wrong(f"you call recv({count}): there is nothing to wait for any more.")
        if not self.data:
            self.empty += 1
            if self.empty > 100:
                raise Wrong(
                    "your loop never ends when the other side hangs up: recv then returns b'' "
                    "at once, again and again."
                )
            return b""
        piece, self.data = self.data[: min(count, self.piece)], self.data[min(count, self.piece) :]
        return piece


def _check_receive_exactly(answer):
    message = bytes(range(100))
    for piece in (1000, 30, 1):
        stream = _Stream(message + b"next", piece)
        got = answer(stream, 100)
        if not isinstance(got, bytes | bytearray):
            raise Wrong(f"bytes are wanted, you return {type(got).__name__}.")
        if len(got) < 100:
            raise Wrong(
                f"100 bytes were asked for and they arrive in pieces of {piece}; you return only "
                f"{len(got)}. One recv is not enough: go on until you have them all."
            )
        if len(got) > 100:
            raise Wrong(
                f"you return {len(got)} bytes instead of 100: the last piece belongs to the next "
                "message. Never ask for more than what is still missing."
            )
        if bytes(got) != message:
            raise Wrong("the bytes have changed on the way, or their order has.")
        if stream.data != b"next":
            raise Wrong(
                "you have read on into the next message, and those bytes are lost. Never ask for "
                "more than what is still missing."
            )
    try:
        got = answer(_Stream(message, 30), 150)
    except ConnectionError:
        return
    raise Wrong(
        "the other side hung up after 100 of 150 bytes, and you return as if nothing had happened: "
        "half a message would be taken for a whole one. Raise ConnectionError."
    )


def _receive_exactly(recv, count):
    data = bytearray()
    while len(data) < count:
        piece = recv(count - len(data))
        if not piece:
            raise ConnectionError("the other side has hung up")
        data += piece
    return bytes(data)


receive_exactly = Exercise(
    "receive_exactly",
    check=_check_receive_exactly,
    hints=(
        "A loop: as long as bytes are missing, ask for as many as are missing.",
        "b'' is the only sign of the end. Without a test for it the loop turns for ever.",
    ),
    reference=_receive_exactly,
)

# 3

_PARAMETERS = 2_278_604
_TRAFFIC = 3 * 2 * 4 * _PARAMETERS


def _check_traffic(answer):
    if answer == _TRAFFIC:
        return f"Right: {_TRAFFIC / 1e6:.0f} MB, and no site waits for less than its own share."
    reasons = {
        3 * 2 * _PARAMETERS: "that is the number of numbers; a float32 has four bytes.",
        3 * 4 * _PARAMETERS: "that is one way only: contributions come in, weights go out.",
        2 * 4 * _PARAMETERS: "that is one site; there are three.",
        4 * _PARAMETERS: "that is one site, one way.",
        3 * 2 * 8 * _PARAMETERS: "that would be float64; float32 has four bytes.",
        (3 + 1) * 4 * _PARAMETERS: "the server sends the new weights to each site separately.",
        3 * 2 * 32 * _PARAMETERS: "that is in bits.",
    }
    for wrong, why in reasons.items():
        if answer == wrong:
            raise Wrong(why)
    if abs(answer * 1e6 - _TRAFFIC) < 1e6:
        return "Right, in megabytes."
    raise Wrong("what does one site send, what does it get back, and how many sites are there?")


traffic = Exercise(
    "traffic",
    check=_check_traffic,
    hints=(
        "In an iteration every site sends its contribution and fetches the weights.",
        "sites x directions x bytes of a float32 x weights",
    ),
    reference=_TRAFFIC,
)

# 4


def _check_ready(answer):
    owners = {"body": {"a", "b"}, "a.head": {"a"}, "b.head": {"b"}, "c.net": {"c"}}
    cases = (
        # inbox of tasks by name, who has left, what may step, why it is not something else
        (
            {"body": {"a"}, "a.head": {"a"}, "b.head": set(), "c.net": set()}, set(), {"a.head"},
            "a has committed, b and c have not. The head of a belongs to a alone and steps; the "
            "body waits for b, and for nobody else.",
        ),
        (
            {"body": {"a", "b"}, "a.head": {"a"}, "b.head": {"b"}, "c.net": set()}, set(),
            {"body", "a.head", "b.head"},
            "a and b have committed. Their names do not wait for c, which owns none of them.",
        ),
        (
            {"body": {"a"}, "a.head": {"a"}, "b.head": set(), "c.net": set()}, {"b", "c"},
            {"body", "a.head"},
            "b has left, so the body waits for a alone, and a has committed. The names of b and c "
            "have no contribution: with nothing to add they stay as they are.",
        ),
        (
            {"body": {"b"}, "a.head": set(), "b.head": {"b"}, "c.net": set()}, {"b"}, {"b.head"},
            "b has committed and then left. What it sent counts, so its head steps; the body still "
            "waits for a.",
        ),
    )  # fmt: skip
    for inbox, left, expected, why in cases:
        got = answer({n: set(o) for n, o in owners.items()}, inbox, set(left))
        if isinstance(got, dict | str) or set(got) != expected:
            found = sorted(got) if not isinstance(got, str) else got
            raise Wrong(f"{why} You say {found}, it should be {sorted(expected)}.")


def _ready(owners, inbox, left):
    return {name for name in owners if inbox[name] and inbox[name] >= owners[name] - left}


ready = Exercise(
    "ready",
    check=_check_ready,
    hints=(
        "Those that a name waits for: owners[name] - left. Sets can be compared: a >= b says that "
        "all of b are in a.",
        "Nothing in the inbox is a case of its own: if all owners have left, nobody is waited for.",
    ),
    reference=_ready,
)

# 5


def _check_choose(answer):
    first = np.asarray(answer("sine", 3, 50, 8))
    if first.shape != (8,) or first.dtype.kind not in "iu":
        raise Wrong(f"8 integers are wanted, you return {first.shape} of {first.dtype}.")
    if first.min() < 0 or first.max() >= 50:
        raise Wrong("there are 50 pictures, numbers 0 to 49.")
    whole = np.sort(answer("sine", 4, 50, 50))
    if not np.array_equal(whole, np.arange(50)):
        raise Wrong("a picture is in the batch twice: draw without putting back.")
    np.random.seed(1)
    again = np.asarray(answer("sine", 3, 50, 8))
    np.random.seed(2)
    if not (np.array_equal(first, again) and np.array_equal(again, answer("sine", 3, 50, 8))):
        raise Wrong(
            "the same arguments gave two different batches: your numbers come from a generator "
            "that remembers how often it was asked. Make a new one, seeded by the arguments."
        )
    with mock.patch("builtins.hash", lambda value: len(repr(value))):  # another process's
        elsewhere = np.asarray(answer("sine", 3, 50, 8))
    if not np.array_equal(first, elsewhere):
        raise Wrong(
            "Python's hash() of a text differs from process to process, so the newcomer would draw "
            "other batches than the site it replaces. Turn the text into numbers yourself, for "
            "example list(task.encode())."
        )
    if np.array_equal(first, answer("bump", 3, 50, 8)):
        raise Wrong("two tasks get the same batch: the seed does not contain the task.")
    if np.array_equal(answer("enis", 3, 50, 8), first) or np.array_equal(
        answer("abcd", 3, 50, 8), answer("wxyz", 3, 50, 8)
    ):
        raise Wrong("two tasks get the same batch: let every letter of the name count, in order.")
    if np.array_equal(first, answer("sine", 4, 50, 8)):
        raise Wrong("iterations 3 and 4 get the same batch: the seed lacks the iteration.")
    batches = {tuple(answer("a" + "b" * k, t, 50, 8)) for k in range(5) for t in range(5)}
    if len(batches) < 25:
        raise Wrong(
            "different tasks and iterations share a batch, as when a seed is the sum of both: "
            "task 1, iteration 2 and task 2, iteration 1 must differ."
        )


def _choose(task, iteration, count, batch):
    rng = np.random.default_rng([iteration, *task.encode()])
    return rng.choice(count, batch, replace=False)


choose = Exercise(
    "choose",
    check=_check_choose,
    hints=(
        "np.random.default_rng takes a list of whole numbers as its seed.",
        "A text is made of numbers: list(task.encode()). Drawing without putting back: "
        "rng.choice(count, batch, replace=False), or the beginning of rng.permutation(count).",
    ),
    reference=_choose,
    keeps="choose",
)
