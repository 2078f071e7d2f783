"""Counters that several threads may change at the same time."""

from __future__ import annotations

import platform

from llvmlite import ir
from numba.core import cgutils

from nn.kernels.machine.emitted import Index, emitted

X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")


@emitted
def fetch_add(builder, counters, index, amount):
    """Add ``amount`` to ``counters[index]`` (int64) in one go and return what was there before."""
    place = counters.at(index).pointer
    return Index(builder, builder.atomic_rmw("add", place, amount.value, "seq_cst"))


@emitted
def wait_until(builder, counters, index, least):
    """Return as soon as ``counters[index]`` (int64) is at least ``least``.

    All that other threads wrote before they counted is visible then.
    """
    check = builder.append_basic_block("wait.check")
    pause = builder.append_basic_block("wait.pause")
    done = builder.append_basic_block("wait.done")
    builder.branch(check)
    builder.position_at_end(check)
    count = Index(builder, builder.load_atomic(counters.at(index).pointer, "acquire", 8))
    builder.cbranch(count >= least, done, pause)
    builder.position_at_end(pause)
    if X86:  # tells the core that it is only waiting
        kind = ir.FunctionType(ir.VoidType(), [])
        name = "llvm.x86.sse2.pause"
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
    builder.branch(check)
    builder.position_at_end(done)
