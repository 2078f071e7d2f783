"""What stands in a row of the table for a convolution.

``Plan`` knows which planes a row reads and writes; here are the numbers its kernel needs beside
them: the window, the weights in the order in which they are used, the working memory, and how the
work is cut into tasks. ``nn.kernels.program.step`` explains the fields. ``conv`` is always the
``Convolution`` that asks.
"""

from __future__ import annotations

import numpy as np

from nn.inference.table import Row, Table
from nn.inference.trace import Call
from nn.kernels.depthwise import COLUMNS
from nn.kernels.machine.register_blocks import ROWS
from nn.kernels.matmul import PITCH
from nn.kernels.program.finish import FUNCTIONS, JOINS
from nn.kernels.program.kinds import NUMBERS
from nn.kernels.program.linear import IMAGES
from nn.kernels.winograd import PLACES, tiles_of, transform_weight

WORK = 1 << 17  # numbers of working memory that stay in the cache: 512 KB


def fill_product(table: Table, row: Row, conv) -> None:
    """A pointwise convolution or one of gathered patches, in groups or not."""
    _fill(table, row, conv)
    row.kind = NUMBERS["product"]
    row.weight = table.constants.place(conv.weight, _packed, conv.groups)
    row.pointwise = conv.geometry.keeps_pixels
    table.share_tiles(row, row.out_height * row.out_width)


def fill_depthwise(table: Table, row: Row, conv) -> None:
    """The stencil of taps around a pixel, or any other depthwise convolution."""
    _fill(table, row, conv)
    row.weight = table.constants.place(conv.weight)
    table.share_planes(row)
    if conv.geometry.is_centred:
        row.kind = NUMBERS["stencil"]
        return
    row.kind = NUMBERS["depthwise"]
    (KH, KW), (SH, SW), (DH, DW) = conv.weight.shape[2:], conv.stride, conv.dilation
    height = row.out_height + (KH - 1) * DH // SH
    width = row.out_width + (KW - 1) * DW // SW
    table.need_scratch((SH * SW + 1) * height * width)


def fill_scale(table: Table, row: Row, conv) -> None:
    """A number for each channel to multiply with, another to add."""
    _fill(table, row, conv)
    row.kind, row.weight = NUMBERS["scale"], table.constants.place(conv.weight)
    table.share_planes(row)


def fill_linear(table: Table, row: Row, conv) -> None:
    """A fully connected layer."""
    _fill(table, row, conv)
    row.kind = NUMBERS["linear"]
    row.weight = table.constants.place(conv.weight, _in_columns)
    table.share_outputs(row, COLUMNS)
    row.row_blocks = row.tasks
    row.tasks *= -(-row.images // IMAGES)
    K = conv.weight[0].size
    table.need_scratch(min(IMAGES, row.images) * (K + row.rows))


def fill_strided(table: Table, row: Row, conv) -> None:
    """A strided convolution of rows that are sorted by phase, perhaps pooled."""
    _fill(table, row, conv)
    row.kind = NUMBERS["strided"]
    row.weight = table.constants.place(conv.weight, _packed)
    row.middle_height, row.middle_width = row.out_height, row.out_width
    # One row of the target takes ``reach`` rows of the convolution, the next is ``stride`` on.
    stride, reach = 1, 1
    if conv.pool is not None:
        row.pooled = True
        set_pool(row, conv.pool)
        stride = row.pool_stride_y
        reach = (row.pool_kernel_height - 1) * row.pool_dilation_y + 1
    (KH, KW), (SH, SW), (DH, DW) = conv.weight.shape[2:], conv.stride, conv.dilation
    channels, width = row.channels, row.middle_width
    phases, below = channels * SH * SW, (KH - 1) * DH // SH
    pitch = width + (KW - 1) * DW // SW
    # As many rows a task as the cache next to the processor holds.
    fit = (WORK - phases * pitch * below) // (phases * pitch + ROWS * width)
    table.share_rows(row, (fit - reach) // stride + 1)
    rows = (row.rows - 1) * stride + reach
    row.held = rows + below
    # Tap i looks at row y s + i d - p, which is row y + (i d) // s of phase (i d) mod s.
    taps = [
        ((c * SH + i * DH % SH) * SW + j * DW % SW) * row.held * pitch
        + i * DH // SH * pitch
        + j * DW // SW
        for i in range(KH)
        for j in range(KW)
        for c in range(channels)
    ]
    end = phases * row.held * pitch
    row.offsets = taps + [end + m * rows * width for m in range(ROWS + 1)]
    table.need_scratch(row.offsets[-1] + line(row))


def tiles_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the planes of tiles for an output of ``size``."""
    return tiles_of(size[0]), tiles_of(size[1])


def fill_winograd_input(table: Table, row: Row, conv) -> None:
    """All tiles of the input of ``fill_winograd``'s row."""
    row.kind = NUMBERS["winograd input"]
    _set_window(row, (3, 3), padding=conv.padding)
    table.share_planes(row)


def fill_winograd(table: Table, row: Row, conv) -> None:
    """The products of ``nn.kernels.winograd``."""
    _fill(table, row, conv)
    row.kind = NUMBERS["winograd"]
    row.weight = table.constants.place(conv.weight, _transformed)
    table.share_tiles(row, row.height * row.width, WORK // (PLACES * PITCH))
    table.need_scratch((PLACES + 4) * row.rows * PITCH)


def set_pool(row: Row, call: Call) -> None:
    """The window of a max pooling."""
    row.middle_height, row.middle_width = call.inputs[0].shape[2:]
    sizes = ("kernel_size", "stride", "padding", "dilation")
    _set_window(row, *(call.options[name] for name in sizes), prefix="pool_")


def line(row: Row) -> int:
    """Working memory for the line of ``nn.kernels.program.pooling.pool_rows``."""
    reach = (row.out_width - 1) * row.pool_stride_x
    reach += row.pool_kernel_width * row.pool_dilation_x
    return max(reach, row.pool_padding_x + row.middle_width) + PITCH  # read in whole vectors


def _fill(table: Table, row: Row, conv) -> None:
    """What all convolutions have."""
    _set_window(row, conv.weight.shape[2:], conv.stride, conv.padding, conv.dilation)
    row.groups, row.bias = conv.groups, table.constants.place(conv.bias)
    row.low, row.high, row.goes_on = conv.low, conv.high, conv.goes_on
    row.join, row.function = JOINS.index(conv.join), list(FUNCTIONS).index(conv.function)
    row.slope, row.last_low, row.last_high = conv.slope, conv.last_low, conv.last_high


def _set_window(
    row: Row, kernel_size, stride=(1, 1), padding=(0, 0), dilation=(1, 1), prefix: str = ""
) -> None:
    pairs = {"stride": stride, "padding": padding, "dilation": dilation}
    for axis, length, size in zip("yx", ("height", "width"), kernel_size, strict=True):
        setattr(row, f"{prefix}kernel_{length}", size)
        for name, pair in pairs.items():
            setattr(row, f"{prefix}{name}_{axis}", pair["yx".index(axis)])


def _packed(weight: np.ndarray, groups: int = 1) -> np.ndarray:
    """Weights (OC, C, KH, KW) in the order in which they are used: (groups, OC / groups / ROWS,
    KH KW C, ROWS)."""
    taps = weight.transpose(0, 2, 3, 1).reshape(groups, len(weight) // groups, -1)
    return _in_full(taps, ROWS).reshape(groups, -1, ROWS, taps.shape[2]).transpose(0, 1, 3, 2)


def _transformed(weight: np.ndarray) -> np.ndarray:
    """The same of weights (OC, C, 3, 3) for each place of a tile, one after the other."""
    return np.stack([_packed(place[:, :, None, None]) for place in transform_weight(weight)])


def _in_columns(weight: np.ndarray) -> np.ndarray:
    """The same for a fully connected layer: (OC / COLUMNS, K, COLUMNS)."""
    weight = _in_full(weight.reshape(len(weight), -1), COLUMNS)
    return weight.reshape(-1, COLUMNS, weight.shape[1]).transpose(0, 2, 1)


def _in_full(weight: np.ndarray, multiple: int) -> np.ndarray:
    """(..., OC, K) with zeros behind, so that OC is a multiple; itself if it is one."""
    missing = -weight.shape[-2] % multiple
    if not missing:
        return weight
    zeros = np.zeros((*weight.shape[:-2], missing, weight.shape[-1]), weight.dtype)
    return np.concatenate([weight, zeros], -2)
