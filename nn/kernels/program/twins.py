"""The NumPy twin of ``nn.kernels.program.interpreter``: the same table, one step after the other.

Fields of a step, all int64 (pairs are vertical, horizontal):

    kind            which function of ``nn.kernels.program.steps``
    first, tasks    number of its first task, how many tasks it is cut into
    images          N
    source, target  where in ``places`` the lists of planes begin; ``channels`` and ``outputs``
                    are how many, source_image and target_image the way from image to image
    external        the source is the network's input, not in the arena
    height, width, out_height, out_width   of the planes
    kernel_height, kernel_width, stride_y, ..., dilation_x   of the convolution's window
    middle_height, middle_width   of what is pooled, or of a strided convolution's result
    pool_kernel_height, ..., pool_dilation_x   of the pooling's window
    held            room for so many rows in a plane that is sorted by phase
    flat            a tap sees the pixel as far from the output pixel everywhere: rows read as one
    weight, bias    where in ``weights`` they begin
    taps            where in ``places`` a list of offsets into working memory or weights begins
    tile, tiles, row_blocks, rows    how the work is cut: ``tiles`` of ``tile`` pixels and, in each,
                    ``row_blocks`` of ``rows`` outputs; or else ``rows`` planes, or rows of the
                    target (``tiles`` times in an image), for a task
    accumulate      add to what the target holds
    relu            max(0, .) at the end
"""

from __future__ import annotations

import numpy as np

from nn.kernels.convolution import conv2d_forward_reference
from nn.kernels.depthwise import depthwise_forward_reference
from nn.kernels.machine.register_blocks import ROWS
from nn.kernels.pooling import max_pool2d_forward_reference
from nn.kernels.winograd import PLACES, A, B

FIELDS = """
kind first tasks images tile tiles row_blocks rows
source source_image external channels height width
target target_image outputs out_height out_width
kernel_height kernel_width stride_y stride_x padding_y padding_x dilation_y dilation_x
middle_height middle_width pool_kernel_height pool_kernel_width pool_stride_y pool_stride_x
pool_padding_y pool_padding_x pool_dilation_y pool_dilation_x held
flat weight bias taps accumulate relu
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

    def planes(self, flat, first, count, image, size):
        """A list of planes as views (H, W) into ``flat``."""
        starts = self.places[first : first + count] + image
        return [flat[start : start + size[0] * size[1]].reshape(size) for start in starts]

    def sources(self, n):
        image, size = n * self.source_image, (self.height, self.width)
        return self.planes(self.read_from, self.source, self.channels, image, size)

    def targets(self, n):
        size = self.out_height, self.out_width
        return self.planes(self.arena, self.target, self.outputs, n * self.target_image, size)

    def geometry(self, prefix=""):
        """Stride, padding and dilation."""
        fields = ("stride", "padding", "dilation")
        return [[getattr(self, f"{prefix}{field}_{axis}") for axis in "yx"] for field in fields]


def _run_step(step: _Step, n: int) -> None:
    """One step for image ``n``, by its kind: the order of ``nn.kernels.program.steps``."""
    products = (_product, _product, _product, _pooled_product)
    others = _max_pool, _mean, _linear, _winograd_input, _winograd
    kinds = (*products, _depthwise, _depthwise, *others)
    kinds[step.kind](step, n)


def _product(step: _Step, n: int) -> None:
    _store(step, n, _convolved(step, n, (step.out_height, step.out_width)), step.relu)


def _pooled_product(step: _Step, n: int) -> None:
    """A convolution, then max pooling of its result."""
    result = _convolved(step, n, (step.middle_height, step.middle_width))
    _max_pool(step, n, np.maximum(result, 0) if step.relu else result)


def _convolved(step: _Step, n: int, size: tuple[int, int]) -> np.ndarray:
    """Weights are packed (OC / ROWS, KH KW C, ROWS), see ``nn.inference.convolution_rows``."""
    weight = _unpacked(step, step.kernel_height, step.kernel_width)
    input, bias = np.stack(step.sources(n)), step.array(step.bias, step.outputs)
    out = np.empty((1, step.outputs, *size), step.arena.dtype)
    conv2d_forward_reference(input[None], weight, bias, out, *step.geometry(), False)
    return out[0]


def _unpacked(step: _Step, KH: int, KW: int) -> np.ndarray:
    """Weights (OC, C, KH, KW) from (OC / ROWS, KH KW C, ROWS)."""
    groups = -(-step.outputs // ROWS)
    packed = step.array(step.weight, groups, KH * KW * step.channels, ROWS).transpose(0, 2, 1)
    weight = packed.reshape(groups * ROWS, KH, KW, step.channels)[: step.outputs]
    return weight.transpose(0, 3, 1, 2)


def _depthwise(step: _Step, n: int) -> None:
    input, out = np.stack(step.sources(n))[None], np.stack(step.targets(n))[None]
    weight = step.array(step.weight, step.channels, 1, step.kernel_height, step.kernel_width)
    bias = step.array(step.bias, step.channels)
    depthwise_forward_reference(input, weight, bias, out, *step.geometry(), step.relu)
    for target, plane in zip(step.targets(n), out[0], strict=True):
        target[:] = plane


def _max_pool(step: _Step, n: int, input=None) -> None:
    """The largest value under each window; the padding never wins."""
    input = np.stack(step.sources(n)) if input is None else input
    out = np.empty((len(input), step.out_height, step.out_width), input.dtype)
    kernel_size = step.pool_kernel_height, step.pool_kernel_width
    indices = np.empty(out.shape, np.int32)
    max_pool2d_forward_reference(input, kernel_size, *step.geometry("pool_"), out, indices)
    for target, plane in zip(step.targets(n), out, strict=True):
        target[:] = plane


def _mean(step: _Step, n: int) -> None:
    start = step.places[step.target] + n * step.target_image
    step.arena[start : start + step.channels] = [p.mean(dtype=np.float64) for p in step.sources(n)]


def _linear(step: _Step, n: int) -> None:
    weight = step.array(step.weight, step.outputs, step.channels)
    source = step.places[step.source] + n * step.source_image
    target = step.places[step.target] + n * step.target_image
    result = weight @ step.arena[source : source + step.channels]
    step.arena[target : target + step.outputs] = result + step.array(step.bias, step.outputs)


def _winograd_input(step: _Step, n: int) -> None:
    """B^T d B of all tiles d, 4 x 4 pixels every 2 pixels."""
    TH, TW = step.out_height, step.out_width
    canvas = np.zeros((step.channels, *(2 * size + 2 for size in (TH, TW))), step.arena.dtype)
    inside = canvas[:, step.padding_y :, step.padding_x :][:, : step.height, : step.width]
    inside[:] = np.stack(step.sources(n))[:, : inside.shape[1], : inside.shape[2]]
    tiles = np.lib.stride_tricks.sliding_window_view(canvas, (4, 4), (1, 2))[:, ::2, ::2]
    transformed = np.einsum("ia,cyxij,jb->abcyx", B, tiles, B)
    size = TH, TW
    targets = step.planes(
        step.arena, step.target, PLACES * step.channels, n * step.target_image, size
    )
    for plane, target in zip(transformed.reshape(-1, TH, TW), targets, strict=True):
        target[:] = plane


def _winograd(step: _Step, n: int) -> None:
    """Y = A^T M A + bias, M the sum over channels of each place of the tiles."""
    channels, groups = step.channels // PLACES, -(-step.outputs // ROWS)
    packed = step.array(step.weight, PLACES, groups, channels, ROWS).transpose(0, 1, 3, 2)
    weight = packed.reshape(4, 4, groups * ROWS, channels)[:, :, : step.outputs]
    tiles = np.stack(step.sources(n)).reshape(4, 4, channels, step.height, step.width)
    products = np.einsum("aboc,abcyx->aboyx", weight, tiles)
    pixels = np.einsum("ai,aboyx,bj->oyixj", A, products, A)
    result = pixels.reshape(step.outputs, 2 * step.height, 2 * step.width)
    result = result[:, : step.out_height, : step.out_width]
    _store(step, n, result + step.array(step.bias, step.outputs, 1, 1), step.relu)


def _store(step: _Step, n: int, result: np.ndarray, relu: bool) -> None:
    for plane, target in zip(result, step.targets(n), strict=True):
        total = target + plane if step.accumulate else plane
        target[:] = np.maximum(total, 0) if relu else total
