"""An exercise that checks itself: it says why an answer is wrong, and hints before it tells."""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Sequence
from numbers import Real

from exercises import keeping, progress


class Wrong(Exception):  # noqa: N818 (it is the answer that is wrong)
    """Raised by a check: its message says, in one or two sentences, why the answer is wrong."""


class Unanswered(BaseException):
    """The answer is still the stub. No Exception: a check that catches errors must let it pass.

    It may say more than that in its message.
    """


class Exercise:
    """One question, as a chapter's last cells ask it.

    Args:
        name: what the exercise is called in its module; a chapter writes ``exercises.NAME``.
        check: takes the answer and raises ``Wrong`` or any error if it is not right. It may return
            a sentence to print instead of "Right.".
        hints: sentences, each saying a little more than the one before.
        reference: an answer that the check accepts.
        keeps: the file of ``mine/`` that an accepted answer becomes, see ``exercises.keeping``.
    """

    answers_out_of_sight = False  # True in the chapters that a teacher hands out

    def __init__(
        self,
        name: str,
        check: Callable[[object], str | None],
        hints: Sequence[str],
        reference: object,
        keeps: str = "",
    ):
        self.name, self.hints, self.reference = name, tuple(hints), reference
        self.keeps = keeps
        self._check = check
        self._hints_seen = 0

    def check(self, answer: object) -> None:
        """Print whether a function, class or value is right, and if not, why."""
        state, text = self.verdict(answer)
        if state == "unanswered":
            more = [text] if text else []
            print("Not answered yet.", *more, f"For a hint: exercises.{self.name}.hint()")
        elif state == "wrong":
            print(f"Not yet: {text}")
        else:
            print(text)
            progress.note(self)
            if self.keeps:
                print(self.keep(answer))

    def verdict(self, answer: object) -> tuple[str, str]:
        """ "right", "wrong" or "unanswered", and what there is to say about it."""
        try:
            return "right", self._judge(answer)
        except Unanswered as more:
            return "unanswered", " ".join(more.args)
        except Wrong as reason:
            return "wrong", str(reason)
        except Exception as error:
            return "wrong", _explain(error, answer)

    def keep(self, answer: object, whose: str = keeping.YOURS) -> str:
        """Make a right answer a file of ``mine/``; says what became of it."""
        return keeping.keep(self.keeps, answer, self._judge, whose)

    def hint(self) -> None:
        """Print the next hint; after the last, how to see an answer."""
        if self._hints_seen == len(self.hints):
            print(f"There are no more hints. For an answer: exercises.{self.name}.show_answer()")
            return
        self._hints_seen += 1
        print(f"Hint {self._hints_seen} of {len(self.hints)}: {self.hints[self._hints_seen - 1]}")

    def show_answer(self) -> None:
        """Print an answer that is right, once all hints have been seen."""
        left = len(self.hints) - self._hints_seen
        if left:
            hints = "is one more hint" if left == 1 else f"are {left} more hints"
            print(f"There {hints} before the answer: exercises.{self.name}.hint()")
        elif self.answers_out_of_sight:
            print("The answer is with your teacher.")
        elif callable(self.reference):
            print(textwrap.dedent(inspect.getsource(self.reference)).rstrip())
        else:
            print(": ".join([repr(self.reference), *self.hints[-1:]]))  # and the way to it

    def verify(self) -> None:
        """Check the reference answer, silently.

        Raises:
            Wrong: or whatever else the check raises, if it does not accept the reference.
        """
        try:
            self._judge(self.reference)
        except Unanswered:
            raise Wrong(f"the reference of {self.name} counts as not answered") from None

    def _judge(self, answer: object) -> str:
        if _is_blank(answer):
            raise Unanswered
        if inspect.isfunction(answer):
            answer = _guarded(answer)
        elif isinstance(answer, str) and isinstance(self.reference, str):
            answer = answer.strip().lower()
        elif isinstance(answer, str) and isinstance(self.reference, Real):
            raise Wrong(f"a number, please, without quotation marks: {answer!r} is a text.")
        return self._check(answer) or "Right."


def _is_blank(answer: object) -> bool:
    """True of ``...``, None, a tuple with ``...`` in it, and a class with an empty method."""
    if inspect.isclass(answer):
        methods = (member for member in vars(answer).values() if inspect.isfunction(member))
        return any(method.__code__.co_code in _EMPTY for method in methods)
    # Not `... in answer`: an array compared with anything is an array.
    parts = answer if type(answer) is tuple else ()
    return answer is None or answer is ... or any(part is ... for part in parts)


def _empty(): ...


def _empty_but_described():
    """Only this."""


_EMPTY = {_empty.__code__.co_code, _empty_but_described.__code__.co_code}


def _guarded(function: Callable) -> Callable:
    """The function, which interrupts the check when it returns nothing: the stub does."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        result = function(*args, **kwargs)
        if _is_blank(result):
            raise Unanswered
        return result

    return call


def _explain(error: Exception, answer: object) -> str:
    """One line on an error that an answer caused, with the line of its cell where that is known."""
    message = " ".join(str(error).split())
    text = f"it stops with {type(error).__name__}" + (f": {message}" if message else "")
    code = getattr(answer, "__code__", None)
    trace, line = error.__traceback__, None
    while trace is not None:
        if code is not None and trace.tb_frame.f_code.co_filename == code.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return text if line is None else f"{text} (line {line} of your cell)"
