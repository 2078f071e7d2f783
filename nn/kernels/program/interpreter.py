"""A whole network in one call: the kernel behind ``nn.inference.compile``.

A network in use does the same steps again and again. They stand in a table, every step
cut into tasks that may run in any order; tasks are numbered through the whole table. Each thread
takes the next number and does that task, but not before all tasks of the steps before it are done.
So threads are woken once for the whole network instead of once a layer, and one that was held up
takes fewer tasks. Which thread does a task changes nothing in its result.

All maps lie as planes in one flat array, the arena: a plane is its rows one after the other, with
nothing between them, so that narrow maps fill the vectors as well as wide ones.

Where the planes begin stands in lists, ``places``. A channel split, a concatenation or a shuffle
only changes the lists: no channel is ever copied.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from nn.kernels.machine.addressed import call
from nn.kernels.machine.atomics import fetch_add, wait_until
from nn.kernels.machine.jit import kernel
from nn.kernels.program.kinds import KINDS
from nn.kernels.program.step import View


def run_program_reference(
    program, addresses, places, weights, image, arena, counters, threads, scratch
):
    """The same table, one step after the other."""
    for step in program.view(np.recarray):
        for n in range(step.images):
            KINDS[step.kind].twin(View(step, n, places, weights, image, arena))


@kernel(twin=run_program_reference)
def run_program(program, addresses, places, weights, image, arena, counters, threads, scratch):
    """Do all steps of ``program`` (S,) of dtype ``step.STEP``.

    ``addresses``: of the kinds of steps, see ``kinds``. ``places`` int64: the lists of planes and
    of tap offsets that the steps refer to; it begins with the multiples of PITCH. ``weights``: all
    constants. ``image``: the flat input of the network. ``arena``: all maps. ``counters`` (16,)
    int64 zeros: [0] counts tasks taken, [8] tasks done (a cache line apart). ``scratch``: numbers
    of working memory a thread needs.
    """
    last = program[program.size - 1]
    tasks = last.first + last.tasks
    for _ in prange(threads):
        work = np.empty(scratch, arena.dtype)
        s = 0
        number = fetch_add(counters, 0, 1)
        while number < tasks:
            while number >= program[s].first + program[s].tasks:
                s += 1
            wait_until(counters, 8, program[s].first)
            step = program[s]
            source = image if step.external else arena
            task = number - step.first
            call(addresses[step.kind], (step, task, places, weights, source, arena, work))
            fetch_add(counters, 8, 1)
            number = fetch_add(counters, 0, 1)
