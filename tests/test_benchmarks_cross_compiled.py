"""What LLVM makes of the kernels for processors of three kinds, and how that is read."""

from __future__ import annotations

import llvmlite.binding as llvm
import numba
import pytest

from benchmarks.assembly import loops_of
from benchmarks.cross_compiled import PROCESSORS, compiled_on, products

X86 = """
kernel:
	xorl	%eax, %eax
.LBB0_1:
	vmovups	(%rdi,%rax), %zmm1
.LBB0_2:
	vmovups	64(%rsp), %zmm2
	vfmadd231ps	(%rsi){1to16}, %zmm1, %zmm2
	movq	8(%rsp), %rcx
	incq	%rax
	jne	.LBB0_2
	vmovups	%zmm3, 128(%rsp)
	cmpq	%rax, %rdx
	jne	.LBB0_1
	retq
other:
	jmp	.LBB1_4
.LBB1_3:
	vfnmadd213ps	%ymm1, %ymm2, %ymm3
	jmp	.LBB1_5
.LBB1_4:
	decq	%rax
	jne	.LBB1_3
.LBB1_5:
	decq	%rcx
	jne	.LBB1_4
	jmp	kernel
"""

ARM = """
kernel:
	cbz	x0, .LBB0_9
.LBB0_1:
	ldp	q0, q1, [x1], #32
	fmla	v2.4s, v0.4s, v1.s[0]
	fmla	v3.4s, v0.4s, v1.s[1]
	str	q3, [sp, #16]
	ldr	x9, [sp, #8]
	tbnz	w9, #0, .LBB0_7
.LBB0_2:
	subs	x0, x0, #1
	b.ne	.LBB0_1
	b	.LBB0_9
.LBB0_7:
	ld1	{ v0.s }[1], [x3]
	b	.LBB0_2
.LBB0_9:
	ret
"""


def test_innermost_loops_of_x86():
    inner, other = loops_of(X86)
    assert (inner.function, len(inner.lines)) == ("kernel", 5)
    assert (inner.multiply_adds, inner.spills, inner.jumps) == (1, 1, 1)
    assert (other.function, len(other.lines)) == ("other", 6)
    assert (other.multiply_adds, other.spills, other.jumps) == (1, 0, 3)


def test_a_loop_of_arm_has_what_stands_elsewhere():
    (loop,) = loops_of(ARM)
    assert len(loop.lines) == 10
    assert (loop.multiply_adds, loop.spills, loop.jumps) == (2, 1, 3)


compiling = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")


def skip_without_target(name):
    try:
        llvm.initialize_all_targets()
        llvm.Target.from_triple(PROCESSORS[name].target)
    except RuntimeError as error:
        pytest.skip(str(error))


@compiling
@pytest.mark.parametrize("name, rows, vectors", [("AVX-512", 8, 3), ("AVX2", 6, 2), ("NEON", 8, 3)])
def test_blocks_of_sums_stay_in_registers(name, rows, vectors):
    """Each sum of a block is one multiply-add in the innermost loop, and none is on the stack."""
    skip_without_target(name)
    sums = rows * vectors
    compiled = compiled_on(name, "use_products")
    blocks = [loop for loop in products(compiled["matmul"]) if "outer_tile" in loop.function]
    whole = next(loop for loop in blocks if (loop.multiply_adds, loop.jumps) == (sums, 1))
    assert len(whole.lines) <= sums + rows + vectors + 6  # what is loaded, and the loop itself
    dots = products(compiled["matmul_transposed"])
    assert dots[0].multiply_adds == (24 if sums == 24 else 12)
    assert [loop.spills for loop in blocks + dots] == [0] * len(blocks + dots)


@compiling
@pytest.mark.nightly
def test_every_kernel_can_be_compiled_for_neon():
    skip_without_target("NEON")
    missing = [kernel for kernel, assembly in compiled_on("NEON").items() if not assembly]
    assert not missing
