"""Images: from photographs of any size to the one array the network reads, and boxes back again.

The first step of the detector. An image is an (H, W, 3) uint8 array in RGB order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from detector.boxes import as_boxes
from detector.settings import NotNegative, Positive, Settings, Side
from nn.kernels.normalize_image import normalize_image
from nn.models.network import IMAGENET


@dataclass(frozen=True)
class ImageSettings(Settings):
    """How a detector looks at an image.

    Attributes:
        short_side, max_side: ``predict`` makes the shorter side so long, unless the longer one
            would exceed max_side. (``loss`` takes images as they are.) The thesis's 800 and 1200.
        mean, std: of RGB values in 0..1; what the backbone was trained with, ImageNet's by default.
    """

    short_side: Side = 800
    max_side: Side = 1200
    mean: tuple[NotNegative, NotNegative, NotNegative] = IMAGENET.mean
    std: tuple[Positive, Positive, Positive] = IMAGENET.std


# Deep maps are 1/32 of the input; a multiple keeps the cells of all maps exactly aligned.
SIZE_MULTIPLE = 32


def check_image(image: np.ndarray) -> np.ndarray:
    """The image itself.

    Raises:
        ValueError: it is not an (H, W, 3) uint8 array with at least one pixel.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise ValueError(
            f"an image must be an (H, W, 3) uint8 RGB array, not {image.shape} {image.dtype}"
        )
    return image


def network_size(image_size: tuple[int, int], short_side: int, max_side: int) -> tuple[int, int]:
    """The (h, w) at which the network sees an image of ``image_size`` (h, w).

    The shorter side becomes ``short_side``, unless the longer one would exceed ``max_side``; the
    shape is kept. No side is less than one pixel.
    """
    shorter, longer = min(image_size), max(image_size)
    scale = min(short_side / shorter, max_side / longer)
    height, width = (max(1, min(round(side * scale), max_side)) for side in image_size)
    return height, width


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image at ``size`` (h, w), bilinear (Pillow averages over the pixels it leaves out)."""
    height, width = size
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def scale_boxes(
    boxes: np.ndarray, old_size: tuple[int, int], new_size: tuple[int, int]
) -> np.ndarray:
    """Boxes (R, 4) of an image of ``old_size`` (h, w), after the image became ``new_size``."""
    boxes = as_boxes(boxes)
    factor_y, factor_x = (new / old for new, old in zip(new_size, old_size, strict=True))
    return boxes * np.asarray([factor_x, factor_y, factor_x, factor_y], boxes.dtype)


def to_batch(
    images: Sequence[np.ndarray],
    mean: Sequence[float],
    std: Sequence[float],
    dtype: np.dtype | type = np.float32,
) -> np.ndarray:
    """Normalise images and put them into one array, each in its upper left corner.

    value = (pixel / 255 - mean) / std for each of R, G and B. The rest of the array is 0, which is
    what convolution pads with too.

    Args:
        images: (H, W, 3) uint8 each, of any sizes, at least one.

    Returns:
        (N, 3, H, W), H and W the largest of the images, rounded up to a multiple of 32.
    """
    images = [check_image(image) for image in images]
    height, width = (
        -(-max(image.shape[axis] for image in images) // SIZE_MULTIPLE) * SIZE_MULTIPLE
        for axis in (0, 1)
    )
    # value = pixel * scale + shift: one multiplication and one addition for each pixel.
    scale = (1 / (255 * np.asarray(std, np.float64))).astype(dtype)
    shift = (-np.asarray(mean, np.float64) / std).astype(dtype)
    batch = np.zeros((len(images), 3, height, width), dtype)
    for place, image in zip(batch, images, strict=True):
        image = np.ascontiguousarray(image).view()
        image.flags.writeable = False  # as some are: the kernel is compiled for one kind
        normalize_image(image, scale, shift, place)
    return batch
