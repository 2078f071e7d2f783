"""What the kernels become on processors that are not here: LLVM compiles for all of them anywhere.

    python -m benchmarks.cross_compiled [--on NEON,AVX2]

For each processor and kernel: the lines of assembly, the innermost loops that multiply and add, how
many multiply-adds the densest of them has of how many instructions, and how many times a loop puts
a vector on the stack or fetches it, for want of registers: in the densest, and in the worst.

Nothing is run, so nothing is timed. A process for each processor makes blocks of sums of the size
that fits it (``nn.kernels.machine.simd``) and notes with which types each kernel is called, while
NumPy does the computing. Numba compiles the kernel for these, but does not optimise it (its
NUMBA_OPT=0); what comes of that is true of any processor with the same sizes of integers. LLVM is
then told the processor, optimises as Numba would have it do there, and writes assembly.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import llvmlite.binding as llvm
import numba

from benchmarks.assembly import Loop, loops_of
from benchmarks.contestants import ROOT
from detector.commands.options import names


class Processor(NamedTuple):
    """``target`` and ``cpu`` as LLVM calls them, ``feature`` is what the blocks are made for."""

    target: str
    cpu: str
    feature: str


PROCESSORS = {
    "AVX-512": Processor("x86_64-unknown-linux-gnu", "znver4", "avx512f"),
    "AVX2": Processor("x86_64-unknown-linux-gnu", "haswell", "avx2"),
    "NEON": Processor("aarch64-unknown-linux-gnu", "cortex-a72", "neon"),
    "NEON of Apple's M1": Processor("aarch64-unknown-linux-gnu", "apple-m1", "neon"),
}


def compiled_on(name: str, work: str = "use_every_kernel") -> dict[str, str]:
    """Assembly for one of PROCESSORS, by kernel; ``work`` is in ``every_kernel``.

    Empty where ``work`` did not call the kernel.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "NUMBA_CPU_NAME": "generic",
            "NUMBA_CPU_FEATURES": f"+{PROCESSORS[name].feature}",
            "NUMBA_OPT": "0",
            "NUMBA_CACHE_DIR": folder,
        }
        command = [sys.executable, "-m", "benchmarks.cross_compiled", "--child", name, work]
        answer = subprocess.run(
            command, cwd=ROOT, env=os.environ | settings, capture_output=True, text=True
        )
    if answer.returncode:
        raise RuntimeError(answer.stderr)
    return json.loads(answer.stdout)


def compile_called(name: str, work: str) -> dict[str, str]:
    """In a process with the settings above: what ``compiled_on`` returns."""
    from benchmarks import every_kernel
    from nn.kernels.machine import jit
    from nn.kernels.program.kinds import KINDS

    kernels = all_kernels()
    twins = {kernel.compiled: kernel.twin for kernel in kernels.values()}
    called = {}

    def note(compiled, arguments):
        called.setdefault(compiled, tuple(map(numba.typeof, arguments)))
        twins[compiled](*arguments)

    jit.run = note
    getattr(every_kernel, work)()
    assembly = {}
    for kernel_name, kernel in kernels.items():
        assembly[kernel_name] = ""
        if kernel.compiled in called:
            kernel.compiled.compile(called[kernel.compiled])
            (code,) = kernel.compiled.inspect_llvm().values()
            assembly[kernel_name] = assembly_of(code, PROCESSORS[name])
    for kind in KINDS:  # no kernel holds them, they are called by their addresses
        codes = [made.inspect_llvm() for made in kind.kernel.compiled.values()]
        made_of = [assembly_of(code, PROCESSORS[name]) for code in codes]
        assembly[f"step: {kind.name}"] = "\n".join(made_of)
    return assembly


def all_kernels() -> dict[str, Callable]:
    """Of ``nn.kernels``, by name."""
    import nn.kernels

    found = {}
    for module in pkgutil.walk_packages(nn.kernels.__path__, "nn.kernels."):
        for name, value in vars(importlib.import_module(module.name)).items():
            is_kernel = hasattr(value, "compiled") and hasattr(value, "twin")
            if is_kernel and value.__module__ == module.name:
                found[name] = value
    return found


def assembly_of(code: str, processor: Processor) -> str:
    """LLVM's code, made for whatever processor, optimised and translated for this one."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(processor.target)
    machine = target.create_target_machine(cpu=processor.cpu, opt=3)
    # The lines that only this machine understands: its name, and that it waits (machine.atomics).
    module = llvm.parse_assembly(re.sub(r"(?m)^(target .*|.*@llvm\.x86\.sse2\.pause.*)$", "", code))
    module.triple, module.data_layout = processor.target, str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = bool(numba.config.LOOP_VECTORIZE)
    options.slp_vectorization = bool(numba.config.SLP_VECTORIZE)
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    return machine.emit_assembly(module)


def products(assembly: str) -> list[Loop]:
    """The innermost loops that multiply and add, that with the most multiply-adds first."""
    loops = [loop for loop in loops_of(assembly) if loop.multiply_adds]
    return sorted(loops, key=lambda loop: -loop.multiply_adds / len(loop.lines))


def row(kernel: str, assembly: str) -> str:
    """A line of the table."""
    if not assembly:
        return f"| {kernel} | not called | | | |"
    loops = products(assembly)
    cells = [kernel, len(assembly.splitlines()), len(loops), "", ""]
    if loops:
        densest = loops[0]
        cells[3] = f"{densest.multiply_adds} of {len(densest.lines)}"
        cells[4] = f"{densest.spills}, {max(loop.spills for loop in loops)}"
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--on", type=names, default=list(PROCESSORS), metavar="A,B")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(compile_called(*args.child)))
        return
    for name in args.on:
        print(f"{name}, LLVM {'.'.join(map(str, llvm.llvm_version_info))}:\n")
        print("| kernel | lines | loops | multiply-adds | spills |\n|---|---|---|---|---|")
        for kernel, assembly in compiled_on(name).items():
            print(row(kernel, assembly))
        print(flush=True)


if __name__ == "__main__":
    main()
