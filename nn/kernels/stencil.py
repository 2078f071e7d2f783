"""Depthwise 3x3 convolution with padding 1 and stride 1 or 2: ShuffleNet's, and nearly everyone's.

The formula is in ``nn.ops.convolution``. ``nn.kernels.depthwise`` holds the twins, and kernels for
any shape that go by way of a scratch plane with zeros around it. Here the border is a mask and the
pixels come straight from the image: a block of sums is a few output rows high and one vector wide,
and whatever is loaded serves all the sums that see it. Measured for one plane (one core, AVX-512),
by way of the scratch plane -> here::

    pixels, stride     forward         gradient of input   gradient of weights
    7 x 7, 1           101 ->  21 ns      120 ->  24 ns       108 ->  19 ns
    14 x 14, 1         140 ->  37 ns      161 ->  37 ns       142 ->  40 ns
    28 x 28, 1         341 -> 120 ns      363 -> 119 ns       330 -> 136 ns
    28 x 28, 2         304 ->  54 ns      594 ->  51 ns       233 ->  76 ns
"""

from __future__ import annotations

import numpy as np
from numba import prange

from nn.kernels.depthwise import (
    depthwise_forward_reference,
    depthwise_grad_input_reference,
    depthwise_grad_weight_reference,
)
from nn.kernels.machine.emitted import Index, Variable, emitted, value_of
from nn.kernels.machine.jit import device, kernel
from nn.kernels.machine.simd import LANES, Vectors, loop, numbered
from nn.kernels.machine.window import Window

ROWS = 4  # output rows of a block, unless it says otherwise
TAPS = [(i, j) for i in range(3) for j in range(3)]


def make_weigh(stride: int, rows: int, side: int = 3):
    """Build ``weigh`` for a stride of 1 or 2 and ``side`` x ``side`` taps, padding side // 2, in
    blocks of so many output rows."""

    @emitted
    def weigh(
        builder, plane, plane_at, H, W, weight, weight_at, bias, bias_at, out, out_at, OH, OW,
        low, high,
    ):  # fmt: skip
        """One plane of ``out``: the bias plus the weighted sum of shifted planes, clamped."""
        vector = Vectors(builder, plane.element)
        plane, out = plane.at(plane_at), out.at(out_at)
        factors, start = splats(vector, weight.at(weight_at), side), vector.splat(bias[bias_at])
        low, high = vector.splat(low), vector.splat(high)
        with loop(OW, LANES) as x:
            window = Window(vector, plane, H, W, x, stride, side=side)
            with loop(OH, rows) as y:
                sums = [start] * rows
                for r in range(stride * (rows - 1) + side):
                    seen = window.row(y * stride - side // 2 + r)
                    for m in range(rows):
                        if 0 <= r - stride * m < side:
                            for j in range(side):
                                factor = factors[r - stride * m][j]
                                sums[m] = vector.multiply_add(factor, seen[j], sums[m])
                vector.store_each(
                    [vector.clamp(total, low, high) for total in sums],
                    [out.at((y + m) * OW + x) for m in range(rows)],
                    [(OW - x).where(y + m < OH, 0) for m in range(rows)],
                )

    return weigh


def splats(vector, weight, side=3):
    """The weights [i][j], each in all lanes of a vector."""
    return [[vector.splat(weight[side * i + j]) for j in range(side)] for i in range(side)]


def make_correlate(stride: int):
    """Build ``correlate`` for a stride of 1 or 2."""

    @emitted
    def correlate(
        builder, plane, plane_at, plane_step, H, W, grad, grad_at, grad_step, OH, OW,
        repeat, sums, sums_at,
    ):  # fmt: skip
        """sums[tap] = the inner product of ``grad`` with the plane as that tap sees it.

        Over ``repeat`` pairs of planes, ``plane_step`` and ``grad_step`` apart: a batch.
        """
        vector = Vectors(builder, plane.element)
        totals = {tap: Variable(builder, vector.zero) for tap in TAPS}
        with loop(repeat) as turn:
            turn_plane = plane.at(plane_at + turn * plane_step)
            turn_grad = grad.at(grad_at + turn * grad_step)
            with loop(OW, LANES) as x:
                window = Window(vector, turn_plane, H, W, x, stride)
                grads = Window(vector, turn_grad, OH, OW, x, 1)
                with loop(OH, ROWS) as y:
                    arriving = [grads.row(y + m)[1] for m in range(ROWS)]
                    for r in range(stride * (ROWS - 1) + 3):
                        seen = window.row(y * stride - 1 + r)
                        for (i, j), total in totals.items():
                            m = (r - i) // stride
                            if (r - i) % stride == 0 and 0 <= m < ROWS:
                                total.set(vector.multiply_add(arriving[m], seen[j], total.get()))
        for first in range(0, len(TAPS), LANES):
            taps = TAPS[first : first + LANES]
            result = vector.sums([totals[tap].get() for tap in taps])
            count = Index(builder, value_of(len(taps)))
            vector.store(result, sums.at(sums_at + first), count)

    return correlate


@emitted
def hand_back(builder, grad, grad_at, OH, OW, weight, weight_at, plane, plane_at, H, W):
    """The gradient of a plane (H, W) from that of the output (OH, OW), for a stride of 2.

    Output pixel (y, x) saw the rows 2 y - 1, 2 y, 2 y + 1 and columns likewise. So of the taps in
    a row, an even column hears from the middle one only, an odd one from the last of its left and
    the first of its right output pixel; and the same goes for rows.
    """
    vector = Vectors(builder, grad.element)
    grad, plane = grad.at(grad_at), plane.at(plane_at)
    factors = splats(vector, weight.at(weight_at))
    taps_of = {0: [(1, 0)], 1: [(2, 0), (0, 1)]}  # of an even, an odd position: tap, neighbour
    with loop(OW, LANES) as x:
        window = Window(vector, grad, OH, OW, x, 1)
        with loop(OH, ROWS) as y:
            # [neighbour below][neighbour to the right]
            rows = [window.row(y + m)[1:] for m in range(ROWS + 1)]
            for m in range(2 * ROWS):
                halves = []
                for odd in (0, 1):
                    total = vector.zero
                    for i, below in taps_of[m % 2]:
                        for j, right in taps_of[odd]:
                            seen = rows[m // 2 + below][right]
                            total = vector.multiply_add(factors[i][j], seen, total)
                    halves.append(total)
                line = y * 2 + m
                with builder.if_then(line < H):
                    for first in (0, LANES):
                        # Lanes 0, 16, 1, 17, ...: even and odd columns take turns.
                        turns = [(first + k) // 2 + k % 2 * LANES for k in range(LANES)]
                        woven = builder.shuffle_vector(*halves, numbered(turns))
                        column = x * 2 + first
                        place = plane.at(line * W + column)
                        vector.store(woven, place, W - column)


# With a stride of 2 twice as many rows are seen by as many sums: lower blocks fit the registers.
weigh, weigh_by_two = make_weigh(1, ROWS), make_weigh(2, ROWS // 2)
weighs = [weigh, weigh_by_two]  # of 3 x 3 taps, stride 1 and 2; of 5 x 5; of 7 x 7
weighs += [make_weigh(stride, ROWS // stride, side) for side in (5, 7) for stride in (1, 2)]
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
