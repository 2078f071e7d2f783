"""Numbers about a data set as the network sees it: how many boxes, how large, how well anchored.

Looks at annotations only; no picture is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.datasets.dataset import Dataset
from detector.datasets.files import spelled
from detector.parts.preprocess import network_size, scale_boxes
from nn.printable import printable

SMALL, LARGE = 32.0**2, 96.0**2  # COCO's limits of area, here in pixels of the network's input
FITS = (0.3, 0.5, 0.7)  # of IoU: negative below the first, positive from the last on


@dataclass(frozen=True)
class NetworkBoxes:
    """All boxes of a data set after its images were resized, crowds left out.

    ``boxes`` (R, 4) float32, ``labels`` (R,) int64, ``images`` (R,) int64 places in the data set.
    """

    boxes: np.ndarray
    labels: np.ndarray
    images: np.ndarray

    @property
    def widths_heights(self) -> np.ndarray:
        """(R, 2) float32 pixels."""
        return self.boxes[:, 2:] - self.boxes[:, :2]


def network_boxes(dataset: Dataset, short_side: int, max_side: int) -> NetworkBoxes:
    """The boxes in pixels of the network's input (see ``preprocess.network_size``)."""
    boxes, labels, images = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.int64)], []
    dataset = dataset.with_masks(None)  # they would be decoded for nothing
    for index, record in enumerate(dataset.images):
        target = dataset.target(index)
        new = network_size(record.decoded, short_side, max_side)
        boxes.append(scale_boxes(target["boxes"], record.decoded, new))
        labels.append(target["labels"])
        images += [index] * len(target["labels"])
    return NetworkBoxes(
        np.concatenate(boxes),
        np.concatenate(labels),
        np.array(images, np.int64),
    )


def anchor_fit(found: NetworkBoxes, shapes: np.ndarray, stride: int | np.ndarray) -> np.ndarray:
    """The IoU of each box with the best of all anchors on the feature map's grid.

    Overlap along an axis never grows with the distance of two centres, so the best anchor of each
    shape is the one on the cell whose centre is nearest: no need to try the others.

    Args:
        found: R boxes.
        shapes: (A, 2) widths and heights of the anchors of a cell, in pixels.
        stride: pixels from one cell's centre to the next; the first is at stride / 2. One for all
            shapes, or (A,), where they lie on different maps.

    Returns:
        (R,) float64 in [0, 1].
    """
    boxes = found.boxes.astype(np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    box_sides = boxes[:, 2:] - boxes[:, :2]
    best = np.zeros(len(boxes))
    shapes = np.asarray(shapes, np.float64)
    for sides, step in zip(shapes, np.broadcast_to(stride, len(shapes)), strict=True):
        distance = np.abs(centres - (np.floor(centres / step) + 0.5) * step)
        overlap = np.minimum((box_sides + sides) / 2 - distance, np.minimum(box_sides, sides))
        intersection = np.maximum(overlap, 0).prod(axis=1)
        union = box_sides.prod(axis=1) + sides.prod() - intersection
        best = np.maximum(best, intersection / union)
    return best


@dataclass(frozen=True)
class ClassSummary:
    """One class, or all of them: how many boxes in how many images, their sizes and anchors.

    ``sizes`` counts the small, medium and large boxes; ``fits`` those whose best anchor has an IoU
    below 0.3, below 0.5, below 0.7 and from 0.7 on; ``mean_fit`` is the mean best IoU.
    """

    name: str
    images: int
    boxes: int
    sizes: tuple[int, ...]
    fits: tuple[int, ...]
    mean_fit: float


def summarize(
    dataset: Dataset, short_side: int, max_side: int, shapes: np.ndarray, stride: int | np.ndarray
) -> list[ClassSummary]:
    """A summary of each class, and last of all classes together under the name "all".

    Args:
        short_side, max_side: the size the network sees, see ``preprocess.network_size``.
        shapes, stride: the anchors, see ``anchor_fit``. Of no shapes, nothing is said of the fit.
    """
    found = network_boxes(dataset, short_side, max_side)
    areas = found.widths_heights.prod(axis=1)
    fit = anchor_fit(found, shapes, stride)
    size_group = np.digitize(areas, (SMALL, LARGE))
    fit_group, has_anchors = np.digitize(fit, FITS), len(shapes) > 0

    def summary(name: str, chosen: np.ndarray) -> ClassSummary:
        return ClassSummary(
            name,
            len(np.unique(found.images[chosen])),
            int(chosen.sum()),
            tuple(np.bincount(size_group[chosen], minlength=3).tolist()),
            tuple(np.bincount(fit_group[chosen], minlength=len(FITS) + 1).tolist()) * has_anchors,
            float(fit[chosen].mean()) if chosen.any() else 0.0,
        )

    classes = [
        summary(printable(spelled(name)), found.labels == k)
        for k, name in enumerate(dataset.classes, start=1)
    ]
    return [*classes, summary("all", found.labels > 0)]


def summary_table(summaries: list[ClassSummary]) -> str:
    """The summaries as text, one line each."""
    width = max(5, *(len(entry.name) for entry in summaries))
    below = [f"<{limit:g}" for limit in FITS] + [f">={FITS[-1]:g}"]
    lines = [
        f"{'':<{width}}  {'':7} {'':7}  {'size at the network input':^23}  boxes by the IoU of "
        "their best anchor",
        f"{'class':<{width}}  {'images':>7} {'boxes':>7}  {'small':>7} {'medium':>7} {'large':>7}  "
        + " ".join(f"{text:>7}" for text in [*below, "mean"]),
    ]
    if not summaries[-1].fits:  # there are no anchors
        lines = [line[: width + 42] for line in lines]
    for entry in summaries:
        counts = " ".join(f"{count:7d}" for count in entry.sizes)
        fits = " ".join(f"{count:7d}" for count in entry.fits)
        mean = f"{entry.mean_fit:7.2f}" if entry.fits else ""
        line = f"{entry.name:<{width}}  {entry.images:7d} {entry.boxes:7d}  {counts}  {fits} {mean}"
        lines.append(line.rstrip())
    return "\n".join(lines)
