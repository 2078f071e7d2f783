"""A convolution as a pointwise one of planes that hold what its taps see.

``nn.kernels.program.columns`` says how; here are the planes, and the product that is left of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nn.inference.arena import Below, Plane
from nn.inference.rows import fill_product
from nn.kernels.program.kinds import NUMBERS


def add_columns(plan, conv, source: Sequence[Plane], target, second) -> None:
    """The rows of ``conv``. Taps whose weights are all 0 are left out."""
    (SH, _), (DH, DW), (PH, PW) = conv.stride, conv.dilation, conv.padding
    OH, OW = target[0].shelf.height, target[0].shelf.width
    C, KH, KW = conv.weight.shape[1:]
    taps = [(i, j) for i in range(KH) for j in range(KW) if conv.weight[:, :, i, j].any()]
    taps = taps or [(0, 0)]

    def copy_of(i, j):
        """(top, left) of the copy in which tap (i, j) finds what it sees."""
        return i * DH % SH - PH, j * DW - PW

    copies = sorted({copy_of(*tap) for tap in taps})
    below = max(i * DH // SH for i, _ in taps)
    planes = plan.arena.new_planes((OH + below, OW), len(copies) * len(source), "columns")
    row = plan.new_row(source, planes)
    row.kind, row.offsets = NUMBERS["columns"], [number for copy in copies for number in copy]
    row.stride_y, row.stride_x = conv.stride
    plan.rows.share_planes(row)

    plan.arena.moment += 1
    seen = [
        Below(planes[copies.index(copy_of(i, j)) * len(source) + c], i * DH // SH)
        for first in range(0, len(source), C)
        for i, j in taps
        for c in range(first, first + C)
    ]
    weight = np.concatenate([conv.weight[:, :, i, j, None, None] for i, j in taps], 1)
    product = replace(conv, weight=weight, stride=(1, 1), padding=(0, 0), dilation=(1, 1))
    row = plan.new_row(seen, target, second)
    row.height, row.width = OH, OW
    fill_product(plan.rows, row, product)
