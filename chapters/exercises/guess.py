"""Before you run it: a guess that is kept and shown beside the result. None stops a chapter."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from numbers import Real

THOUSANDS = re.compile(r",(?=\d{3}\b)")


class Guess:
    """What the reader expects of the next cells.

    Args:
        answer: a number, or one of ``choices``. ``...`` is no guess, and nothing is wrong with it.
        choices: what there is to choose from; none for a number.
    """

    def __init__(self, answer: object = ..., choices: Sequence[str] = ()):
        self.choices = tuple(choices)
        self.answer = self._read(answer)
        if self.answer is None and answer is not ...:
            wanted = "one of " + ", ".join(map(repr, choices)) if choices else "a number"
            print(f"No guess: {answer!r} is not {wanted}. (You may go on all the same.)")

    def _read(self, answer: object) -> Real | str | None:
        if self.choices:
            by_name = {choice.lower(): choice for choice in self.choices}
            return by_name.get(answer.strip().lower()) if isinstance(answer, str) else None
        if isinstance(answer, str):
            try:
                answer = float(THOUSANDS.sub("", answer.strip().rstrip("%")))
            except ValueError:
                return None
        number = isinstance(answer, Real) and not isinstance(answer, bool)
        return answer if number and math.isfinite(answer) else None

    def beside(self, result: Real | str) -> None:
        """Print what came out, a number or one of the choices, and the guess beside it.

        Raises:
            ValueError: the result is none of the choices.
        """
        if self.choices and result not in self.choices:
            raise ValueError(f"{result!r} is none of {', '.join(self.choices)}")
        if self.answer is None or isinstance(self.answer, str) != isinstance(result, str):
            print(f"The answer to the question above: {_show(result)}.")
        else:
            print(f"You guessed {_show(self.answer)}. It is {_show(result)}{self._verdict(result)}")

    def _verdict(self, result: Real | str) -> str:
        if self.answer == result:
            return ": right!"
        if self.choices:
            return "."
        if self.answer <= 0 or result <= 0:
            more = "more" if result > self.answer else "less"
            return f", {_show(abs(result - self.answer))} {more}."
        times = max(result / self.answer, self.answer / result)
        if times < 1.1:
            return ": within a tenth."
        return f", {_show(times)} times as {'much' if result > self.answer else 'little'}."


def guess(answer: object = ..., *choices: str) -> Guess:
    """Keep a guess; the cell that knows the result says ``.beside(result)``."""
    if not all(isinstance(choice, str) for choice in choices):  # guess(18,000)
        return Guess((answer, *choices))
    return Guess(answer, choices)


def _show(value: Real | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"
