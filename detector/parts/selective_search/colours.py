"""Colour spaces in which light and colour are apart, so that a shadow does not cut an object."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Linear sRGB to CIE XYZ, each divided by its value for white (IEC 61966-2-1, D65).
TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.array([[0.9505], [1.0], [1.089]])


def hsv(image: np.ndarray) -> np.ndarray:
    """Hue, saturation and value of (H, W, 3) uint8 RGB, each 0 to 255, float64."""
    return np.asarray(Image.fromarray(image).convert("HSV"), np.float64)


def lab(image: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of (H, W, 3) uint8 RGB, float64: L* 0 to 255 (instead of 100), a* and b* + 128."""
    light = image / 255.0
    light = np.where(light > 0.04045, ((light + 0.055) / 1.055) ** 2.4, light / 12.92)
    xyz = light @ TO_XYZ.T
    x, y, z = np.moveaxis(
        np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29), 2, 0
    )
    return np.stack([(116 * y - 16) * 2.55, 500 * (x - y) + 128, 200 * (y - z) + 128], axis=2)
