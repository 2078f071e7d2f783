"""Convolutions as products of weights and patches, those with a stride apart."""

from __future__ import annotations

import numpy as np

from nn.kernels.convolution import conv2d_forward_reference
from nn.kernels.machine.addressed import addressed
from nn.kernels.machine.copy_rows import copy_seen
from nn.kernels.machine.jit import device
from nn.kernels.machine.parts import ceil_div
from nn.kernels.machine.register_blocks import ROWS, outer_tile
from nn.kernels.matmul import K_BLOCK, PITCH
from nn.kernels.program.finish import finish, finish_reference
from nn.kernels.program.step import View


def product_reference(view: View) -> None:
    step = view.step
    finish_reference(view, convolved(view, (step.out_height, step.out_width)))


def convolved(view: View, size: tuple[int, int]) -> np.ndarray:
    """Weights are packed (groups, OC / ROWS, KH KW C, ROWS), see ``nn.inference.rows``."""
    step = view.step
    KH, KW, groups, channels = step.kernel_height, step.kernel_width, step.groups, step.channels
    outputs, C = step.outputs // groups, channels // groups
    blocks = -(-outputs // ROWS)
    packed = view.array(step.weight, groups, blocks, KH, KW, C, ROWS).transpose(0, 1, 5, 4, 2, 3)
    weight = packed.reshape(groups, blocks * ROWS, C, KH, KW)[:, :outputs]
    weight = weight.reshape(step.outputs, C, KH, KW)
    out = np.empty((1, step.outputs, *size), view.arena.dtype)
    bias = view.array(step.bias, step.outputs)
    conv2d_forward_reference(view.source[None], weight, bias, out, *view.spacing(), False)
    return out[0]


@addressed
def product(step, task, places, weights, source, arena, panel):
    """A tile of ``tile`` output pixels of ``rows`` channels: target = weight * patches + bias.

    The patches of a pointwise convolution are the source's planes themselves; those of any other
    are gathered into ``panel`` (K_BLOCK, PITCH): here, only of one whose pixels follow each other
    as in the output. Groups of channels take turns.
    """
    n = task // (step.tiles * step.row_blocks)
    pixel = task // step.row_blocks % step.tiles * step.tile
    first = task % step.row_blocks * step.rows
    last = min(first + step.rows, step.outputs)
    count = min(step.tile, step.out_height * step.out_width - pixel)
    size = step.outputs // step.groups
    for group in range(first // size, ceil_div(last, size)):
        group_first, group_last = max(first, group * size), min(last, (group + 1) * size)
        multiply_tile(step, n, group, pixel, count, group_first, group_last, places, weights,
                      source, arena, panel)  # fmt: skip
    if step.goes_on:
        finish(step, n, first, last, pixel, count, places, arena)


@device
def multiply_tile(step, n, group, pixel, count, first, last, places, weights, source, arena, panel):
    """Outputs ``first`` to ``last`` of one group.

    K counts tap by tap, channels within, so taps that see only zeros above or below the image are
    left out as a whole.
    """
    image_at = n * step.source_image
    target_at = n * step.target_image + pixel
    channels, size = step.channels // step.groups, step.outputs // step.groups
    depth_of_tap_row = step.kernel_width * channels
    K = step.kernel_height * depth_of_tap_row
    begin, end = 0, K
    if not step.pointwise:
        above, below = tap_rows(
            pixel // step.out_width, (pixel + count - 1) // step.out_width, step.height,
            step.kernel_height, step.stride_y, step.padding_y, step.dilation_y,
        )  # fmt: skip
        begin, end = above * depth_of_tap_row, below * depth_of_tap_row
    planes = places[step.source + group * channels :]
    target = places[step.target :]
    bias = weights[step.bias :]
    group_weight = step.weight + group * (ceil_div(size, ROWS) * ROWS) * K
    for k in range(begin, max(end, begin + 1), K_BLOCK):
        depth = min(K_BLOCK, end - k)
        if step.pointwise:
            rows_of_b, at, b_offsets = source, image_at + pixel, planes[k:]
        else:
            gather(step, k, depth, pixel, count, image_at, channels, planes, source, panel)
            rows_of_b, at, b_offsets = panel, 0, places
        is_last = k + K_BLOCK >= end
        low, high = (step.low, step.high) if is_last else (-np.inf, np.inf)
        outer_tile(
            weights, group_weight + (first - group * size) * K + k * ROWS, K * ROWS, 1, ROWS,
            rows_of_b, at, b_offsets, arena, target_at, target, first, bias, depth,
            last - first, count, k > begin, low, high,
        )  # fmt: skip


@device
def tap_rows(top, bottom, height, kernel, stride, padding, dilation):
    """The range of a window's rows that see the image from any of the output rows top..bottom."""
    first, last = 0, kernel
    while first < last and bottom * stride + first * dilation < padding:
        first += 1
    while last > first and top * stride + (last - 1) * dilation >= height + padding:
        last -= 1
    return first, last


@device
def gather(step, k, depth, pixel, count, image_at, channels, planes, source, panel):
    """panel[r] = what tap ``k`` + r (tap by tap, channels within) sees at ``count`` pixels."""
    channel = k % channels
    for r in range(depth):
        if r == 0 or channel == 0:
            tap, channel = divmod(k + r, channels)
            i, j = divmod(tap, step.kernel_width)
            down = i * step.dilation_y - step.padding_y
            right = j * step.dilation_x - step.padding_x
            seen = pixels_seen(step, down, right, pixel, count)
        plane = planes[channel] + image_at
        start = plane + pixel + down * step.width + right
        copy_seen(source, start, panel, r * PITCH, seen)
        channel = (channel + 1) % channels


@device
def pixels_seen(step, down, right, pixel, count):
    """Bit x: does output pixel ``pixel`` + x see the image through a tap so far down and right?"""
    seen = 0
    y, x = divmod(pixel, step.out_width)
    for bit in range(count):
        seen |= np.int64(0 <= y + down < step.height and 0 <= x + right < step.width) << bit
        x += 1
        if x == step.out_width:
            x, y = 0, y + 1
    return seen
