"""Steps that go plane by plane: depthwise convolutions, and numbers that see only themselves."""

from __future__ import annotations

import numpy as np

from nn.kernels.depthwise import (
    depthwise_forward_reference,
    phase_size,
    spread,
    tap_offsets,
    weighted_sum,
)
from nn.kernels.machine.addressed import addressed
from nn.kernels.machine.choice import choice
from nn.kernels.machine.copy_rows import copy_rows
from nn.kernels.machine.jit import device
from nn.kernels.program.finish import finish, finish_reference, scale_shift
from nn.kernels.program.step import View
from nn.kernels.stencil import weighs


def depthwise_reference(view: View) -> None:
    step = view.step
    weight = view.array(step.weight, step.channels, 1, step.kernel_height, step.kernel_width)
    bias = view.array(step.bias, step.channels)
    out = np.empty((1, step.outputs, step.out_height, step.out_width), view.arena.dtype)
    depthwise_forward_reference(view.source[None], weight, bias, out, *view.spacing(), False)
    finish_reference(view, out[0])


def scale_reference(view: View) -> None:
    """weight_c x + bias_c"""
    step, count = view.step, view.step.channels
    scale, shift = (view.array(start, count, 1, 1) for start in (step.weight, step.bias))
    finish_reference(view, scale * view.source + shift)


@addressed
def scale(step, task, places, weights, source, arena, work):
    """Some planes of a scale and a shift, which with what follows is any element-wise step."""
    pixels = step.height * step.width
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        at = places[step.source + c] + n * step.source_image
        target = places[step.target + c] + n * step.target_image
        scale_shift(source, at, source, at, weights[step.weight + c], weights[step.bias + c],
                    step.low, step.high, arena, target, pixels)  # fmt: skip
        if step.goes_on:
            finish(step, n, c, c + 1, 0, pixels, places, arena)


@addressed
def stencil(step, task, places, weights, source, arena, work):
    """Some planes of a depthwise convolution with 3 x 3, 5 x 5 or 7 x 7 taps around a pixel."""
    taps = step.kernel_height * step.kernel_width
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        at = places[step.source + c] + n * step.source_image
        target = places[step.target + c] + n * step.target_image
        weigh_centred(step, source, at, weights, step.weight + taps * c, step.bias + c,
                      arena, target)  # fmt: skip
        if step.goes_on:
            finish(step, n, c, c + 1, 0, step.out_height * step.out_width, places, arena)


weigh = choice(weighs)


@device
def weigh_centred(step, source, at, weights, weight, bias, arena, target):
    """One plane of it."""
    which = (step.kernel_height // 2 - 1) * 2 + step.stride_x - 1
    weigh(which, source, at, step.height, step.width, weights, weight, weights, bias,
          arena, target, step.out_height, step.out_width, step.low, step.high)  # fmt: skip


@addressed
def depthwise(step, task, places, weights, source, arena, work):
    """Some planes of any other depthwise convolution, as ``nn.kernels.depthwise`` does them."""
    stride = step.stride_y, step.stride_x
    padding, dilation = (step.padding_y, step.padding_x), (step.dilation_y, step.dilation_x)
    KH, KW, OH, OW = step.kernel_height, step.kernel_width, step.out_height, step.out_width
    height, width = phase_size(OH, OW, KH, KW, stride, dilation)
    offsets = tap_offsets(KH, KW, height, width, stride, dilation)
    order = np.arange(KH * KW)
    result = work[stride[0] * stride[1] * height * width :]
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        at = places[step.source + c] + n * step.source_image
        pixels = source[at : at + step.height * step.width].reshape(step.height, step.width)
        spread(pixels, stride, padding, height, width, work)
        weighted_sum(
            weights[step.weight + c * KH * KW :], order, KH * KW, work, 0, offsets,
            weights[step.bias + c :], result, 0, (OH - 1) * width + OW, step.low, step.high,
        )  # fmt: skip
        target = places[step.target + c] + n * step.target_image
        copy_rows(result, 0, width, 0, OW, arena, target, OW, OW, OH)
        if step.goes_on:
            finish(step, n, c, c + 1, 0, OH * OW, places, arena)
