"""The operations on tensors under PyTorch's names: check the arguments, then ``apply``.

Shapes are N C H W. Kernel sizes, strides, paddings and dilations are an int or a pair (H, W).
"""

from __future__ import annotations

from collections.abc import Sequence

from nn.ops.convolution import Conv2d
from nn.ops.linear import Linear
from nn.ops.shape import Cat
from nn.tensor import Tensor, apply, as_tensor


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """3 -> (3, 3); (3, 5) stays."""
    if isinstance(value, Sequence):
        first, second = value
        return int(first), int(second)
    return int(value), int(value)


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


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors one after the other along ``dim``; their other sizes must agree."""
    tensors = [as_tensor(tensor) for tensor in tensors]
    if not tensors:
        raise ValueError("cat: there is nothing to concatenate")
    return apply(Cat, *tensors, dim=dim)
