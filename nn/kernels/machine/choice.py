"""One compiled function out of a table of them: what a table of functions is to Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numba

from nn.kernels.machine.jit import FLAGS


def choice(functions: Sequence[Callable]) -> Callable:
    """``chosen(i, *arguments)`` calls ``functions[i]`` with the arguments.

    It is written out as the chain of comparisons that one would write by hand, so that every
    function can become part of its caller. (A chain of functions that ask each other would compile
    the last one as often as there are links.) Not cached by itself: the kernel that calls it is,
    with all of it inside.
    """
    names = {f"function_{number}": function for number, function in enumerate(functions)}
    lines = ["def chosen(which, *arguments):"]
    for number, name in enumerate(names):
        lines.append(f"    {'elif' if number else 'if'} which == {number}: {name}(*arguments)")
    exec("\n".join(lines), names)
    return numba.njit(names["chosen"], **FLAGS)
