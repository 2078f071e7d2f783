"""Convolution and its special case without neighbours, the fully connected layer."""

from __future__ import annotations

from nn.functional.arguments import pair
from nn.ops.convolution import Conv2d
from nn.ops.linear import Linear
from nn.tensor import Tensor, apply


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride=1,
    padding=0,
    dilation=1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of each image with each filter.

    y[n, o, i, j] = b[o] + sum over c, u, v of w[o, c, u, v] x[n, c, i s - p + u d, j s - p + v d]

    Args:
        input: (N, C, H, W).
        weight: (OC, C / groups, KH, KW).
        bias: (OC,) or None.
        groups: channels are split into this many groups that do not see each other; C for
            depthwise convolution.

    Returns:
        (N, OC, OH, OW) with OH = (H + 2 p - d (KH - 1) - 1) // s + 1.
    """
    inputs = (input, weight) if bias is None else (input, weight, bias)
    return apply(
        Conv2d, *inputs,
        stride=pair(stride), padding=pair(padding), dilation=pair(dilation), groups=groups,
    )  # fmt: skip


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x W^T + b: (..., IN), (OUT, IN), (OUT,) -> (..., OUT)."""
    return apply(Linear, input, weight) if bias is None else apply(Linear, input, weight, bias)
