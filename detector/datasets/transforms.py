"""What happens to a training picture between the disk and the network: mirror, recolour, resize.

Plain functions on (image, target), and ``TrainTransform``, which rolls the dice. A target is the
dict of ``Dataset.target``; its ``boxes`` and its ``ignore`` regions move with the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from detector.datasets.patches import centres_in, choose_patch
from detector.parts import preprocess
from detector.settings import Fraction, Positive, Range, Settings

# Of an object at the edge of a cut-out: less of it, and it is neither learned nor background.
LEAST_SHARE = 0.4
ZoomFactor = Annotated[float, Range(0.1, 10.0)]

MIN_BOX = 1.0  # pixels of the network's input: thinner boxes teach nothing but infinities

Picture = tuple[np.ndarray, dict]


@dataclass(frozen=True)
class Augmentation(Settings):
    """What chance does to a training picture.

    Attributes:
        scales: of the size in detection; one of them at random for each batch, so that its images
            stay of a size.
        horizontal_flip, vertical_flip: probability of mirroring left-right and top-bottom.
        colour_jitter: the most by which brightness, contrast and saturation change, 0.2 for 20 %.
        zoom: (least, most): every picture is made so many times as large, and what then exceeds its
            size is cut off at random; (1, 1) leaves it.
        patches: SSD's crops, before all else: the whole picture or a part, see ``choose_patch``.
    """

    scales: tuple[Positive, ...] = (1.0,)
    horizontal_flip: Fraction = 0.5
    vertical_flip: Fraction = 0.0
    colour_jitter: Annotated[float, Range(0.0, 0.99)] = 0.0
    zoom: tuple[ZoomFactor, ZoomFactor] = (1.0, 1.0)
    patches: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.zoom[0] > self.zoom[1]:
            raise ValueError(f"zoom must be the least and the most, not {self.zoom}")
        if not self.scales:
            raise ValueError("scales must not be empty")


@dataclass(frozen=True)
class TrainTransform:
    """Random mirror images and colours, then the size the network is trained at.

    Args:
        short_side, max_side: of the picture in pixels, before its scale; the shorter side gives
            way where the longer one would exceed max_side, whatever the scale.
        augmentation: see there.
    """

    short_side: int
    max_side: int
    augmentation: Augmentation = Augmentation()

    def __call__(
        self,
        image: np.ndarray,
        target: dict,
        rng: np.random.Generator,
        batch_rng: np.random.Generator,
    ) -> Picture:
        """The transformed image, (h, w, 3) uint8, and target.

        Args:
            rng: of this image in this epoch.
            batch_rng: starts the same for all images of a batch.
        """
        # Every die is rolled whatever the options: switching one on leaves the others as they were.
        left_right, top_bottom, *factors = rng.random(5)
        chance = self.augmentation
        if chance.patches:
            image, target = patch(image, target, rng)
        side = max(1, round(self.short_side * batch_rng.choice(chance.scales)))
        size = preprocess.network_size(image.shape[:2], side, self.max_side)
        if chance.zoom != (1.0, 1.0):
            factor = np.exp(rng.uniform(*np.log(chance.zoom)))
            image, target, size = zoom(image, target, size, factor, *rng.random(2))
        image, target = resize(image, target, size)
        if left_right < chance.horizontal_flip:
            image, target = flip_horizontally(image, target)
        if top_bottom < chance.vertical_flip:
            image, target = flip_vertically(image, target)
        if chance.colour_jitter:
            image = jitter_colours(image, *(1 + chance.colour_jitter * (2 * np.array(factors) - 1)))
        return np.ascontiguousarray(image), drop_thin_boxes(target)


def patch(image: np.ndarray, target: dict, rng: np.random.Generator) -> Picture:
    """The part of the picture that ``choose_patch`` chooses; objects whose centre is outside it are
    neither learned nor background."""
    window = choose_patch(target["boxes"], image.shape[:2], rng)
    x1, y1, x2, y2 = window
    (kept,) = centres_in(np.array([window]), target["boxes"])
    return image[y1:y2, x1:x2], cut_out(target, window, kept)


def resize(image: np.ndarray, target: dict, size: tuple[int, int]) -> Picture:
    """Scale to ``size`` (h, w), bilinear, averaging where pixels are left out."""
    old = image.shape[:2]
    moved = on_boxes(target, lambda boxes: preprocess.scale_boxes(boxes, old, size))
    # The pixel of a mask that lies where the centre of the new one is.
    rows, columns = (
        ((np.arange(new) + 0.5) * was / new).astype(np.int64)
        for new, was in zip(size, old, strict=True)
    )
    moved = on_masks(moved, lambda masks: masks[:, rows[:, None], columns])
    return preprocess.resize(image, size), moved


def zoom(
    image: np.ndarray, target: dict, size: tuple[int, int], factor: float, x: float, y: float
) -> tuple[np.ndarray, dict, tuple[int, int]]:
    """The picture as it is to be resized for a look from nearer (factor > 1) or from farther.

    Args:
        size: (h, w) that the picture would be resized to without zoom.
        x, y: from 0 to 1, where the cut-out lies if only a part of the picture fits into ``size``.

    Returns:
        the part of the picture, its target, and the (h, w) to resize it to, at most ``size``.
    """
    part = min(1.0, 1 / factor)
    height, width = (max(1, round(side * part)) for side in image.shape[:2])
    top, left = round((image.shape[0] - height) * y), round((image.shape[1] - width) * x)
    image = image[top : top + height, left : left + width]
    target = cut_out(target, (left, top, left + width, top + height))
    new_size = tuple(max(1, round(side * part * factor)) for side in size)
    return image, target, new_size


def cut_out(
    target: dict, window: tuple[int, int, int, int], kept: np.ndarray | None = None
) -> dict:
    """The target of the window (x1, y1, x2, y2) of a picture.

    Boxes are clipped to it. One that is not kept becomes a region to ignore; one of which nothing
    is left is gone.

    Args:
        kept: (R,) bool; by default those of which ``LEAST_SHARE`` or more is left.
    """
    origin, corner = np.float32(window[:2] * 2), np.float32(window[2:] * 2)

    def clip(boxes: np.ndarray) -> np.ndarray:
        return np.clip(boxes, origin, corner) - origin

    def areas(boxes: np.ndarray) -> np.ndarray:
        return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)

    boxes, ignore = clip(target["boxes"]), clip(target["ignore"])
    left = areas(boxes) / np.maximum(areas(target["boxes"]), 1e-9)
    kept = left >= LEAST_SHARE if kept is None else kept
    doubtful = (left > 0) & ~kept
    x1, y1, x2, y2 = window
    return {
        **on_masks(target, lambda masks: masks[kept, y1:y2, x1:x2]),
        "boxes": boxes[kept],
        "labels": target["labels"][kept],
        "ignore": np.concatenate([ignore[areas(ignore) > 0], boxes[doubtful]]),
    }


def flip_horizontally(image: np.ndarray, target: dict) -> Picture:
    """Swap left and right: x becomes W - x."""
    width = image.shape[1]

    def flip(boxes: np.ndarray) -> np.ndarray:
        x1, y1, x2, y2 = boxes.T
        return np.stack([width - x2, y1, width - x1, y2], axis=1)

    return image[:, ::-1], on_masks(on_boxes(target, flip), lambda masks: masks[:, :, ::-1])


def flip_vertically(image: np.ndarray, target: dict) -> Picture:
    """Swap top and bottom: y becomes H - y."""
    height = image.shape[0]

    def flip(boxes: np.ndarray) -> np.ndarray:
        x1, y1, x2, y2 = boxes.T
        return np.stack([x1, height - y2, x2, height - y1], axis=1)

    return image[::-1], on_masks(on_boxes(target, flip), lambda masks: masks[:, ::-1])


def jitter_colours(
    image: np.ndarray, brightness: float, contrast: float, saturation: float
) -> np.ndarray:
    """Change three properties of an (H, W, 3) uint8 image; a factor of 1 leaves one alone.

    Saturation spreads the channels around each pixel's grey (luma of ITU-R BT.601), contrast all
    values around the mean grey of the image, brightness multiplies: one affine map of the colours.
    """
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    # pixel -> brightness (contrast (saturation pixel + (1 - saturation) grey) + offset)
    mixing = saturation * np.eye(3, dtype=np.float32) + (1 - saturation) * luma
    mixing *= np.float32(brightness * contrast)
    mean = np.float32((image.mean(axis=(0, 1)) * luma).sum())
    offset = np.float32(brightness * (1 - contrast)) * mean
    planes = image.transpose(2, 0, 1).astype(np.float32)
    out = np.empty_like(image)
    for channel, (red, green, blue) in enumerate(mixing):
        plane = red * planes[0] + green * planes[1] + blue * planes[2] + offset
        out[:, :, channel] = np.clip(np.rint(plane), 0, 255)
    return out


def drop_thin_boxes(target: dict) -> dict:
    """Leave out boxes with a side below ``MIN_BOX``; ``dropped`` counts them."""
    boxes = target["boxes"]
    kept = (boxes[:, 2:] - boxes[:, :2] >= MIN_BOX).all(axis=1)
    return {
        **on_masks(target, lambda masks: masks[kept]),
        "boxes": boxes[kept],
        "labels": target["labels"][kept],
        "dropped": int((~kept).sum()),
    }


def on_boxes(target: dict, move: Callable[[np.ndarray], np.ndarray]) -> dict:
    """The target with ``move`` applied to its boxes and its regions to ignore."""
    return {**target, "boxes": move(target["boxes"]), "ignore": move(target["ignore"])}


def on_masks(target: dict, move: Callable[[np.ndarray], np.ndarray]) -> dict:
    """The target with ``move`` applied to its masks (R, H, W), if it has any."""
    return {**target, "masks": move(target["masks"])} if "masks" in target else target
