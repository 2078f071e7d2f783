"""The pictures of a dissection: boxes, where objects are suspected, and what the head cuts out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from detector.detectors.stages import Stages
from detector.parts.preprocess import resize
from detector.reporting.page import embedded
from detector.results import crops

LONG_SIDE = 720  # pixels of a picture on the page
MOST_BOXES = 100  # in one of them
DARK = (25, 25, 60)


def cell_of(stages: Stages) -> np.ndarray:
    """The anchors (A, 4) of the cell in the middle of the picture."""
    centres = (stages.anchors[:, :2] + stages.anchors[:, 2:]) / 2
    nearest = np.abs(centres - np.array(stages.size[::-1]) / 2).sum(axis=1).argmin()
    return stages.anchors[np.abs(centres - centres[nearest]).max(axis=1) < 0.1]


def few(values: np.ndarray) -> np.ndarray:
    """At most ``MOST_BOXES`` of them, evenly apart."""
    return values[np.linspace(0, len(values) - 1, min(MOST_BOXES, len(values))).astype(int)]


def scale_of(seen: np.ndarray) -> float:
    return LONG_SIDE / max(seen.shape[:2])


def enlarged(seen: np.ndarray) -> np.ndarray:
    """The picture as the network sees it, ``LONG_SIDE`` pixels long."""
    scale = scale_of(seen)
    return resize(seen, tuple(max(1, round(side * scale)) for side in seen.shape[:2]))


def outlined(seen: np.ndarray, groups: Sequence[tuple[np.ndarray | None, tuple]]) -> str:
    """The picture with boxes in its pixels, the last group on top."""
    picture = Image.fromarray(enlarged(seen))
    pen, scale = ImageDraw.Draw(picture), scale_of(seen)
    for boxes, colour in groups:
        for box in [] if boxes is None else (boxes * scale).tolist():
            for width, ink in ((4, DARK), (2, colour)):
                x1, y1, x2, y2 = box
                pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=ink, width=width)
    return embedded(np.asarray(picture))


def glowing(seen: np.ndarray, stages: Stages) -> np.ndarray:
    """The picture, dark where no anchor of a cell is taken for an object, on whichever map."""
    size, ends = seen.shape[:2], np.cumsum(stages.levels)
    light = np.zeros(size)
    for start, end in zip([0, *ends], ends, strict=False):
        part = light_of(stages.anchors[start:end], stages.objectness[start:end], size)
        light = np.maximum(light, part)
    return enlarged(np.uint8(seen * (0.15 + 0.85 * light[..., None])))


def light_of(anchors: np.ndarray, objectness: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The surest anchor of each cell of one map, 0..1, spread over a picture of ``size`` (h, w)."""
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    xs, ys = (np.unique(centres[:, axis].round(2)) for axis in (0, 1))
    highest = np.zeros((len(ys), len(xs)))
    places = (
        np.searchsorted(ys, centres[:, 1].round(2)),
        np.searchsorted(xs, centres[:, 0].round(2)),
    )
    np.maximum.at(highest, places, objectness)
    cell = 2 * xs[0]  # the first cell's centre is in its middle
    shape = tuple(max(1, round(count * cell)) for count in highest.shape)
    light = Image.fromarray(np.uint8(255 * highest)).resize(shape[::-1], Image.Resampling.BILINEAR)
    height, width = size
    light = np.asarray(light)[:height, :width] / 255
    return np.pad(light, ((0, height - len(light)), (0, width - light.shape[1])), "edge")


def cut_out(seen: np.ndarray, box: np.ndarray, side: int = 140) -> np.ndarray:
    """The picture inside a box, ``side`` pixels in its longer direction."""
    part = np.ascontiguousarray(crops.cut_out(seen, box))
    scale = side / max(part.shape[:2])
    return resize(part, tuple(max(1, round(s * scale)) for s in part.shape[:2]))


def tiles(pooled: np.ndarray, side: int = 8) -> np.ndarray:
    """The channels (C, p, p) of -1..1 side by side: orange above 0, blue below, white for 0."""
    channels, bins, _ = pooled.shape
    columns = min(channels, 5)
    rows = -(-channels // columns)
    sheet = np.full((rows * (bins + 1) - 1, columns * (bins + 1) - 1, 3), 128.0)
    for channel, values in enumerate(pooled):
        top, left = (bins + 1) * (channel // columns), (bins + 1) * (channel % columns)
        strength = np.clip(np.abs(values), 0, 1)[..., None] ** 0.5
        colour = np.where(values[..., None] > 0, (217.0, 95.0, 2.0), (31.0, 90.0, 180.0))
        sheet[top : top + bins, left : left + bins] = 255 + strength * (colour - 255)
    return np.uint8(sheet).repeat(side, axis=0).repeat(side, axis=1)
