"""One compiled function out of a table of them: what a table of functions is to Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numba

from nn.kernels.machine.jit import FLAGS


def choice(functions: Sequence[Callable], number: int = 0) -> Callable:
    """``chosen(i, *arguments)`` calls ``functions[i]`` with the arguments.

    The first looks whether it is meant, else asks the rest: a chain of comparisons, in which every
    function can still become part of its caller. (Not cached by itself: the kernel that calls it
    is, with all of it inside.)
    """
    first, *others = functions
    if not others:

        def chosen(which, *arguments):
            first(*arguments)

    else:
        rest = choice(others, number + 1)

        def chosen(which, *arguments):
            if which == number:
                first(*arguments)
            else:
                rest(which, *arguments)

    return numba.njit(chosen, **FLAGS)
