"""What stands in a row of the table for a convolution or a max pooling.

``Plan`` knows which planes a row reads and writes; here are the numbers its kernel needs beside
them: the window, the weights in the order in which they are used, the working memory, and how the
work is cut into tasks. ``nn.kernels.program.twins`` explains the fields.
"""

from __future__ import annotations

import numpy as np

from nn.inference.simplify import Convolution
from nn.inference.table import Table
from nn.inference.trace import Call
from nn.kernels.machine.register_blocks import ROWS
from nn.kernels.matmul import TILE
from nn.kernels.program import steps as kinds
from nn.kernels.winograd import PLACES, transform_weight

WORK = 1 << 17  # numbers of working memory that stay in the cache: 512 KB
EVERYTHING = slice(None)


def fill_product(table: Table, row: dict, conv: Convolution, part: slice = EVERYTHING) -> None:
    """A pointwise convolution or one of gathered patches; ``part`` of its outputs, if in groups."""
    _fill(table, row, conv, part)
    row["kind"] = kinds.POINTWISE if conv.is_pointwise else kinds.CONVOLUTION
    row["weight"] = table.constant(_packed(conv.weight[part]))
    row["flat"] = conv.keeps_size
    table.share_tiles(row, row["out_height"] * row["out_width"])


def fill_depthwise(table: Table, row: dict, conv: Convolution) -> None:
    """The stencil of 3 x 3 taps, or any other depthwise convolution."""
    _fill(table, row, conv)
    row["weight"] = table.constant(conv.weight)
    table.share_planes(row)
    (KH, KW), (SH, SW), (DH, DW) = conv.weight.shape[2:], conv.stride, conv.dilation
    if ((KH, KW), conv.padding, (DH, DW)) == ((3, 3), (1, 1), (1, 1)) and SH == SW <= 2:
        row["kind"] = kinds.STENCIL
        return
    row["kind"] = kinds.DEPTHWISE
    height = row["out_height"] + (KH - 1) * DH // SH
    width = row["out_width"] + (KW - 1) * DW // SW
    table.need_scratch((SH * SW + 1) * height * width)


def fill_strided(table: Table, row: dict, conv: Convolution) -> None:
    """A strided convolution of rows that are sorted by phase, perhaps pooled."""
    _fill(table, row, conv)
    row["kind"] = kinds.STRIDED
    row["weight"] = table.constant(_packed(conv.weight))
    row["middle_height"], row["middle_width"] = row["out_height"], row["out_width"]
    # One row of the target takes ``reach`` rows of the convolution, the next is ``stride`` on.
    stride, reach = 1, 1
    if conv.pool is not None:
        row["kind"] = kinds.STRIDED_MAX_POOL
        _set_pool(row, conv.pool)
        stride = row["pool_stride_y"]
        reach = (row["pool_kernel_height"] - 1) * row["pool_dilation_y"] + 1
    (KH, KW), (SH, SW), (DH, DW) = conv.weight.shape[2:], conv.stride, conv.dilation
    channels, width = row["channels"], row["middle_width"]
    phases, below = channels * SH * SW, (KH - 1) * DH // SH
    pitch = width + (KW - 1) * DW // SW
    # As many rows a task as the cache next to the processor holds.
    fit = (WORK - phases * pitch * below) // (phases * pitch + ROWS * width)
    table.share_rows(row, (fit - reach) // stride + 1)
    rows = (row["rows"] - 1) * stride + reach
    row["held"] = rows + below
    # Tap i looks at row y s + i d - p, which is row y + (i d) // s of phase (i d) mod s.
    taps = [
        ((c * SH + i * DH % SH) * SW + j * DW % SW) * row["held"] * pitch
        + i * DH // SH * pitch
        + j * DW // SW
        for i in range(KH)
        for j in range(KW)
        for c in range(channels)
    ]
    end = phases * row["held"] * pitch
    row["taps"] = taps + [end + m * rows * width for m in range(ROWS + 1)]
    table.need_scratch(row["taps"][-1] + _line(row))


def fill_winograd_input(table: Table, row: dict, conv: Convolution) -> None:
    """All tiles of the input of ``fill_winograd``'s row."""
    row["kind"] = kinds.WINOGRAD_INPUT
    _set_window(row, (3, 3), padding=conv.padding)
    table.share_planes(row)
    table.need_scratch(4 * (row["out_height"] + 1) * row["out_width"])


def fill_winograd(table: Table, row: dict, conv: Convolution) -> None:
    """The products of ``nn.kernels.winograd``."""
    row["kind"], row["relu"] = kinds.WINOGRAD, conv.relu
    row["bias"] = table.constant(conv.bias)
    weights = [_packed(place[:, :, None, None]) for place in transform_weight(conv.weight)]
    row["weight"] = table.constant(np.stack(weights))
    table.share_tiles(row, row["height"] * row["width"], WORK // (PLACES * TILE))
    table.need_scratch((PLACES + 4) * row["rows"] * TILE)


def fill_max_pool(table: Table, row: dict, call: Call) -> None:
    """A max pooling that follows no strided convolution."""
    row["kind"] = kinds.MAX_POOL
    _set_pool(row, call)
    table.share_planes(row)
    table.need_scratch(_line(row))


def _fill(table: Table, row: dict, conv: Convolution, part: slice = EVERYTHING) -> None:
    """What all convolutions have."""
    _set_window(row, conv.weight.shape[2:], conv.stride, conv.padding, conv.dilation)
    row["bias"] = table.constant(conv.bias[part])
    row["relu"], row["accumulate"] = conv.relu, conv.onto is not None


def _set_pool(row: dict, call: Call) -> None:
    row["middle_height"], row["middle_width"] = call.inputs[0].shape[2:]
    sizes = ("kernel_size", "stride", "padding", "dilation")
    _set_window(row, *(call.options[name] for name in sizes), prefix="pool_")


def _set_window(
    row: dict, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), prefix: str = ""
) -> None:
    row[f"{prefix}kernel_height"], row[f"{prefix}kernel_width"] = kernel_size
    for name, pair in (("stride", stride), ("padding", padding), ("dilation", dilation)):
        row[f"{prefix}{name}_y"], row[f"{prefix}{name}_x"] = pair


def _line(row: dict) -> int:
    """Working memory for the line of ``nn.kernels.program.steps.pool_rows``."""
    reach = (row["out_width"] - 1) * row["pool_stride_x"]
    reach += row["pool_kernel_width"] * row["pool_dilation_x"]
    return max(reach, row["pool_padding_x"] + row["middle_width"]) + TILE  # read in whole vectors


def _packed(weight: np.ndarray) -> np.ndarray:
    """Weights (OC, C, KH, KW) in the order in which they are used: (OC / ROWS, KH KW C, ROWS)."""
    OC = len(weight)
    rows = np.zeros((-(-OC // ROWS) * ROWS, weight[0].size), weight.dtype)
    rows[:OC] = weight.transpose(0, 2, 3, 1).reshape(OC, -1)
    return rows.reshape(-1, ROWS, rows.shape[1]).transpose(0, 2, 1)
