"""From an image file to an array of upright RGB pixels, whatever the file holds.

The only place that decodes pictures. Safe to call from several threads at once.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from detector.errors import UserError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
MAX_PIXELS = 50_000_000  # 150 MB of RGB: a small file can claim to be far larger

# Pillow warns from 89 million pixels on. read_image refuses far fewer, in one line.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Decode a picture.

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB; transparent parts become white; the
    EXIF orientation is applied; of several pages or frames the first is taken.

    Returns:
        (H, W, 3) uint8, C-contiguous.

    Raises:
        UserError: the file is missing, empty, truncated, no picture, or larger than ``MAX_PIXELS``.
    """
    path = Path(path)
    with open_image(path) as image:
        try:
            upright = ImageOps.exif_transpose(image)
            return np.ascontiguousarray(to_rgb(upright))
        except MemoryError:
            raise UserError(f"{path} does not fit into memory: shrink it") from None
        # What a damaged file makes a decoder raise is anybody's guess (OSError, SyntaxError,
        # ValueError, struct.error, IndexError have been seen).
        except Exception as error:
            raise UserError(
                f"{path} is damaged or truncated ({error}): replace or remove it"
            ) from error


def read_size(path: str | os.PathLike) -> tuple[int, int]:
    """(width, height) of the upright picture, from the file's header alone.

    Raises:
        UserError: as ``read_image``, as far as the header tells.
    """
    with open_image(Path(path)) as image:
        width, height = image.size
        return (height, width) if is_on_its_side(image) else (width, height)


def is_on_its_side(image: Image.Image) -> bool:
    """Whether the EXIF orientation (5 to 8) says to turn it by 90 degrees."""
    try:
        return image.getexif().get(0x0112) in (5, 6, 7, 8)
    except Exception:  # damaged EXIF data: as free in their exceptions as damaged pixels
        return False


def open_image(path: Path) -> Image.Image:
    """Pillow's image of which only the header has been read, so its size can be trusted to be
    small enough before a byte of memory is spent on it."""
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty: replace or remove it")
        image = Image.open(path, formats=FORMATS)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{path} has more than {MAX_PIXELS:,} pixels: shrink it") from None
    except UserError:
        raise
    except Image.UnidentifiedImageError:
        raise UserError(
            f"{path} is no picture, or damaged at its very start (known: {', '.join(FORMATS)}): "
            "replace or remove it"
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Pillow's
            raise UserError(f"{path} cannot be read ({error.strerror})") from None
        raise UserError(f"{path} is damaged ({error}): replace or remove it") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise UserError(
            f"{path} has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}: shrink it"
        )
    return image


def to_rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 of a Pillow image of any mode."""
    if image.mode.startswith("I"):  # 16-bit grey, under the names of several Pillow versions
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.uint32)
        grey = ((grey + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))
