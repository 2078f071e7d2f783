"""The NumPy twin of ``nn.kernels.program``: the same table, one step after the other.

Fields of a step, all int64 (pairs are vertical, horizontal):

    kind            which function of ``nn.kernels.program_steps``
    first, tasks    number of its first task, how many tasks it is cut into
    images          N
    source, target  where in ``places`` the lists of planes begin; ``channels`` and ``outputs``
                    are how many, source_image and target_image the way from image to image
    external        the source is the network's input, not in the arena
    height, width, pitch, out_height, ...   of the planes
    kernel_height, kernel_width, stride_y, ..., dilation_x   of the window
    flat            the window never looks further than the border: rows may be read as one
    wipe            somebody needs the zeros between the target's rows
    weight, bias    where in ``weights`` they begin
    taps            where in ``places`` a depthwise convolution's number of taps stands, followed by
                    the way from an output pixel to each
    tiles, row_blocks, rows    how the work is cut: tiles of pixels, blocks of ``rows`` outputs (or
                    planes) for a task
    accumulate      add to what the target holds
    relu            max(0, .) at the end
"""

from __future__ import annotations

import numpy as np

from nn.kernels.convolution import conv2d_forward_reference
from nn.kernels.program_steps import POINTWISE
from nn.kernels.register_blocks import ROWS

FIELDS = """
kind first tasks images tiles row_blocks rows
source source_image external channels height width pitch
target target_image outputs out_height out_width out_pitch
kernel_height kernel_width stride_y stride_x padding_y padding_x dilation_y dilation_x
flat wipe weight bias taps accumulate relu
"""
STEP = np.dtype([(name, np.int64) for name in FIELDS.split()])


def run_program_reference(program, places, weights, image, arena, counters, threads, scratch):
    for step in program:
        for n in range(step["images"]):
            _run_step(_Step(step, places, weights, image, arena), n)


class _Step:
    """A row of the table by attributes, and what it points to as arrays."""

    def __init__(self, step, places, weights, image, arena):
        self.__dict__ |= {name: int(step[name]) for name in STEP.names}
        self.places, self.weights, self.arena = places, weights, arena
        self.read_from = image if self.external else arena

    def array(self, start, *shape):
        """Constants."""
        return self.weights[start : start + int(np.prod(shape))].reshape(shape)

    def planes(self, flat, first, count, image, size, pitch, stride=(1, 1)):
        """A list of planes as views (H, W) into ``flat``."""
        strides = [stride[0] * pitch * flat.itemsize, stride[1] * flat.itemsize]
        return [
            np.lib.stride_tricks.as_strided(flat[place + image :], size, strides)
            for place in self.places[first : first + count]
        ]

    def sources(self, n):
        size = self.height, self.width
        return self.planes(
            self.read_from, self.source, self.channels, n * self.source_image, size, self.pitch
        )

    def targets(self, n):
        size = self.out_height, self.out_width
        image = n * self.target_image
        return self.planes(self.arena, self.target, self.outputs, image, size, self.out_pitch)

    def depthwise(self, n):
        """Sum over taps of a weight times the planes, seen from a pixel that far away."""
        count = self.places[self.taps]
        taps = self.places[self.taps + 1 : self.taps + 1 + count]
        size, stride = (self.out_height, self.out_width), (self.stride_y, self.stride_x)
        out = np.zeros((self.channels, *size), self.arena.dtype)
        for t, tap in enumerate(taps):
            image = n * self.source_image + tap
            shifted = self.planes(
                self.arena, self.source, self.channels, image, size, self.pitch, stride
            )
            for c, plane in enumerate(shifted):
                out[c] += self.weights[self.weight + c * count + t] * plane
        return out + self.array(self.bias, self.channels, 1, 1)


def _run_step(step: _Step, n: int) -> None:
    """One step for image ``n``, by its kind: the order of ``nn.kernels.program_steps``."""
    products = (_product, _product, _pooled_product)
    kinds = (*products, _depthwise, _depthwise, _sort, _max_pool, _mean, _linear)
    kinds[step.kind](step, n)


def _product(step: _Step, n: int) -> None:
    """Convolutions; weights are packed (OC / ROWS, KH KW C, ROWS), see ``nn.inference.plan``."""
    OC, size = step.outputs, (step.out_height, step.out_width)
    weight = _unpacked(step, step.kernel_height, step.kernel_width)
    if step.kind == POINTWISE:
        input = _seen_pointwise(step, n, size, step.out_pitch)
    else:
        input = np.stack(step.sources(n))
    out = np.empty((1, OC, *size), step.arena.dtype)
    geometry = (
        (step.stride_y, step.stride_x),
        (step.padding_y, step.padding_x),
        (step.dilation_y, step.dilation_x),
    )
    bias = step.array(step.bias, OC)
    conv2d_forward_reference(input[None], weight, bias, out, *geometry, False)
    _store(step, n, out[0], step.relu)


def _pooled_product(step: _Step, n: int) -> None:
    """A pointwise convolution, then max pooling of its result."""
    input = _seen_pointwise(step, n, (step.height, step.width), step.pitch)
    weight, bias = _unpacked(step, 1, 1)[:, :, 0, 0], step.array(step.bias, step.outputs, 1, 1)
    result = np.tensordot(weight, input, 1) + bias
    _max_pool(step, n, np.maximum(result, 0) if step.relu else result)


def _seen_pointwise(step: _Step, n: int, size: tuple[int, int], pitch: int) -> np.ndarray:
    """The planes of a pointwise convolution at the pixels of its output."""
    image = n * step.source_image
    return np.stack(step.planes(step.read_from, step.source, step.channels, image, size, pitch))


def _unpacked(step: _Step, KH: int, KW: int) -> np.ndarray:
    """Weights (OC, C, KH, KW) from (OC / ROWS, KH KW C, ROWS)."""
    groups = -(-step.outputs // ROWS)
    packed = step.array(step.weight, groups, KH * KW * step.channels, ROWS).transpose(0, 2, 1)
    weight = packed.reshape(groups * ROWS, KH, KW, step.channels)[: step.outputs]
    return weight.transpose(0, 3, 1, 2)


def _depthwise(step: _Step, n: int) -> None:
    _store(step, n, step.depthwise(n), step.relu)


def _sort(step: _Step, n: int) -> None:
    """Plane (p, q) of a channel: every stride-th row and column from p and q on, zeros around."""
    phases = [(p, q) for p in range(step.stride_y) for q in range(step.stride_x)]
    targets = step.planes(
        step.arena, step.target, step.channels * len(phases), n * step.target_image,
        (step.out_height, step.out_width), step.out_pitch,
    )  # fmt: skip
    for c, plane in enumerate(step.sources(n)):
        reach = step.out_height * step.stride_y, step.out_width * step.stride_x
        canvas = np.zeros(
            [step.padding_y + reach[0] + step.height, step.padding_x + reach[1] + step.width],
            step.arena.dtype,
        )
        canvas[step.padding_y :, step.padding_x :][: step.height, : step.width] = plane
        for i, (p, q) in enumerate(phases):
            sorted_ = canvas[p :: step.stride_y, q :: step.stride_x]
            targets[c * len(phases) + i][:] = sorted_[: step.out_height, : step.out_width]


def _max_pool(step: _Step, n: int, input=None) -> None:
    """The largest value under each window; the padding never wins."""
    input = step.sources(n) if input is None else input
    for plane, target in zip(input, step.targets(n), strict=True):
        reach = [
            (o - 1) * s + (k - 1) * d + 1
            for o, s, k, d in (
                (step.out_height, step.stride_y, step.kernel_height, step.dilation_y),
                (step.out_width, step.stride_x, step.kernel_width, step.dilation_x),
            )
        ]
        canvas = np.full(
            [
                max(reach[0], step.padding_y + step.height),
                max(reach[1], step.padding_x + step.width),
            ],
            -np.inf,
            plane.dtype,
        )
        canvas[step.padding_y :, step.padding_x :][: step.height, : step.width] = plane
        target[:] = -np.inf
        for i in range(step.kernel_height):
            for j in range(step.kernel_width):
                seen = canvas[
                    i * step.dilation_y :: step.stride_y, j * step.dilation_x :: step.stride_x
                ]
                np.maximum(target, seen[: step.out_height, : step.out_width], out=target)
    _wipe(step, n)


def _mean(step: _Step, n: int) -> None:
    start = step.places[step.target] + n * step.target_image
    step.arena[start : start + step.channels] = [p.mean(dtype=np.float64) for p in step.sources(n)]


def _linear(step: _Step, n: int) -> None:
    weight = step.array(step.weight, step.outputs, step.channels)
    source = step.places[step.source] + n * step.source_image
    target = step.places[step.target] + n * step.target_image
    result = weight @ step.arena[source : source + step.channels]
    step.arena[target : target + step.outputs] = result + step.array(step.bias, step.outputs)


def _store(step: _Step, n: int, result: np.ndarray, relu: bool) -> None:
    for plane, target in zip(result, step.targets(n), strict=True):
        total = target + plane if step.accumulate else plane
        target[:] = np.maximum(total, 0) if relu else total
    _wipe(step, n)


def _wipe(step: _Step, n: int) -> None:
    if step.wipe:
        size = step.out_height, step.out_pitch
        image = n * step.target_image
        for plane in step.planes(
            step.arena, step.target, step.outputs, image, size, step.out_pitch
        ):
            plane[:, step.out_width :] = 0
