"""Convolution and its transpose."""

from __future__ import annotations

from nn.functional.arguments import pair
from nn.functional.shape import pad
from nn.ops.convolution import Conv2d, ConvTranspose2d
from nn.tensor import Tensor, apply, as_tensor


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
        padding: an int, a pair, "valid" (0) or, with stride 1, "same": zeros so that the size
            stays, one more behind than before where their number is odd.
        groups: channels are split into this many groups that do not see each other; C for
            depthwise convolution.

    Returns:
        (N, OC, OH, OW) with OH = (H + 2 p - d (KH - 1) - 1) // s + 1.
    """
    stride, dilation = pair(stride), pair(dilation)
    if isinstance(padding, str):
        input, padding = _padded(input, weight, stride, padding, dilation)
    inputs = (input, weight) if bias is None else (input, weight, bias)
    return apply(
        Conv2d, *inputs, stride=stride, padding=pair(padding), dilation=dilation, groups=groups
    )


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride=1,
    padding=0,
    output_padding=0,
    groups: int = 1,
    dilation=1,
) -> Tensor:
    """What ``conv2d`` with these weights does to a gradient: a map that grows by the stride.

    Args:
        input: (N, C, H, W).
        weight: (C, OC / groups, KH, KW).
        bias: (OC,) or None.
        output_padding: added to the size, below the stride: conv2d makes one H of several OH.

    Returns:
        (N, OC, OH, OW) with OH = (H - 1) s - 2 p + d (KH - 1) + output_padding + 1.
    """
    inputs = (input, weight) if bias is None else (input, weight, bias)
    return apply(
        ConvTranspose2d, *inputs,
        stride=pair(stride), padding=pair(padding), output_padding=pair(output_padding),
        dilation=pair(dilation), groups=groups,
    )  # fmt: skip


def _padded(input, weight, stride, padding: str, dilation) -> tuple[Tensor, tuple[int, int]]:
    """The input and the padding on each of its sides that "same" or "valid" mean."""
    if padding == "valid":
        return input, (0, 0)
    if padding != "same" or stride != (1, 1):
        raise ValueError(
            f"conv2d: padding is a number, a pair, 'valid' or, with stride 1, 'same'; got "
            f"{padding!r} and stride {stride}"
        )
    reach = [d * (k - 1) for k, d in zip(as_tensor(weight).shape[2:], dilation, strict=True)]
    if reach[0] % 2 or reach[1] % 2:
        input = pad(input, (0, reach[1] % 2, 0, reach[0] % 2))
    return input, (reach[0] // 2, reach[1] // 2)
