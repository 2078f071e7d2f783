"""Is an annotated box one that can be learned from? The same rules for every file format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detector.datasets.problems import CLIPPED, LEFT_OUT

TOLERANCE = 1.0  # pixels; so far off are tools that count from 1, or the last pixel twice


@dataclass(frozen=True)
class CheckedBox:
    """``corners`` of the part inside the image, None if the box is of no use.

    ``why`` says what is wrong, "" if nothing is; ``fatal`` if the file has to be mended;
    ``sticks_out`` if a part of it or all of it is outside.
    """

    corners: tuple[float, float, float, float] | None
    why: str = ""
    fatal: bool = False
    sticks_out: bool = False

    @property
    def outcome(self) -> str:
        """What became of a box that is not right but can be dealt with."""
        if self.fatal or not self.why:
            return ""
        return LEFT_OUT if self.corners is None else CLIPPED


def check_box(
    x1: float, y1: float, x2: float, y2: float, image_width: int, image_height: int
) -> CheckedBox:
    """Clip a box to its image, or say why that is not enough.

    All four are finite numbers of pixels, continuous and 0-based: the image reaches from 0 to its
    width. A box turned inside out is fatal, since nobody knows what was meant; one without area or
    outside the image is left out; one that sticks out is clipped, silently within ``TOLERANCE``.
    """
    width, height = x2 - x1, y2 - y1
    if width < 0 or height < 0:
        side, length = ("width", width) if width < 0 else ("height", height)
        return CheckedBox(None, f"its {side} is negative ({length:g})", fatal=True)
    if width == 0 or height == 0:
        return CheckedBox(None, "it has no area (left out)")
    size = f"{image_width} x {image_height}"
    if x1 >= image_width or y1 >= image_height or x2 <= 0 or y2 <= 0:
        why = f"it lies outside its {size} image (left out)"
        return CheckedBox(None, why, sticks_out=True)
    corners = max(x1, 0.0), max(y1, 0.0), min(x2, image_width), min(y2, image_height)
    outside = max(-x1, -y1, x2 - image_width, y2 - image_height)
    if outside <= TOLERANCE:
        return CheckedBox(corners)
    why = f"it sticks out of its {size} image by {outside:g} pixels (clipped)"
    return CheckedBox(corners, why, sticks_out=True)


def are_parts_of_pictures(boxes: Sequence[Sequence[float]]) -> bool:
    """Whether most of these boxes, four numbers each as they stand in a file, are parts of their
    pictures, from 0 to 1, and not pixels. (Whole numbers alone may be the first pixel.)"""
    parts = [box for box in boxes if all(0 <= number <= 1 for number in box)]
    fractions = any(number != int(number) for box in parts for number in box)
    return fractions and len(parts) > len(boxes) / 2
