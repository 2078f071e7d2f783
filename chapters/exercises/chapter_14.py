"""The exercises of chapter 14, a parameter server in 100 lines."""

import itertools
import math
from dataclasses import dataclass
from unittest import mock

import numpy as np

from exercises.cases import FunctionExercise
from exercises.exercise import Exercise, Wrong
from exercises.hunt import Hunt

# 1


def _any_order(arrivals):
    # Sorted by value, number by number: whoever came first is then no longer to be seen.
    return np.sort(np.stack(list(arrivals)), axis=0).sum(axis=0, dtype=np.float32)


def _check_any_order(answer):
    rng = np.random.default_rng(0)
    ordinary = rng.standard_normal((3, 500)).astype(np.float32)
    exact = np.array([math.fsum(column) for column in ordinary.T.tolist()])
    total = np.asarray(answer(iter(ordinary.copy())))
    if total.shape != (500,):
        raise Wrong(f"the sum of arrays of shape (500,) has that shape, yours has {total.shape}.")
    if not np.allclose(total, exact, atol=1e-4):
        raise Wrong("this is not the sum of all contributions.")
    if total.dtype != np.float32:
        raise Wrong(f"the sum has to be float32, yours is {total.dtype}.")
    unequal = np.float32([[1000.0, 1000.0], [3e-14, 1e-4], [-1000.0, -999.0]])
    for what, arrays in (("ordinary numbers", ordinary), ("1000, 3e-14 and -1000", unequal)):
        answers = set()
        for order in itertools.permutations(arrays):
            given = [array.copy() for array in order]
            answers.add(np.asarray(answer(iter(given))).tobytes())
            if any(a.tobytes() != b.tobytes() for a, b in zip(given, order, strict=True)):
                raise Wrong("a contribution has changed: += writes into the caller's array.")
        if len(answers) > 1 and what == "ordinary numbers":
            raise Wrong(
                f"of {what} your function makes {len(answers)} different sums in six orders. A sum "
                "that goes through them as they come depends on how they come."
            )
        if len(answers) > 1:
            raise Wrong(
                f"of {what} your function makes {len(answers)} different sums. More digits make it "
                "rarer that the order matters, but float64 rounds, too."
            )


any_order = Exercise(
    "any_order",
    check=_check_any_order,
    hints=(
        "Without names there is no alphabet. What else is the same, whatever came first?",
        "The numbers themselves: put the values of each element in order before adding. (Or add "
        "without any rounding: math.fsum; or whole numbers, which know no rounding.)",
        "np.sort(np.stack(list(arrivals)), axis=0), and add from the first row to the last.",
    ),
    reference=_any_order,
)


# 2


def _messages_in(pieces):
    data, messages = b"".join(pieces), []
    while len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[:4], "little"):
        end = 4 + int.from_bytes(data[:4], "little")
        messages.append(data[4:end])
        data = data[end:]
    return messages, data


def _framed(*texts):
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def _lazily(start):
    """A mistake: whole messages alone, from the first piece on, or piece by piece."""

    def answer(pieces):
        found = [_messages_in([piece]) for piece in pieces]
        messages = [message for some, _ in found for message in some]
        return messages, (found[-1][1] if found and start == "rest" else b"")

    return answer


_LONG = _framed(b"hello", b"", b"world" * 60)
messages_in = FunctionExercise(
    "messages_in",
    reference=_messages_in,
    cases=[
        ([],),
        ([_framed(b"hi")],),
        ([_framed(b"hi", b"ho")],),
        ([_framed(b"hi")[:3]],),
        ([_LONG[:2], _LONG[2:9], _LONG[9:40], _LONG[40:]],),
        ([_LONG[i : i + 1] for i in range(len(_LONG) - 3)],),
        ([_framed(b""), _framed(b"hi")[:5]],),
    ],
    mistakes={
        "a message is not a piece: it may begin in one and end in another.": _lazily("rest"),
        "a message is not a piece: what is left of one piece belongs to the next.": _lazily(""),
        "what is left at the end is lost: it is the beginning of the next message.": (
            lambda pieces: (_messages_in(pieces)[0], b"")
        ),
        "you stop after the first message; one piece may hold several.": lambda pieces: (
            _messages_in(pieces)[0][:1],
            b"".join(pieces)[4 + len(_messages_in(pieces)[0][0]) :]
            if _messages_in(pieces)[0]
            else b"".join(pieces),
        ),
        "a message of no bytes is a message, too.": lambda pieces: (
            [message for message in _messages_in(pieces)[0] if message],
            _messages_in(pieces)[1],
        ),
        "the four bytes of the length are not part of the message.": lambda pieces: (
            [_framed(message) for message in _messages_in(pieces)[0]],
            _messages_in(pieces)[1],
        ),
    },
    hints=(
        "Put all bytes one after another; where they were cut means nothing.",
        "As long as there are four bytes, and as many behind them as they say, there is a message.",
        "int.from_bytes(data[:4], 'little') is the length. What is left at the end is the rest.",
    ),
)


# 3

_PARAMETERS = 2_278_604
_TRAFFIC = 3 * 2 * 4 * _PARAMETERS


def _check_traffic(answer):
    if answer == _TRAFFIC:
        return f"Right: {_TRAFFIC / 1e6:.0f} MB, one third of it for each site."
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


# Bug hunt


@dataclass
class _Wire:
    """A connection on which these bytes arrive, at most so many at once."""

    bytes_left: bytes
    at_once: int

    def recv(self, count):
        piece = self.bytes_left[: min(count, self.at_once)]
        self.bytes_left = self.bytes_left[len(piece) :]
        return piece


hunt = Hunt(
    '''
def read_message(connection):
    """Four bytes of length, lowest first, then so many; what follows is the next message's."""

    def exactly(count):
        data = b""
        while len(data) < count:
            piece = connection.recv(count)
            if not piece:
                raise ConnectionError("the other side has hung up")
            data += piece
        return data

    return exactly(int.from_bytes(exactly(4), "little"))
''',
    mend=("connection.recv(count)", "connection.recv(count - len(data))"),
    tests={
        "all at once": (_Wire(b"\x05\0\0\0hello", 100),),
        "two messages": (_Wire(b"\x02\0\0\0hi\x01\0\0\0!", 100),),
        "one byte at a time": (_Wire(b"\x01\0\0\0!", 1),),
        "three bytes at a time": (_Wire(b"\x02\0\0\0hi\x02\0\0\0ho", 3),),
    },
    hints=(
        "Four bytes are wanted and three have come. How many does the next recv ask for?",
        "Ask only for what is missing: more may be the next message's.",
    ),
)
