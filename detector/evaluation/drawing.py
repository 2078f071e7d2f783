"""Detections drawn into the picture: boxes with label and score, for people to look at."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from detector.evaluation.fonts import font
from detector.masks import paste

SMALLEST_LONG_SIDE = 480  # smaller pictures are enlarged, or the letters would cover everything
VEIL = 0.5  # how much of a pixel the colour of its mask covers
LARGEST_LONG_SIDE = 13_500  # to go by for letters and lines: a font and a pen have their limits


def draw_detections(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray | None,
    classes: Sequence[str],
    masks: np.ndarray | None = None,
) -> np.ndarray:
    """A copy of the picture with its boxes.

    Args:
        image: (H, W, 3) uint8 RGB. A picture smaller than 480 pixels is enlarged by a whole factor.
        boxes: (R, 4) in pixels of ``image``.
        labels: (R,) from 1, an index into ``classes`` plus one.
        scores: (R,) in 0..1, or None for ground truth.
        classes: the names; one that no font of this system can write is drawn as its label, see
            ``fonts.legend``.
        masks: (R, m, m) in 0..1, each over its box: their pixels take on the colour of the class.

    Returns:
        (f H, f W, 3) uint8 RGB with the whole factor f >= 1.
    """
    height, width = image.shape[:2]
    factor = max(1, -(-SMALLEST_LONG_SIDE // max(height, width)))
    picture = Image.fromarray(image)
    if factor > 1:
        picture = picture.resize((factor * width, factor * height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture)
    long_side = min(factor * max(height, width), LARGEST_LONG_SIDE)
    height_of_letters = max(13, round(long_side / 45))
    line = max(2, round(long_side / 300))

    # The surest detections come last and so lie on top.
    order = np.arange(len(boxes)) if scores is None else np.argsort(scores, kind="stable")
    for index in order if masks is not None else ():
        pixels = paste(
            masks[index], factor * np.asarray(boxes[index], np.float64), picture.size[::-1]
        )
        veil = Image.fromarray(np.uint8(255 * VEIL) * pixels)
        picture.paste(class_colour(int(labels[index])), mask=veil)
    for index in order:
        label = int(labels[index])
        colour = class_colour(label)
        x1, y1, x2, y2 = (float(side) for side in factor * np.asarray(boxes[index], np.float64))
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=line)
        text = " ".join(classes[label - 1].split())
        letters = font(text, height_of_letters)
        if letters is None:
            text, letters = str(label), font(str(label), height_of_letters)
        if scores is not None:
            text += f" {scores[index]:.2f}"
        _write(pen, (x1, y1), text, letters, colour, picture.size)
    return np.asarray(picture)


def class_colour(label: int) -> tuple[int, int, int]:
    """RGB of a label: neighbouring labels get hues far apart (multiples of the golden angle)."""
    golden = 0.6180339887
    value = (1.0, 0.85, 0.7)[label // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb((label * golden) % 1.0, 0.85, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _write(pen: ImageDraw.ImageDraw, corner, text: str, font, colour, size) -> None:
    """A label on its own background, above the box or, at the upper border, inside it."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    margin = 2
    width, height = right - left + 2 * margin, bottom - top + 2 * margin
    x = min(max(corner[0], 0), max(size[0] - width, 0))
    y = corner[1] - height if corner[1] >= height else max(corner[1], 0)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    # Perceived brightness (ITU-R BT.601) decides between black and white letters.
    brightness = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    ink = (0, 0, 0) if brightness > 128 else (255, 255, 255)
    pen.text((x + margin - left, y + margin - top), text, font=font, fill=ink)
