"""What a step of a compiled network is: a row of the table that ``interpreter`` runs.

``STEP`` is the same as a NumPy type. Offsets "in places" say where in the list of numbers
``places`` another list begins: of planes (where pixel (0, 0) of each lies), or of taps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np


@dataclass
class Step:
    """Pairs are vertical, then horizontal."""

    kind: int = 0  # which of ``kinds.KINDS``
    first: int = 0  # the number of its first task
    tasks: int = 1  # how many tasks it is cut into
    images: int = 1

    # How it is cut: ``tiles`` of ``tile`` pixels and, in each, ``row_blocks`` of ``rows`` outputs;
    # or else ``rows`` planes, or rows of the target (``tiles`` times in an image), for a task.
    tile: int = 0
    tiles: int = 0
    row_blocks: int = 0
    rows: int = 0

    source: int = 0  # in places: ``channels`` planes of height x width
    source_image: int = 0  # numbers from one image to the next
    packed: int = 0  # its planes follow each other without a gap
    external: int = 0  # the source is the network's input, not in the arena
    channels: int = 0
    height: int = 0
    width: int = 0

    target: int = 0  # in places: ``outputs`` planes of out_height x out_width
    target_image: int = 0
    outputs: int = 0
    out_height: int = 0
    out_width: int = 0

    groups: int = 1
    kernel_height: int = 1
    kernel_width: int = 1
    stride_y: int = 1
    stride_x: int = 1
    padding_y: int = 0
    padding_x: int = 0
    dilation_y: int = 1
    dilation_x: int = 1

    pooled: int = 0  # whether max pooling follows, with this window
    pool_kernel_height: int = 1
    pool_kernel_width: int = 1
    pool_stride_y: int = 1
    pool_stride_x: int = 1
    pool_padding_y: int = 0
    pool_padding_x: int = 0
    pool_dilation_y: int = 1
    pool_dilation_x: int = 1
    middle_height: int = 0  # of what is pooled, or of a strided convolution's result
    middle_width: int = 0

    pointwise: int = 0  # a pixel sees itself: the patches are the planes
    centred: int = 0  # the windows of a mean are those of a stencil
    held: int = 0  # room for so many rows in a plane that is sorted by phase
    weight: int = 0  # where in ``weights`` it begins
    bias: int = 0
    taps: int = 0  # in places: offsets into working memory or weights

    # What becomes of a result x: clamp(x, low, high) and, if that is not all (``goes_on``),
    # clamp(function(x join second), last_low, last_high).
    low: float = -math.inf
    high: float = math.inf
    goes_on: int = 0
    join: int = 0  # which of ``finish.JOINS``
    second: int = 0  # in places: ``outputs`` planes, of the target's size or one pixel
    second_image: int = 0
    function: int = 0  # which of ``finish.FUNCTIONS``
    slope: float = 1.0  # a number that the function takes
    last_low: float = -math.inf
    last_high: float = math.inf


STEP = np.dtype(
    [(field.name, np.float64 if field.type == "float" else np.int64) for field in fields(Step)]
)


class View:
    """A step for image ``n``, and what it points to as arrays: what the twins work on."""

    def __init__(self, step, n, places, weights, image, arena):
        self.step, self.n, self.places, self.weights, self.arena = step, n, places, weights, arena
        self.read_from = image if step.external else arena

    def array(self, start, *shape) -> np.ndarray:
        """Constants."""
        return self.weights[start : start + math.prod(shape)].reshape(shape)

    def planes(self, flat, first, count, image, size) -> list[np.ndarray]:
        """A list of planes as views (H, W) into ``flat``."""
        starts = self.places[first : first + count] + self.n * image
        return [flat[start : start + size[0] * size[1]].reshape(size) for start in starts]

    @property
    def source(self) -> np.ndarray:
        """(C, H, W)"""
        step = self.step
        size = step.height, step.width
        first, count, image = step.source, step.channels, step.source_image
        return np.stack(self.planes(self.read_from, first, count, image, size))

    def second(self, size) -> np.ndarray:
        step = self.step
        image = step.second_image
        return np.stack(self.planes(self.arena, step.second, step.outputs, image, size))

    def put(self, planes: np.ndarray) -> None:
        """(OC, OH, OW) to the target."""
        step = self.step
        size = step.out_height, step.out_width
        first, count, image = step.target, step.outputs, step.target_image
        targets = self.planes(self.arena, first, count, image, size)
        for target, plane in zip(targets, planes, strict=True):
            target[:] = plane

    def spacing(self, prefix: str = "") -> list[tuple[int, int]]:
        """Stride, padding and dilation."""
        names = ("stride", "padding", "dilation")
        return [
            tuple(getattr(self.step, f"{prefix}{name}_{axis}") for axis in "yx") for name in names
        ]
