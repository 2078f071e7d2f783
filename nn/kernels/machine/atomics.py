"""Counters that several threads may change at the same time."""

from __future__ import annotations

import platform

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from nn.kernels.machine.simd import pointer_to

X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")


@intrinsic
def fetch_add(typing_context, counters, index, amount):
    """Add ``amount`` to ``counters[index]`` (int64) in one go and return what was there before."""
    signature = types.int64(counters, types.intp, types.int64)

    def generate(context, builder, signature, values):
        counters, index, amount = values
        place = builder.gep(pointer_to(context, builder, signature.args[0], counters), [index])
        return builder.atomic_rmw("add", place, amount, "seq_cst")

    return signature, generate


@intrinsic
def wait_until(typing_context, counters, index, least):
    """Return as soon as ``counters[index]`` (int64) is at least ``least``.

    All that other threads wrote before they counted is visible then.
    """
    signature = types.void(counters, types.intp, types.int64)

    def generate(context, builder, signature, values):
        counters, index, least = values
        place = builder.gep(pointer_to(context, builder, signature.args[0], counters), [index])
        check = builder.append_basic_block("wait.check")
        pause = builder.append_basic_block("wait.pause")
        done = builder.append_basic_block("wait.done")
        builder.branch(check)
        builder.position_at_end(check)
        reached = builder.load_atomic(place, "acquire", 8)
        builder.cbranch(builder.icmp_signed(">=", reached, least), done, pause)
        builder.position_at_end(pause)
        if X86:  # tells the core that it is only waiting
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        builder.branch(check)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, generate
