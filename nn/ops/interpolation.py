"""Resizing of feature maps, with PyTorch's conventions of where pixels lie."""

from __future__ import annotations

import math

import numpy as np

from nn.kernels import interpolation
from nn.ops.layout import contiguous
from nn.ops.operation import Operation


class Interpolate(Operation):
    """(N, C, H, W) -> (N, C, OH, OW).

    Options:
        size: the pair (OH, OW).
        mode: "nearest": output pixel i is input pixel floor(i H / OH). "bilinear": i lies at
            (i + 0.5) H / OH - 0.5, not below 0, and mixes the two neighbours on each axis.
        align_corners: (bilinear) i lies at i (H - 1) / (OH - 1): the corner pixels stay in place.
        step: input pixels per output pixel, a pair, where it is not H / OH: a size of
            floor(H scale_factor) goes with the step 1 / scale_factor.
    """

    @staticmethod
    def output_shape(input, *, size, **options):
        return *input[:2], *size

    def forward(self, input, *, size, mode, align_corners=False, step=None):
        if input.ndim != 4 or min(size) < 1 or min(input.shape[2:]) < 1:
            raise ValueError(
                f"interpolate: an input (N, C, H, W) and a size of at least 1 x 1 expected, got "
                f"{input.shape} and {tuple(size)}"
            )
        if mode not in ("nearest", "bilinear"):
            raise ValueError(f"interpolate: mode is 'nearest' or 'bilinear', not {mode!r}")
        step = (None, None) if step is None else step
        axes = [
            _nearest(*axis) if mode == "nearest" else _bilinear(*axis, align_corners)
            for axis in zip(input.shape[2:], size, step, strict=True)
        ]
        (rows, row_share), (columns, column_share) = axes
        number = input.dtype.type
        self.table = rows, columns, row_share.astype(number), column_share.astype(number)
        self.shape = input.shape
        self.plane_shape = (math.prod(input.shape[:2]), *input.shape[2:])
        out = np.empty((self.plane_shape[0], *size), input.dtype)
        interpolation.interpolate_forward(
            contiguous(input).reshape(self.plane_shape), *self.table, out
        )
        return out.reshape(*input.shape[:2], *size)

    def backward(self, grad_output):
        grad_input = np.empty(self.plane_shape, grad_output.dtype)
        grad = contiguous(grad_output).reshape(len(grad_input), *grad_output.shape[2:])
        interpolation.interpolate_backward(grad, *self.table, grad_input)
        return grad_input.reshape(self.shape)


def _nearest(size: int, out_size: int, step: float | None) -> tuple[np.ndarray, np.ndarray]:
    index = np.arange(out_size)
    # In whole numbers: i * (H / OH) may round to just below an integer.
    low = index * size // out_size if step is None else np.floor(index * step).astype(np.int64)
    low = np.minimum(low, size - 1)
    return np.stack([low, low], axis=1), np.zeros(out_size)


def _bilinear(
    size: int, out_size: int, step: float | None, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    index = np.arange(out_size)
    if align_corners:
        place = index * ((size - 1) / (out_size - 1) if out_size > 1 else 0.0)
    else:
        step = size / out_size if step is None else step
        place = np.maximum((index + 0.5) * step - 0.5, 0)
    low = np.minimum(place.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    return np.stack([low, high], axis=1), place - low
