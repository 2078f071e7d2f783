"""Depthwise 3x3 convolution with padding 1 and stride 1 or 2: ShuffleNet's, and nearly everyone's.

    out[n, c, y, x] = bias[c] + sum_{i, j} weight[c, i, j] input[n, c, y s + i - 1, x s + j - 1]

``nn.kernels.depthwise`` holds the twins, and kernels for any shape that go by way of a scratch
plane with zeros around it. Here the border is a mask and the pixels come straight from the image:
a block of sums is a few output rows high and one vector wide, and whatever is loaded serves all the
sums that see it. Measured for one plane (one core, AVX-512), by way of the scratch plane -> here::

    pixels, stride     forward         gradient of input   gradient of weights
    7 x 7, 1           101 ->  21 ns      120 ->  24 ns       108 ->  19 ns
    14 x 14, 1         140 ->  37 ns      161 ->  37 ns       142 ->  40 ns
    28 x 28, 1         341 -> 120 ns      363 -> 119 ns       330 -> 136 ns
    28 x 28, 2         304 ->  54 ns      594 ->  51 ns       233 ->  76 ns
"""

from __future__ import annotations

import numpy as np
from numba import prange
from numba.core import cgutils, types
from numba.extending import intrinsic

from nn.kernels.depthwise import (
    depthwise_forward_reference,
    depthwise_grad_input_reference,
    depthwise_grad_weight_reference,
)
from nn.kernels.machine.elements import clamp
from nn.kernels.machine.jit import device, kernel
from nn.kernels.machine.simd import LANES, Vectors, integer, loop, pointer_to
from nn.kernels.machine.window import Window, numbered, parts

ROWS = 4  # output rows of a block, unless it says otherwise
TAPS = [(i, j) for i in range(3) for j in range(3)]


def make_weigh(stride: int, rows: int):
    """Build ``weigh`` for a stride of 1 or 2, in blocks of so many output rows."""

    @intrinsic
    def weigh(
        typing_context, plane, plane_at, H, W, weight, weight_at, bias, bias_at,
        out, out_at, OH, OW, low, high,
    ):  # fmt: skip
        """One plane of ``out``: the bias plus the weighted sum of nine shifted planes, clamped."""
        i, e = types.intp, plane.dtype
        signature = types.void(plane, i, i, i, weight, i, bias, i, out, i, i, i, e, e)

        def generate(context, builder, signature, values):
            kinds = signature.args
            (plane, plane_at, H, W, weight, weight_at, bias, bias_at,
             out, out_at, OH, OW, low, high) = values  # fmt: skip
            vector = Vectors(builder, context.get_value_type(kinds[0].dtype))
            plane, weight, bias, out = (
                builder.gep(pointer_to(context, builder, kind, array), [at])
                for kind, array, at in (
                    (kinds[0], plane, plane_at), (kinds[4], weight, weight_at),
                    (kinds[6], bias, bias_at), (kinds[8], out, out_at),
                )
            )  # fmt: skip
            factors = splats(vector, weight)
            start = vector.splat(builder.load(bias))
            low, high = vector.splat(low), vector.splat(high)
            with loop(builder, parts(builder, OW, LANES)) as column:
                x = builder.mul(column, integer(LANES))
                window = Window(vector, plane, H, W, x, stride)
                with loop(builder, parts(builder, OH, rows)) as band:
                    y = builder.mul(band, integer(rows))
                    top = builder.sub(builder.mul(y, integer(stride)), integer(1))
                    sums = [start] * rows
                    for r in range(stride * (rows - 1) + 3):
                        seen = window.row(builder.add(top, integer(r)))
                        for m in range(rows):
                            if 0 <= r - stride * m < 3:
                                for j in range(3):
                                    factor = factors[r - stride * m][j]
                                    sums[m] = vector.multiply_add(factor, seen[j], sums[m])
                    for m, total in enumerate(sums):
                        line = builder.add(y, integer(m))
                        total = clamp(vector, total, low, high)
                        at = builder.add(builder.mul(line, OW), x)
                        # Every line is stored, if with no lanes: behind a branch, the compiler
                        # would put all its sums off to there, and run out of registers.
                        exists = builder.icmp_signed("<", line, OH)
                        lanes = builder.select(exists, builder.sub(OW, x), integer(0))
                        vector.store(total, builder.gep(out, [at]), vector.lanes_below(lanes))
            return context.get_dummy_value()

        return signature, generate

    return weigh


def splats(vector, weight):
    """The nine weights [i][j], each in all lanes of a vector."""
    build = vector.builder
    return [
        [vector.splat(build.load(build.gep(weight, [integer(3 * i + j)]))) for j in range(3)]
        for i in range(3)
    ]


def make_correlate(stride: int):
    """Build ``correlate`` for a stride of 1 or 2."""

    @intrinsic
    def correlate(
        typing_context, plane, plane_at, plane_step, H, W, grad, grad_at, grad_step, OH, OW,
        repeat, sums, sums_at,
    ):  # fmt: skip
        """sums[tap] = the inner product of ``grad`` with the plane as that tap sees it.

        Over ``repeat`` pairs of planes, ``plane_step`` and ``grad_step`` apart: a batch.
        """
        i = types.intp
        signature = types.void(plane, i, i, i, i, grad, i, i, i, i, i, sums, i)

        def generate(context, builder, signature, values):
            kinds = signature.args
            (plane, plane_at, plane_step, H, W, grad, grad_at, grad_step, OH, OW,
             repeat, sums, sums_at) = values  # fmt: skip
            vector = Vectors(builder, context.get_value_type(kinds[0].dtype))
            plane = builder.gep(pointer_to(context, builder, kinds[0], plane), [plane_at])
            grad = builder.gep(pointer_to(context, builder, kinds[5], grad), [grad_at])
            sums = builder.gep(pointer_to(context, builder, kinds[11], sums), [sums_at])
            totals = {tap: cgutils.alloca_once_value(builder, vector.zero) for tap in TAPS}
            with loop(builder, repeat) as turn:
                turn_plane = builder.gep(plane, [builder.mul(turn, plane_step)])
                turn_grad = builder.gep(grad, [builder.mul(turn, grad_step)])
                with loop(builder, parts(builder, OW, LANES)) as column:
                    x = builder.mul(column, integer(LANES))
                    window = Window(vector, turn_plane, H, W, x, stride)
                    grads = Window(vector, turn_grad, OH, OW, x, 1)
                    with loop(builder, parts(builder, OH, ROWS)) as band:
                        y = builder.mul(band, integer(ROWS))
                        top = builder.sub(builder.mul(y, integer(stride)), integer(1))
                        arriving = [grads.row(builder.add(y, integer(m)))[1] for m in range(ROWS)]
                        for r in range(stride * (ROWS - 1) + 3):
                            seen = window.row(builder.add(top, integer(r)))
                            for i, j in TAPS:
                                m = (r - i) // stride
                                if (r - i) % stride == 0 and 0 <= m < ROWS:
                                    total = builder.load(totals[i, j])
                                    total = vector.multiply_add(arriving[m], seen[j], total)
                                    builder.store(total, totals[i, j])
            for first in range(0, len(TAPS), LANES):
                taps = TAPS[first : first + LANES]
                result = vector.sums([builder.load(totals[tap]) for tap in taps])
                mask = vector.lanes_below(integer(len(taps)), result.type.count)
                vector.store(result, builder.gep(sums, [integer(first)]), mask)
            return context.get_dummy_value()

        return signature, generate

    return correlate


@intrinsic
def hand_back(
    typing_context, grad, grad_at, OH, OW, weight, weight_at, plane, plane_at, H, W
):  # fmt: skip
    """The gradient of a plane (H, W) from that of the output (OH, OW), for a stride of 2.

    Output pixel (y, x) saw the rows 2 y - 1, 2 y, 2 y + 1 and columns likewise. So of the taps in
    a row, an even column hears from the middle one only, an odd one from the last of its left and
    the first of its right output pixel; and the same goes for rows.
    """
    i = types.intp
    signature = types.void(grad, i, i, i, weight, i, plane, i, i, i)

    def generate(context, builder, signature, values):
        kinds = signature.args
        grad, grad_at, OH, OW, weight, weight_at, plane, plane_at, H, W = values
        vector = Vectors(builder, context.get_value_type(kinds[0].dtype))
        grad = builder.gep(pointer_to(context, builder, kinds[0], grad), [grad_at])
        weight = builder.gep(pointer_to(context, builder, kinds[4], weight), [weight_at])
        plane = builder.gep(pointer_to(context, builder, kinds[6], plane), [plane_at])
        factors = splats(vector, weight)
        taps_of = {0: [(1, 0)], 1: [(2, 0), (0, 1)]}  # of an even, an odd position: tap, neighbour
        with loop(builder, parts(builder, OW, LANES)) as column:
            x = builder.mul(column, integer(LANES))
            window = Window(vector, grad, OH, OW, x, 1)
            left = builder.mul(x, integer(2))
            with loop(builder, parts(builder, OH, ROWS)) as band:
                y = builder.mul(band, integer(ROWS))
                # [neighbour below][neighbour to the right]
                rows = [window.row(builder.add(y, integer(m)))[1:] for m in range(ROWS + 1)]
                for m in range(2 * ROWS):
                    halves = []
                    for odd in (0, 1):
                        total = vector.zero
                        for i, below in taps_of[m % 2]:
                            for j, right in taps_of[odd]:
                                seen = rows[m // 2 + below][right]
                                total = vector.multiply_add(factors[i][j], seen, total)
                        halves.append(total)
                    line = builder.add(builder.mul(y, integer(2)), integer(m))
                    with builder.if_then(builder.icmp_signed("<", line, H)):
                        for part in (0, 1):
                            # Lanes 0, 16, 1, 17, ...: even and odd columns take turns.
                            first = part * LANES // 2
                            turns = [first + k // 2 + k % 2 * LANES for k in range(LANES)]
                            woven = builder.shuffle_vector(*halves, numbered(turns))
                            at = builder.add(left, integer(part * LANES))
                            mask = vector.lanes_below(builder.sub(W, at))
                            at = builder.add(builder.mul(line, W), at)
                            vector.store(woven, builder.gep(plane, [at]), mask)
        return context.get_dummy_value()

    return signature, generate


# With a stride of 2 twice as many rows are seen by as many sums: lower blocks fit the registers.
weigh, weigh_by_two = make_weigh(1, ROWS), make_weigh(2, ROWS // 2)
correlate, correlate_by_two = make_correlate(1), make_correlate(2)


def stencil_forward_reference(input, weight, bias, out, stride, relu):
    depthwise_forward_reference(input, weight, bias, out, (stride, stride), (1, 1), (1, 1), relu)


@kernel(twin=stencil_forward_reference)
def stencil_forward(input, weight, bias, out, stride, relu):
    """Fill ``out`` (N, C, OH, OW) with the convolution and, if ``relu``, max(0, .) of it.

    ``input`` (N, C, H, W), ``weight`` (C, 1, 3, 3), ``bias`` (C,), ``stride`` 1 or 2.
    """
    (N, C, H, W), (OH, OW) = input.shape, out.shape[2:]
    image, flat, factors = input.reshape(-1), out.reshape(-1), weight.reshape(-1)
    low = 0.0 if relu else -np.inf
    for plane in prange(N * C):
        c = plane % C
        if stride == 1:
            weigh(image, plane * H * W, H, W, factors, 9 * c, bias, c,
                  flat, plane * OH * OW, OH, OW, low, np.inf)  # fmt: skip
        else:
            weigh_by_two(image, plane * H * W, H, W, factors, 9 * c, bias, c,
                         flat, plane * OH * OW, OH, OW, low, np.inf)  # fmt: skip


def stencil_grad_input_reference(grad_output, weight, grad_input, stride):
    geometry = (stride, stride), (1, 1), (1, 1)
    depthwise_grad_input_reference(grad_output, weight, grad_input, *geometry)


@kernel(twin=stencil_grad_input_reference)
def stencil_grad_input(grad_output, weight, grad_input, stride):
    """Fill ``grad_input`` (N, C, H, W) from ``grad_output`` (N, C, OH, OW).

    With a stride of 1 this is a convolution with the weights in reverse order.
    """
    (N, C, H, W), (OH, OW) = grad_input.shape, grad_output.shape[2:]
    grad, flat, zero = grad_output.reshape(-1), grad_input.reshape(-1), np.zeros(1, weight.dtype)
    factors = weight.reshape(-1)
    reversed_factors = reverse_taps(factors)
    for plane in prange(N * C):
        c = plane % C
        if stride == 1:
            weigh(grad, plane * H * W, H, W, reversed_factors, 9 * c, zero, 0,
                  flat, plane * H * W, H, W, -np.inf, np.inf)  # fmt: skip
        else:
            hand_back(grad, plane * OH * OW, OH, OW, factors, 9 * c, flat, plane * H * W, H, W)


@device
def reverse_taps(factors):
    """(C * 9,), the nine weights of every channel turned by 180 degrees."""
    turned = np.empty_like(factors)
    for i in range(factors.size):
        turned[i] = factors[i // 9 * 9 + 8 - i % 9]
    return turned


def stencil_grad_weight_reference(input, grad_output, grad_weight, stride):
    geometry = (stride, stride), (1, 1), (1, 1)
    depthwise_grad_weight_reference(input, grad_output, grad_weight, *geometry)


@kernel(twin=stencil_grad_weight_reference)
def stencil_grad_weight(input, grad_output, grad_weight, stride):
    """Fill ``grad_weight`` (C, 1, 3, 3): a task per channel, image after image."""
    (N, C, H, W), (OH, OW) = input.shape, grad_output.shape[2:]
    image, grad, flat = input.reshape(-1), grad_output.reshape(-1), grad_weight.reshape(-1)
    for c in prange(C):
        if stride == 1:
            correlate(image, c * H * W, C * H * W, H, W,
                      grad, c * OH * OW, C * OH * OW, OH, OW, N, flat, 9 * c)  # fmt: skip
        else:
            correlate_by_two(image, c * H * W, C * H * W, H, W,
                             grad, c * OH * OW, C * OH * OW, OH, OW, N, flat, 9 * c)  # fmt: skip
