"""Region pooling: from a feature map and regions of interest to one small map per region.

All four take an input (N, C, H, W) and rois (K, 5), rows of (batch index, x1, y1, x2, y2) in image
pixels, and give (K, OC, PH, PW); only the input gets a gradient. K may be 0. The definitions are
torchvision's unless said otherwise:

- Interpolation: points up to one pixel outside the map take the value at its edge, points further
  out are 0. (The official Light-Head R-CNN code differs: there every neighbour outside the map
  counts as 0, and a point on an integer coordinate counts its pixel twice. The latter is a slip.)
- A region without size has all its samples in one place; a bin without a sample or pixel gives 0.
- PSRoIPool clips its bins to the map, as R-FCN does. (torchvision also leaves out the last row and
  column going forward, though not going backward.)

Raises ValueError for shapes that do not fit, for coordinates that are not finite and for a batch
index that is not an image of the input.
"""

from __future__ import annotations

import numpy as np

from nn.kernels import ps_roi_align, region_cells, roi_align, roi_pool
from nn.kernels.machine.parts import ceil_div
from nn.ops.layout import contiguous
from nn.ops.operation import Operation


class _Align(Operation):
    """What RoIAlign and PSRoIAlign share: sample points inside every bin."""

    # The least height and width of a region when ``aligned`` is False.
    smallest = 0.0

    def find_samples(
        self, input, rois, output_size, spatial_scale, sampling_ratio, aligned, apart=False
    ):
        """Where the samples lie, as the kernels want it; ``apart``: each is a cell.

        Returns images (K,), cells (K, 2) of a bin down and across, and the tables of both axes.
        """
        images, corners = split_rois(type(self).__name__, input, rois)
        corners = corners * spatial_scale - (0.5 if aligned else 0.0)
        sizes = corners[:, 2:] - corners[:, :2]
        if not aligned:
            sizes = np.maximum(sizes, self.smallest)
        if sampling_ratio > 0:
            samples = np.full((len(rois), 2), sampling_ratio, np.int64)
        else:
            samples = np.ceil(np.maximum(sizes, 0) / output_size[::-1]).astype(np.int64)
        each, ones = np.minimum(samples, 1), np.ones_like(samples)
        cells, points = (samples, each) if apart else (ones, samples)
        columns, rows = (
            _cells_along(
                corners[:, d], sizes[:, d], bins, cells[:, d], points[:, d], limit, input.dtype
            )
            for d, bins, limit in zip((0, 1), output_size[::-1], input.shape[:1:-1], strict=True)
        )
        return images, np.ascontiguousarray(cells[:, ::-1]), rows, columns


def _cells_along(
    starts: np.ndarray, sizes: np.ndarray, bins: int, cells: np.ndarray, points: np.ndarray,
    limit: int, dtype: np.dtype,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """(pixels, weights, counts) of all regions along one axis, see ``nn.kernels.region_cells``.

    A region has ``cells`` (K,) cells in each of its ``bins`` and ``points`` (K,) in each cell.
    """
    steps = sizes / bins / np.maximum(cells, 1)
    counts = np.zeros((len(starts), bins * cells.max(initial=1)), np.int64)
    most = min(2 * points.max(initial=1), limit)
    pixels = np.zeros((*counts.shape, most), np.int64)
    weights = np.zeros(pixels.shape, dtype)
    region_cells.region_cells(
        np.ascontiguousarray(starts), steps, bins * cells, np.ascontiguousarray(points), limit,
        pixels, weights, counts,
    )  # fmt: skip
    return pixels, weights, counts


class RoIAlign(_Align):
    """The mean of the samples of each bin, from the same channel for every bin.

    Options: output_size (PH, PW); spatial_scale: feature map pixels per image pixel;
    sampling_ratio: samples per bin down and across, 0 or less for ceil(region size / bins);
    aligned: shift by half a pixel, so that pixel centres are at integers; without it a region
    measures at least 1 x 1.

    Source: He et al., Mask R-CNN, 2017, section 3.
    """

    smallest = 1.0

    def forward(self, input, rois, *, output_size, spatial_scale, sampling_ratio, aligned):
        channels = output_channels("RoIAlign", input, output_size, False)
        images, _, rows, columns = self.find_samples(
            input, rois, output_size, spatial_scale, sampling_ratio, aligned
        )
        out = np.empty((len(rois), channels, *output_size), input.dtype)
        roi_align.roi_align_forward(contiguous(input), images, rows, columns, out)
        self.shape, self.where = input.shape, (images, rows, columns)
        return out

    def backward(self, grad_output):
        grad_input = np.empty(self.shape, grad_output.dtype)
        roi_align.roi_align_backward(contiguous(grad_output), *self.where, grad_input)
        return grad_input, None


class PSRoIAlign(_Align):
    """The mean or maximum of the samples of each bin, from the bin's own channel.

    Bin (ph, pw) of output channel c comes from input channel (c PH + ph) PW + pw, so the input has
    C = OC PH PW channels. Options as for ``RoIAlign``, and mode: "avg" or "max" (the official
    code's). aligned=False is the official code's geometry (no shift by half a pixel, negative sizes
    count as 0), aligned=True torchvision's. Among equal samples the first gets the gradient.

    Source: Li et al., Light-Head R-CNN, 2017, section 3.
    """

    def forward(
        self, input, rois, *, output_size, spatial_scale, sampling_ratio=2, mode="avg",
        aligned=False,
    ):  # fmt: skip
        if mode not in ("avg", "max"):
            raise ValueError(f"PSRoIAlign: mode is 'avg' or 'max', not {mode!r}")
        channels = output_channels("PSRoIAlign", input, output_size, True)
        use_max = mode == "max"
        samples = self.find_samples(
            input, rois, output_size, spatial_scale, sampling_ratio, aligned, apart=use_max
        )
        # The kernel goes bin by bin and there region by region: best if these are neighbours.
        by_bin = np.empty((input.shape[1], len(rois)), input.dtype)
        out = by_bin.T.reshape(len(rois), channels, *output_size)
        argmax = np.empty(out.shape if use_max else (0, 0, 0, 0), np.int32)
        ps_roi_align.ps_roi_align_forward(contiguous(input), *samples, use_max, out, argmax)
        self.shape, self.where = input.shape, (*samples, use_max, argmax)
        return out

    def backward(self, grad_output):
        grad_input = np.empty(self.shape, grad_output.dtype)
        ps_roi_align.ps_roi_align_backward(contiguous(grad_output), *self.where, grad_input)
        return grad_input, None


class _Pool(Operation):
    """What RoIPool and PSRoIPool share: bins of whole pixels."""

    position_sensitive = False
    use_max = True
    # 1 where the pixel at the rounded lower right corner belongs to the region.
    end_included = 1

    def forward(self, input, rois, *, output_size, spatial_scale):
        name = type(self).__name__
        channels = output_channels(name, input, output_size, self.position_sensitive)
        images, corners = split_rois(name, input, rois)
        corners = to_nearest(corners * spatial_scale).astype(np.int64)
        rows, columns = (
            self._bins(corners[:, d], corners[:, 2 + d], bins, limit)
            for d, bins, limit in zip((1, 0), output_size, input.shape[2:], strict=True)
        )
        self.arguments = images, rows, columns, self.position_sensitive, self.use_max
        self.shape = input.shape
        out = np.empty((len(rois), channels, *output_size), input.dtype)
        self.argmax = np.empty(out.shape if self.use_max else (0, 0, 0, 0), np.int32)
        roi_pool.roi_pool_forward(contiguous(input), *self.arguments, out, self.argmax)
        return out

    def _bins(self, start: np.ndarray, end: np.ndarray, bins: int, limit: int) -> np.ndarray:
        """(K, bins, 2): bin i of a region covers floor(i size / bins) to ceil((i + 1) size / bins).

        Neighbouring bins share a pixel where the size is not a multiple of the number of bins.
        """
        size = np.maximum(end - start + self.end_included, 1)[:, None]
        bin = np.arange(bins)
        edges = np.stack([bin * size // bins, ceil_div((bin + 1) * size, bins)], axis=2)
        return np.clip(edges + start[:, None, None], 0, limit)

    def backward(self, grad_output):
        grad_input = np.empty(self.shape, grad_output.dtype)
        roi_pool.roi_pool_backward(
            contiguous(grad_output), *self.arguments, self.argmax, grad_input
        )
        return grad_input, None


class RoIPool(_Pool):
    """The maximum of each bin. Options: output_size (PH, PW); spatial_scale.

    Corners are rounded to whole pixels and both belong to the region.

    Source: Girshick, Fast R-CNN, 2015, section 2.1.
    """


class PSRoIPool(_Pool):
    """The mean of each bin, from the bin's own channel (c PH + ph) PW + pw.

    Options: output_size (PH, PW); spatial_scale. Corners are rounded to whole pixels; the lower
    right one does not belong to the region.

    Source: Dai et al., R-FCN, 2016, equation 1.
    """

    position_sensitive = True
    use_max = False
    end_included = 0


def to_nearest(corners: np.ndarray) -> np.ndarray:
    """Whole numbers, halves away from zero (np.round would go to the even one)."""
    return np.sign(corners) * np.floor(np.abs(corners) + 0.5)


def output_channels(
    name: str, input: np.ndarray, output_size: tuple[int, int], position_sensitive: bool
) -> int:
    if input.ndim != 4 or min(output_size) < 1:
        raise ValueError(
            f"{name}: input (N, C, H, W) and an output size of at least 1 x 1 expected, got "
            f"{input.shape} and {output_size}"
        )
    if not position_sensitive:
        return input.shape[1]
    bins = output_size[0] * output_size[1]
    if input.shape[1] % bins:
        raise ValueError(
            f"{name}: the {input.shape[1]} channels of an input {input.shape} are not a multiple "
            f"of the {output_size[0]} x {output_size[1]} bins"
        )
    return input.shape[1] // bins


def split_rois(name: str, input: np.ndarray, rois: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K, 5) -> batch indices (K,) int64 and corners (K, 4) float64, checked."""
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(f"{name}: rois (K, 5) expected, got {rois.shape}")
    rois = rois.astype(np.float64)
    finite = np.isfinite(rois).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(f"{name}: rois[{row}] is not finite: {rois[row].tolist()}")
    images = rois[:, 0].astype(np.int64)
    known = (images >= 0) & (images < len(input)) & (images == rois[:, 0])
    if not known.all():
        row = int(np.argmin(known))
        raise ValueError(
            f"{name}: rois[{row}] has batch index {rois[row, 0]:g}, the input has {len(input)} "
            f"image(s), 0 to {len(input) - 1}"
        )
    return images, rois[:, 1:]
