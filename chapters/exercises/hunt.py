"""A bug hunt: a function with one mistake is handed out; its tests say which of them caught it."""

from __future__ import annotations

import copy
import inspect
import linecache
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import CodeType

import numpy as np

from exercises.exercise import Exercise, Unanswered, Wrong
from exercises.watching import by_hand

SHOWN = 110  # letters: a longer result is shown where it goes wrong, and there alone


class Hunt(Exercise):
    """A function to mend.

    Args:
        handed_out: its text as the chapter hands it out, with the mistake; it may use NumPy.
        mend: a piece of that text, and what should stand in its place.
        tests: what each test tries -> the arguments. One at least catches the mistake.
        hints: as in ``Exercise``.

    Raises:
        ValueError: the piece is not in the text, or not just once.
    """

    def __init__(
        self,
        handed_out: str,
        mend: tuple[str, str],
        tests: Mapping[str, tuple],
        hints: Sequence[str],
    ):
        self.handed_out, self.tests = handed_out.strip("\n") + "\n", dict(tests)
        if self.handed_out.count(mend[0]) != 1:
            raise ValueError(f"{self.handed_out.count(mend[0])} times in the text: {mend[0]!r}")
        self._broken = _function(self.handed_out)
        super().__init__("hunt", self._try_all, hints, _function(self.handed_out.replace(*mend)))

    def _judge(self, answer: object) -> str:
        try:
            return super()._judge(answer)
        except Wrong as caught:
            if _same(getattr(answer, "__code__", None), self._broken.__code__):
                raise Unanswered(f"A mistake is still in it: {caught}") from None
            raise

    def _try_all(self, answer: object) -> str:
        if not callable(answer):
            raise Wrong(f"pass the function itself: {self.reference.__name__}, without calling it.")
        for what, arguments in self.tests.items():
            self._try(answer, what, arguments)
        return f"Right: all {len(self.tests)} tests pass."

    def _try(self, answer: Callable, what: str, arguments: tuple) -> None:
        """Raises ``Wrong`` unless result, and arguments afterwards, are as with the reference."""
        theirs, ours = copy.deepcopy(arguments), copy.deepcopy(arguments)
        right = self.reference(*ours)
        names = list(inspect.signature(self.reference).parameters)
        given = ", ".join(f"{n} = {show(a)}" for n, a in zip(names, arguments, strict=False))
        caught = f"the test “{what}” catches it. For {given}"
        try:
            result = by_hand(answer)(*theirs)
        except Wrong:
            raise
        except Exception as error:
            raise Wrong(f"{caught} it stops with {type(error).__name__}: {error}.") from error
        leaves = zip((f"it leaves {name} =" for name in names), theirs, ours, strict=False)
        for place, got, wanted in (("it returns", result, right), *leaves):
            difference = first_difference(got, wanted)
            if difference:
                raise Wrong(f"{caught} {place} {difference}.")


def _function(text: str) -> Callable:
    """The function of a text, whose source ``inspect`` finds like that of any other."""
    file = f"<a function to mend, {hash(text)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    names = {"np": np, "__name__": __name__}
    before = set(names)
    exec(compile(text, file, "exec"), names)
    (name,) = names.keys() - before - {"__builtins__"}
    return names[name]


def first_difference(got: object, wanted: object) -> str:
    """ "GOT, not WANTED", whole or at the first place where they differ; "" if they are equal."""
    place, mine, right = _differ(got, wanted)
    if place is None:
        return ""
    whole = f"{show(got)}, not {show(wanted)}"
    if place and (len(whole) > SHOWN or "an array (" in whole):
        return f"{show(mine)} at {place}, not {show(right)}"
    return whole


def _differ(got: object, wanted: object) -> tuple[str | None, object, object]:
    """The place of the first difference, None if there is none, and what is there in both."""
    if isinstance(wanted, np.ndarray):
        if np.shape(got) != wanted.shape:
            return "", got, wanted
        got = np.asarray(got)
        try:
            equal = np.isclose(got, wanted, equal_nan=True)
        except TypeError:  # no numbers
            equal = got == wanted
        if equal.all():
            return None, got, wanted
        place = np.unravel_index(np.argmin(equal), wanted.shape)
        return str(list(map(int, place))), got[place], wanted[place]
    if isinstance(wanted, (tuple, list, dict)):
        keys = list(wanted) if isinstance(wanted, dict) else range(len(wanted))
        kinds = dict if isinstance(wanted, dict) else (tuple, list, np.ndarray)
        if not isinstance(got, kinds) or len(got) != len(wanted):
            return "", got, wanted
        for key in keys:
            if isinstance(wanted, dict) and key not in got:
                return "", got, wanted
            place, mine, right = _differ(got[key], wanted[key])
            if place is not None:
                return f"[{key!r}]{place}", mine, right
        return None, got, wanted
    if isinstance(wanted, float) and isinstance(got, (int, float, np.number)):
        return (None if np.isclose(got, wanted, equal_nan=True) else ""), got, wanted
    if isinstance(wanted, (bytes, str)):
        return (None if got == wanted else ""), got, wanted
    return (None if np.array_equal(got, wanted) else ""), got, wanted


def show(value: object) -> str:
    """A value in one line, arrays with four digits, large ones by their shape alone."""
    if isinstance(value, np.ndarray):
        if value.size > 24:
            return f"an array {value.shape}"
        text = np.array2string(value, precision=4, separator=", ", suppress_small=True)
    elif isinstance(value, (float, np.floating)):
        text = f"{value:.4g}"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{key!r}: {show(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, (tuple, list)):
        inside = ", ".join(map(show, value))
        text = f"[{inside}]" if isinstance(value, list) else f"({inside})"
    else:
        text = str(value) if isinstance(value, np.generic) else repr(value)
    return textwrap.shorten(" ".join(text.split()), 200, placeholder=" ...")


def _same(code: CodeType | None, other: CodeType) -> bool:
    """Two functions that do the same, instruction by instruction, whatever their comments."""
    if code is None or code.co_code != other.co_code or len(code.co_consts) != len(other.co_consts):
        return False
    if (code.co_names, code.co_varnames) != (other.co_names, other.co_varnames):
        return False
    pairs = zip(code.co_consts, other.co_consts, strict=True)
    return all(
        _same(a, b) if isinstance(b, CodeType) else type(a) is type(b) and a == b for a, b in pairs
    )
