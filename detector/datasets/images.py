"""From an image file to an array of upright RGB pixels, whatever the file holds.

The only place that decodes pictures. Safe to call from several threads at once.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from detector.errors import UserError

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "HEIF")
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif",
    ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
HEIC = (".heic", ".heif")
SHRINK = "shrink it, and with it the boxes that are annotated in it"
ON_ITS_SIDE = (5, 6, 7, 8)  # of EXIF's orientations, those that exchange width and height
GREY_BITS = (8, 10, 12, 14, 16, 32)  # that cameras and tools store in 16 or 32
MAX_PIXELS = 50_000_000  # 150 MB of RGB: a small file can claim to be far larger
MAX_JPEG_PIXELS = 300_000_000  # its decoder shrinks while it decodes

# Pillow's own limit is 89 million pixels; open_image refuses what is too large, in one line. And it
# warns of damaged EXIF data and the like in pictures that it can read.
Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Decode a picture.

    Grey, palette, CMYK and 16-bit pictures become 8-bit RGB (see ``to_rgb``); transparent parts
    become white; the EXIF orientation is applied; of several pages or frames the first is taken. A
    JPEG of more than ``MAX_PIXELS`` is decoded at a half or a quarter of its sides (``reduction``).

    Returns:
        (H, W, 3) uint8, C-contiguous.

    Raises:
        UserError: the file is missing, empty, truncated, no picture, or too large.
    """
    path = Path(path)
    with open_image(path) as image:
        try:
            if image.mode == "F":
                raise UserError(
                    f"{path} has floating-point pixels, of which nobody knows what is white: "
                    "convert it to 8 bits"
                )
            factor = reduction(image)
            if factor > 1:
                image.draft(None, (image.width // factor, image.height // factor))
            upright = ImageOps.exif_transpose(image)
            return np.ascontiguousarray(to_rgb(upright))
        except UserError:
            raise
        except MemoryError:
            raise UserError(f"{path} does not fit into memory: shrink it") from None
        # What a damaged file makes a decoder raise is anybody's guess (OSError, SyntaxError,
        # ValueError, struct.error, IndexError have been seen).
        except Exception as error:
            raise UserError(
                f"{path} is damaged or truncated ({error}): replace or remove it"
            ) from error


def read_size(path: str | os.PathLike) -> tuple[int, int]:
    """(width, height) of the whole upright picture, from the file's header alone.

    Raises:
        UserError: as ``read_image``, as far as the header tells.
    """
    with open_image(Path(path)) as image:
        width, height = image.size
        return (height, width) if orientation(image) in ON_ITS_SIDE else (width, height)


def is_turned(path: str | os.PathLike) -> bool:
    """Whether the EXIF orientation turns or mirrors a picture.

    Raises:
        UserError: as ``read_size``.
    """
    with open_image(Path(path)) as image:
        return orientation(image) in range(2, 9)


def reduction(image: Image.Image) -> int:
    """1, 2 or 4: by so much ``read_image`` divides the sides of a picture, rounded up."""
    factor = 1
    while is_jpeg(image) and image.width * image.height > MAX_PIXELS * factor**2:
        factor *= 2
    return factor


def is_jpeg(image: Image.Image) -> bool:
    """Whether it can be decoded at a part of its size; MPO is a JPEG with others after it."""
    return image.format in ("JPEG", "MPO")


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 where there is none."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF data: as free in their exceptions as damaged pixels
        return 1


def open_image(path: Path) -> Image.Image:
    """Pillow's image of which only the header has been read, so its size can be trusted to be
    small enough before a byte of memory is spent on it."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:  # a link to itself, a name that no file can have
        why = getattr(error, "strerror", None) or "no file can have that name"
        raise UserError(f"{path} cannot be read ({why})") from None
    if size == 0:
        raise UserError(f"{path} is empty: replace or remove it")
    try:
        image = Image.open(path, formats=formats())
    except (IsADirectoryError, PermissionError) as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{path} has more than {MAX_JPEG_PIXELS:,} pixels: {SHRINK}") from None
    except Image.UnidentifiedImageError:
        if path.suffix.lower() in HEIC and "HEIF" not in formats():
            raise UserError(
                f"{path} is a phone's HEIC, which pip install 'lighthead[heic]' lets Pillow read"
            ) from None
        raise UserError(
            f"{path} is no picture, or damaged at its very start (known: {', '.join(formats())}): "
            "replace or remove it"
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Pillow's
            raise UserError(f"{path} cannot be read ({error.strerror})") from None
        raise UserError(f"{path} is damaged ({error}): replace or remove it") from error
    most = MAX_JPEG_PIXELS if is_jpeg(image) else MAX_PIXELS
    if image.width * image.height > most:
        image.close()
        raise UserError(
            f"{path} has {image.width} x {image.height} pixels, more than {most:,}: {SHRINK}"
        )
    return image


@cache
def formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this Pillow knows."""
    with contextlib.suppress(ImportError):  # the extra heic
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def to_eight_bits(grey: np.ndarray) -> np.ndarray:
    """Grey of more bits, (H, W) of any integer dtype, as uint8.

    A file says that it has room for 16 or 32 bits, but not how many of them its camera used: the
    fewest of ``GREY_BITS`` that hold the brightest pixel.
    """
    grey = np.maximum(grey.astype(np.int64), 0)
    white = next(2**bits - 1 for bits in GREY_BITS if grey.max(initial=0) < 2**bits)
    return ((grey * 255 + white // 2) // white).astype(np.uint8)


def to_rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 of a Pillow image of any mode but F."""
    if image.mode.startswith("I"):  # 16 or 32-bit grey, under the names of several Pillow versions
        return np.repeat(to_eight_bits(np.asarray(image))[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))
