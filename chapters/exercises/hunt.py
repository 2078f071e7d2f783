"""A bug hunt: a function with one mistake is handed out; its tests say which of them caught it."""

from __future__ import annotations

import copy
import inspect
import linecache
from collections.abc import Callable, Mapping, Sequence
from types import CodeType

import numpy as np

from exercises.difference import first_difference, show
from exercises.exercise import Exercise, Unanswered, Wrong
from exercises.watching import by_hand


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
