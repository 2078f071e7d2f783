"""Operations whose places are learned: each reads the map at points that offsets have moved.

The offsets are tensors like any other; a convolution that starts at zero usually makes them. Both
operations are made of one, ``nn.ops.deformable.SamplePoints``.
"""

from __future__ import annotations

import numpy as np

from nn.functional.arguments import array_of, pair
from nn.functional.convolution import conv2d
from nn.functional.shape import stack
from nn.ops.deformable import SamplePoints, bin_points, tap_points
from nn.ops.geometry import Geometry
from nn.ops.region_pooling import output_channels, split_rois
from nn.tensor import Tensor, apply, as_tensor


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride=1,
    padding=0,
    dilation=1,
    mask: Tensor | None = None,
) -> Tensor:
    """A convolution each of whose taps is moved, at each place anew.

    y[n, o, p] = b[o] + sum over c, k of w[o, c, k] mask[n, k, p] x[n, c, p + k + offset[n, k, p]],
    where x between pixels is interpolated and outside the map 0.

    Args:
        input: (N, C, H, W).
        offset: (N, 2 G KH KW, OH, OW), for each of G groups of channels and each tap how far down
            and how far right it moves, in pixels.
        weight: (OC, C / groups, KH, KW); the groups follow from it.
        bias: (OC,) or None.
        mask: (N, G KH KW, OH, OW), what each tap is multiplied with; None for 1 (version 1).

    Returns:
        (N, OC, OH, OW), as of ``conv2d``.

    Source: Dai et al., Deformable Convolutional Networks, 2017, equation 2; the mask: Zhu et al.,
    Deformable ConvNets v2, 2019, equation 1. Raises ValueError for shapes that do not fit.
    """
    input, offset, weight = as_tensor(input), as_tensor(offset), as_tensor(weight)
    if input.ndim != 4 or weight.ndim != 4:
        raise ValueError(
            f"deform_conv2d wants N C H W and OC C/groups KH KW, got input {input.shape}, weight "
            f"{weight.shape}"
        )
    N, C, H, W = input.shape
    OC, channels, KH, KW = weight.shape
    taps = KH * KW
    if channels < 1 or C % channels or OC % (C // channels):
        raise ValueError(
            f"deform_conv2d channels do not match: input {input.shape}, weight {weight.shape}"
        )
    geometry = Geometry(weight.shape, pair(stride), pair(padding), pair(dilation))
    OH, OW = geometry.output_size((H, W))
    G = max(offset.shape[1] // (2 * taps), 1) if offset.ndim == 4 else 1
    expected = (N, 2 * G * taps, OH, OW), (N, G * taps, OH, OW)
    if min(OH, OW) < 1:
        raise ValueError(f"deform_conv2d: an output of {OH} x {OW} pixels of input {input.shape}")
    mask = np.ones(expected[1], input.dtype) if mask is None else as_tensor(mask)
    if (offset.shape, mask.shape) != expected or C % G:
        raise ValueError(
            f"deform_conv2d: offset {expected[0]} and mask {expected[1]} expected, their groups a "
            f"divisor of {C} channels, got {offset.shape} and {mask.shape}"
        )
    points = offset.reshape(N, G, taps, 2, OH * OW).permute(0, 1, 3, 2, 4)
    points = points + tap_points(geometry, (H, W)).astype(input.dtype)
    samples = apply(
        SamplePoints, input, points.reshape(N, G, 2, taps * OH * OW),
        mask.reshape(N, G, taps * OH * OW), images=np.arange(N),
    )  # fmt: skip
    # Where its taps lie no longer matters: a product for each place, over channels and taps.
    samples = samples.reshape(N, C * taps, OH, OW)
    weight = weight.reshape(OC, channels * taps, 1, 1)
    return conv2d(samples, weight, bias, groups=C // channels)


def deform_ps_roi_pool(
    input: Tensor,
    rois: Tensor | np.ndarray,
    trans: Tensor,
    output_size,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 4,
    trans_std: float = 0.1,
) -> Tensor:
    """Position-sensitive region pooling, each of whose bins is moved.

    A bin is the mean of its ``sampling_ratio`` x ``sampling_ratio`` interpolated values of its own
    channel, (c PH + ph) PW + pw. Those more than half a pixel outside the map do not count.

    Args:
        input: (N, OC PH PW, H, W).
        rois: (K, 5), see ``nn.functional.region_pooling``; without a gradient.
        trans: (K, 2 classes, PH, PW), how far right and how far down each bin moves, for each class
            of OC / classes channels; in ``trans_std`` of the region's width and height.

    Returns:
        (K, OC, PH, PW).

    Source: Dai et al., Deformable Convolutional Networks, 2017, section 2.2, and the authors' code
    (msracver/Deformable-ConvNets). Raises ValueError for shapes that do not fit.
    """
    input, trans, bins = as_tensor(input), as_tensor(trans), pair(output_size)
    channels = output_channels("deform_ps_roi_pool", input.data, bins, True)
    images, corners = split_rois("deform_ps_roi_pool", input.data, array_of(rois))
    classes = trans.shape[1] // 2 if trans.ndim == 4 else 0
    if classes < 1 or channels % classes or trans.shape != (len(corners), 2 * classes, *bins):
        raise ValueError(
            f"deform_ps_roi_pool: trans ({len(corners)}, 2 classes, {bins[0]}, {bins[1]}) expected,"
            f" the classes a divisor of {channels} channels, got {trans.shape}"
        )
    # A bin's channels side by side, for all its classes; the map, once, in that order.
    count, (N, _, H, W) = bins[0] * bins[1], input.shape
    planes = input.reshape(N, channels, count, H, W).transpose(1, 2)
    planes = planes.reshape(N, count * channels, H, W)
    base, sizes = bin_points(corners, bins, spatial_scale, sampling_ratio)
    moves = trans.reshape(len(corners), classes, 2, count).permute(0, 3, 1, 2)[..., ::-1]
    moves = moves * (trans_std * sizes[:, None, None]).astype(input.dtype)
    points = moves.unsqueeze(-1) + base[:, :, None].astype(input.dtype)  # (K, bin, class, 2, point)
    rows, columns = points[..., 0, :], points[..., 1, :]
    inside = _within_half(rows.data, H) & _within_half(columns.data, W)
    mask = inside / np.maximum(inside.sum(-1, keepdims=True), 1)
    points = stack([rows.clamp(0, H - 1), columns.clamp(0, W - 1)], 3)
    sets = len(corners), count * classes
    samples = apply(
        SamplePoints, planes, points.reshape(*sets, 2, sampling_ratio**2),
        mask.reshape(*sets, sampling_ratio**2).astype(input.dtype), images=images,
    )  # fmt: skip
    return samples.sum(-1).reshape(len(corners), *bins, channels).permute(0, 3, 1, 2)


def _within_half(points: np.ndarray, length: int) -> np.ndarray:
    """Whether points lie on one of ``length`` pixels, each of which reaches half of one around."""
    return (points >= -0.5) & (points <= length - 0.5)
