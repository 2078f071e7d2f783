"""The check of a function: some arguments, what is right for them, and mistakes known by name."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence

from exercises.difference import first_difference, show
from exercises.exercise import Exercise, Wrong
from exercises.watching import by_hand


class FunctionExercise(Exercise):
    """An exercise whose answer is a function that must agree with the reference.

    Args:
        name: as in ``Exercise``.
        reference: an answer that is right; its parameters are named as the chapter names them.
        cases: arguments to try, simple ones first.
        mistakes: a reason -> the function that somebody writes who makes this mistake. The reason
            is given if that function explains every answer.
        hints: as in ``Exercise``.
        praise: what to print when the answer is right.
    """

    def __init__(
        self,
        name: str,
        reference: Callable,
        cases: Sequence[tuple],
        mistakes: Mapping[str, Callable],
        hints: Sequence[str],
        praise: str | None = None,
    ):
        super().__init__(name, self._compare, hints, reference)
        self.cases, self.mistakes, self._praise = list(cases), dict(mistakes), praise

    def _compare(self, answer: object) -> str | None:
        if not callable(answer):
            raise Wrong("the answer is a function: pass it without calling it.")
        given, wrong = [], None
        for case in self.cases:
            try:
                given.append(self._call(answer, case))
            except Exception:
                if wrong:
                    break  # what it did before says more
                raise
            difference = first_difference(given[-1], self.reference(*copy.deepcopy(case)))
            wrong = wrong or (difference and (case, difference))
        if not wrong:
            return self._praise
        for reason, mistake in self.mistakes.items():
            if self._explains(mistake, given):
                raise Wrong(reason)
        case, difference = wrong
        names = inspect.signature(self.reference).parameters
        arguments = ", ".join(f"{n} = {show(a)}" for n, a in zip(names, case, strict=False))
        raise Wrong(f"for {arguments} you return {difference}.")

    def _call(self, answer: Callable, case: tuple) -> object:
        arguments = copy.deepcopy(case)
        result = by_hand(answer)(*arguments)
        if first_difference(arguments, case):
            raise Wrong("your function changes what it is given. Others may still need that.")
        return result

    def _explains(self, mistake: Callable, given: list) -> bool:
        try:
            theirs = [mistake(*copy.deepcopy(case)) for case in self.cases[: len(given)]]
        except Exception:  # it does not even run in these cases
            return False
        return not first_difference(given, theirs)
