"""What an answer does while it works: for exercises that ask for a way, not only for a result."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

from exercises.exercise import Wrong

LIBRARY = {"nn", "detector", "multitask"}


def watch(answer: Callable, *arguments: object) -> tuple[object, int, set[str]]:
    """Call an answer.

    Returns:
        What it returns; how many of Python's instructions that took, in whatever functions, which
        a loop over n elements makes more than n and an operation on an array does not; and the
        names of the top packages of these functions: "nn" among them is the library's doing.
    """
    instructions, packages = 0, set()

    def look(frame, event, _):
        nonlocal instructions
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            packages.add(frame.f_globals.get("__name__", "").partition(".")[0])
        elif event == "opcode":
            instructions += 1
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        result = answer(*arguments)
    finally:
        sys.settrace(before)
    return result, instructions, packages


def by_hand(answer: Callable) -> Callable:
    """The answer, which is refused if it leaves its work to the library."""

    @functools.wraps(answer)
    def call(*arguments, **options):
        result, _, packages = watch(functools.partial(answer, *arguments, **options))
        if packages & LIBRARY:
            raise Wrong("that is the library's; write it yourself, on arrays.")
        return result

    return call
