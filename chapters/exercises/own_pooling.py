"""The pooling of a detector of your own: position-sensitive, for all regions and both passes."""

from __future__ import annotations

import numpy as np

import nn
from exercises.exercise import Exercise, Wrong
from exercises.watching import watch
from nn import functional as F


def _ps_roi_align(maps, rois, size, scale, samples=2):
    N, channels, H, W = maps.shape
    K, C, P = len(rois), channels // size**2, size * samples
    steps = (np.arange(P) + 0.5) / P

    def neighbours(first, last, length):  # along one axis: two cells and their shares, (K, P)
        at = first[:, None] * scale + (last - first)[:, None] * scale * steps
        inside = (at >= -1) & (at <= length)
        at = np.clip(at, 0, length - 1)
        low = at.astype(int)
        high, share = np.minimum(low + 1, length - 1), at - low
        return [(low, (1 - share) * inside), (high, share * inside)]

    image, x1, y1, x2, y2 = rois.T
    image = image.astype(int)[:, None, None, None]
    bins = np.arange(P) // samples
    channel = (np.arange(C)[:, None, None] * size + bins[:, None]) * size + bins  # (C, P, P)
    points = 0
    for y, share_y in neighbours(y1, y2, H):
        for x, share_x in neighbours(x1, x2, W):
            share = (share_y[:, :, None] * share_x[:, None, :])[:, None].astype(np.float32)
            points = points + maps[image, channel, y[:, None, :, None], x[:, None, None, :]] * share
    points = points.reshape(K, C, size, samples, size, samples)
    return points.mean((3, 5))


def _check_pool(answer) -> None:
    rng = np.random.default_rng(0)
    maps = nn.Tensor(rng.standard_normal((2, 18, 6, 8)).astype(np.float32), requires_grad=True)
    rois = np.array([[0, 10, 12, 70, 80], [1, 33, 0, 120, 50], [1, 5, 40, 60, 93.0]], np.float32)
    inner = rois[:, :] * np.float32([1, 0.8, 0.8, 0.8, 0.8])
    found, _, packages = watch(answer, maps, inner, 3, 1 / 16)
    if not isinstance(found, nn.Tensor):
        raise Wrong("maps is an nn.Tensor, and so must the answer be: index it, do not take .data.")
    if found.shape != (3, 2, 3, 3):
        raise Wrong(
            f"of 18 maps and three regions it makes {found.shape}; wanted is (3, 2, 3, 3): "
            "regions, 18 / 3^2 channels, bins."
        )
    right = F.ps_roi_align(maps, inner, 3, 1 / 16)
    if not np.allclose(found.data, right.data, atol=1e-5):
        raise Wrong(_why_not(maps, inner, found.data))
    if _uses_the_library(answer):
        raise Wrong("that is the library's: this one is to be yours.")
    edge = np.float32([[0, 100, 60, 140, 110], [1, -30, -20, 40, 40]])
    found, right = answer(maps, edge, 3, 1 / 16), F.ps_roi_align(maps, edge, 3, 1 / 16)
    if not np.allclose(found.data, right.data, atol=1e-5):
        raise Wrong(
            "right inside the map, but not at its edge: a point up to one cell outside takes the "
            "value of the edge (clip its position to 0 .. H - 1), one further out is 0."
        )
    gradient = rng.standard_normal(found.shape).astype(np.float32)
    found.backward(gradient)
    own, maps.grad = maps.grad, None
    F.ps_roi_align(maps, edge, 3, 1 / 16).backward(gradient)
    if own is None or not np.allclose(own, maps.grad, atol=1e-5):
        raise Wrong("the values are right, the gradient that arrives in the maps is not.")


def _uses_the_library(answer) -> bool:
    """Whether it calls one of the library's poolings."""
    maps, roi = nn.Tensor(np.zeros((1, 4, 3, 3), np.float32)), np.float32([[0, 0, 0, 20, 20]])
    calls = []
    names = ("ps_roi_align", "roi_align", "ps_roi_pool", "roi_pool")
    originals = {name: getattr(F, name) for name in names}

    def spy(name):
        def call(*arguments, **options):
            calls.append(name)
            return originals[name](*arguments, **options)

        return call

    for name in names:
        setattr(F, name, spy(name))
    try:
        answer(maps, roi, 2, 1 / 16)
    finally:
        for name, original in originals.items():
            setattr(F, name, original)
    return bool(calls)


def _why_not(maps, rois, found) -> str:
    """The mistake that gives these numbers."""
    plain = F.ps_roi_align(maps, rois, 3, 1 / 16).data
    turned = F.ps_roi_align(maps, rois[:, [0, 2, 1, 4, 3]], 3, 1 / 16).data
    groups = np.arange(18).reshape(9, 2).T.ravel()  # the channels if c ran fastest
    known = [
        (turned, "x and y are exchanged: a map is maps[image, channel, y, x]."),
        (F.ps_roi_align(maps, rois, 3, 1 / 32).data, "the regions are in pixels: multiply with the "
         "scale that was given."),
        (F.ps_roi_align(maps, rois * np.float32([0, 1, 1, 1, 1]), 3, 1 / 16).data,
         "every region reads picture 0: its number is in the first column of rois."),
        (F.ps_roi_align(maps[:, groups], rois, 3, 1 / 16).data, "the channel of bin (i, j) of "
         "output c is (c size + i) size + j: c runs slowest, not fastest."),
        (plain.swapaxes(2, 3), "rows and columns of the bins are exchanged."),
        (F.ps_roi_align(maps, rois, 3, 1 / 16, aligned=True).data, "without half a cell of shift: "
         "coordinate 2.0 is exactly cell 2, as in this chapter."),
        (4 * plain, "a bin is the mean of its samples, not their sum."),
        (F.ps_roi_align(maps, rois, 3, 1 / 16, mode="max").data, "a bin is the mean of its "
         "samples, not the largest."),
        (F.ps_roi_align(maps, rois, 3, 1 / 16, 1).data, "two samples in each direction: four a "
         "bin."),
    ]  # fmt: skip
    for value, why in known:
        if np.allclose(found, value, atol=1e-5):
            return why
    k, c, i, j = np.argwhere(~np.isclose(found, plain, atol=1e-5))[0]
    return (
        f"bin ({i}, {j}) of channel {c} of region {k} should be {plain[k, c, i, j]:.3f}, not "
        f"{found[k, c, i, j]:.3f}."
    )


pool = Exercise(
    "pool",
    check=_check_pool,
    hints=(
        "An nn.Tensor is indexed with arrays as NumPy is, and they broadcast: images (K, 1, 1, 1), "
        "channels (1, C, P, P), rows (K, 1, P, 1), columns (K, 1, 1, P) for P = size * samples "
        "points along each side.",
        "Along one axis the points are first + (last - first) * (arange(P) + 0.5) / P. Each lies "
        "between the cells floor and floor + 1, with the shares 1 - fraction and fraction.",
        "Add the four products maps[images, channels, rows, columns] * share_y * share_x, reshape "
        "to (K, C, size, samples, size, samples) and take the mean over the axes 3 and 5.",
    ),
    reference=_ps_roi_align,
    keeps="pool:ps_roi_align",
)
