"""What each tap of a window sees, as planes of the output's width: a convolution becomes a product.

Tap (i, j) of output pixel (y, x) sees the input at (y s + i d - p, x s + j d - p). For one i mod s
and one j, that is one plane, of which every tap row begins some rows further down: its pixels
follow each other as the output's do. So this step copies an input plane once for each tap *column*
(and, with a stride, for each row's phase), and what is left is a pointwise convolution of these
planes. Unlike patches gathered tile by tile, they serve all outputs, in whatever tasks.
"""

from __future__ import annotations

import numpy as np

from nn.kernels.machine.addressed import addressed
from nn.kernels.program.step import View
from nn.kernels.program.strided import fetch_seen


def columns_reference(view: View) -> None:
    """Plane t C + c is plane c at (y stride_y + top_t, x stride_x + left_t), zero beyond it."""
    step, source, planes = view.step, view.source, []
    for top, left in view.places[step.taps :][: 2 * step.outputs // step.channels].reshape(-1, 2):
        y = np.arange(step.out_height)[:, None] * step.stride_y + top
        x = np.arange(step.out_width) * step.stride_x + left
        inside = (y >= 0) & (y < step.height) & (x >= 0) & (x < step.width)
        seen = source[:, y.clip(0, step.height - 1), x.clip(0, step.width - 1)]
        planes.append(np.where(inside, seen, 0))
    view.put(np.concatenate(planes))


@addressed
def columns(step, task, places, weights, source, arena, work):
    """Some planes; ``taps`` lists (top, left) of each copy."""
    copies = step.outputs // step.channels
    for plane in range(task * step.rows, min((task + 1) * step.rows, step.images * step.channels)):
        n, c = divmod(plane, step.channels)
        image = places[step.source + c] + n * step.source_image
        for t in range(copies):
            top, left = places[step.taps + 2 * t], places[step.taps + 2 * t + 1]
            target = places[step.target + t * step.channels + c] + n * step.target_image
            fetch_seen(step, image, top, left, step.out_height, step.out_width,
                       source, arena, target)  # fmt: skip
