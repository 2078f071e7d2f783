"""Draws one synthetic picture: a textured background, stray strokes and one to six shapes.

The bottom of the built-in ``shapes`` set (``shapes.py`` turns scenes into a data set). A picture is
painted at its final size; only the outlines are drawn four times larger and shrunk, which gives
every shape a soft edge whose position is known to a fraction of a pixel.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "square", "triangle", "star")

SUPERSAMPLING = 4
SMALLEST, LARGEST = 0.15, 0.5  # longer side of a shape, as a part of the picture's side
MOST_OBJECTS = 6
LEAST_VISIBLE = 0.45  # of a shape's own area: a later shape that would hide more is not drawn
LEAST_CONTRAST = 90.0  # Euclidean distance in RGB between a shape and what lies around it


@dataclass(frozen=True)
class Shape:
    """One object: its label, its box in the picture, and how much of each pixel it covers."""

    label: int  # 1..4: CLASSES[label - 1]
    box: np.ndarray  # (4,) float64 (x1, y1, x2, y2): its full extent, clipped to the picture
    area: float  # of its outline, the part outside the picture included
    mask: np.ndarray  # (H, W) float32 in 0..1


def plan_scene(rng: np.random.Generator, image_size: int = 160) -> list[Shape]:
    """One to six shapes, those at the back first, none of them mostly hidden.

    A box is a shape's whole extent, whether or not another shape covers a part of it.
    """
    shapes: list[Shape] = []
    visible: list[np.ndarray] = []  # the part of each mask that no later shape covers
    wanted = rng.integers(1, MOST_OBJECTS + 1)
    for _ in range(10 * wanted):
        if len(shapes) == wanted:
            break
        label = int(rng.integers(1, len(CLASSES) + 1))
        corners = place(rng, outline(rng, CLASSES[label - 1]), image_size)
        box = np.clip([*corners.min(axis=0), *corners.max(axis=0)], 0, image_size)
        mask = polygon_mask(corners, image_size)
        remaining = [part * (1 - mask) for part in visible]
        seen = [part.sum() / shape.area for part, shape in zip(remaining, shapes, strict=True)]
        if min(seen, default=1.0) >= LEAST_VISIBLE:
            shapes.append(Shape(label, box, polygon_area(corners), mask))
            visible = [*remaining, mask]
    return shapes


def paint_scene(rng: np.random.Generator, shapes: list[Shape], image_size: int = 160) -> np.ndarray:
    """The picture of these shapes on a background: (image_size, image_size, 3) uint8 RGB."""
    canvas = background(rng, image_size)
    for _ in range(rng.integers(0, 5)):
        blend(canvas, stroke_mask(rng, image_size), random_colour(rng))
    for shape in shapes:
        paint_shape(rng, canvas, shape.mask)
    canvas += rng.uniform(1.0, 6.0) * rng.standard_normal(canvas.shape, np.float32)
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(image)


# ---------------------------------------------------------------------------------- outlines


def outline(rng: np.random.Generator, name: str) -> np.ndarray:
    """Corners (V, 2) of a class's shape around the origin, in no particular size."""
    if name == "circle":
        return on_circle(64)
    if name == "square":
        return on_circle(4)
    if name == "triangle":
        return on_circle(3)
    points = on_circle(10)
    points[1::2] *= rng.uniform(0.4, 0.5)
    return points


def on_circle(count: int) -> np.ndarray:
    """(count, 2) points at equal angles on the unit circle."""
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def place(rng: np.random.Generator, corners: np.ndarray, image_size: int) -> np.ndarray:
    """Turn the outline, stretch it a little, scale it and put it somewhere in the picture.

    The longer side is log-uniform between ``SMALLEST`` and ``LARGEST`` of the picture. Up to 15 %
    of either side may stick out of the picture.
    """
    angle = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = (corners[:, None, :] * rotation).sum(axis=2)
    corners[:, 0] *= np.exp(rng.uniform(-0.2, 0.2))
    corners -= corners.min(axis=0)
    side = image_size * np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST)))
    corners *= side / corners.max()
    extent = corners.max(axis=0)
    return corners + rng.uniform(-0.15 * extent, image_size - 0.85 * extent)


def polygon_area(corners: np.ndarray) -> float:
    """Area of a simple polygon: half the sum of the cross products of its edges (shoelace)."""
    x, y = corners.T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def polygon_mask(corners: np.ndarray, image_size: int) -> np.ndarray:
    """(image_size, image_size) float32 in 0..1: how much of each pixel the polygon covers."""
    large = Image.new("L", (image_size * SUPERSAMPLING,) * 2)
    # Pillow's integer coordinates name pixel centres, ours pixel corners: hence the half.
    points = [tuple(point) for point in corners * SUPERSAMPLING - 0.5]
    ImageDraw.Draw(large).polygon(points, fill=255)
    return shrink(large)


def stroke_mask(rng: np.random.Generator, image_size: int) -> np.ndarray:
    """Mask of a thin curved stroke across the picture: a distractor, no object."""
    ends = rng.uniform(-0.1, 1.1, (3, 2)) * image_size
    t = np.linspace(0, 1, 24)[:, None]
    curve = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
    large = Image.new("L", (image_size * SUPERSAMPLING,) * 2)
    points = [tuple(point) for point in curve * SUPERSAMPLING]
    width = image_size * rng.uniform(0.005, 0.02) * SUPERSAMPLING
    ImageDraw.Draw(large).line(points, fill=255, width=max(1, round(width)), joint="curve")
    return shrink(large)


def shrink(mask: Image.Image) -> np.ndarray:
    """Average blocks of SUPERSAMPLING x SUPERSAMPLING pixels, to float32 in 0..1."""
    return np.asarray(mask.reduce(SUPERSAMPLING), np.float32) / 255.0


# ---------------------------------------------------------------------------------- paint
# The canvas is (3, H, W) while it is painted: whole planes broadcast several times faster.


def random_colour(rng: np.random.Generator) -> np.ndarray:
    """(3, 1, 1) float32 RGB in 0..255, any hue."""
    hue, saturation, value = rng.uniform((0.0, 0.1, 0.2), (1.0, 0.95, 1.0))
    colour = 255.0 * np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)
    return colour.reshape(3, 1, 1)


def blend(canvas: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """Paint ``colour`` ((3, 1, 1) or (3, H, W)) in place where the (H, W) mask is."""
    canvas += mask * (colour - canvas)


def paint_shape(rng: np.random.Generator, canvas: np.ndarray, mask: np.ndarray) -> None:
    """Fill a shape, in place, with a shaded colour that stands out from what it covers."""
    covered = (canvas * mask).sum(axis=(1, 2)) / mask.sum()
    colour = max(
        (random_colour(rng) for _ in range(6)),
        key=lambda colour: min(LEAST_CONTRAST, np.linalg.norm(colour.ravel() - covered)),
    )
    shading = rng.uniform(0.0, 40.0) * ramp(rng, len(mask))
    if rng.random() < 0.3:
        shading = shading + rng.uniform(10, 35) * stripes(rng, len(mask))
    blend(canvas, mask, np.clip(colour + shading.astype(np.float32), 0, 255))


def background(rng: np.random.Generator, image_size: int) -> np.ndarray:
    """(3, image_size, image_size) float32: two colours mixed by one of four textures."""
    texture = rng.choice([ramp, clouds, stripes, blobs])(rng, image_size)
    texture = texture + rng.uniform(0.0, 0.5) * clouds(rng, image_size)
    share = 0.5 + 0.5 * np.clip(texture, -1, 1).astype(np.float32)
    first = random_colour(rng)
    # A second colour near the first: a background of full contrast would hide every shape.
    second = first + rng.uniform(0.2, 0.6) * (random_colour(rng) - first)
    return first + share * (second - first)


def ramp(rng: np.random.Generator, image_size: int) -> np.ndarray:
    """(image_size, image_size) from -1 to 1 along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    along = np.linspace(-1, 1, image_size)
    field = np.cos(angle) * along[None, :] + np.sin(angle) * along[:, None]
    return field / np.abs(field).max()


def stripes(rng: np.random.Generator, image_size: int) -> np.ndarray:
    """Sine waves, 3 to 16 across the picture, in -1..1."""
    return np.sin(np.pi * rng.uniform(3, 16) * ramp(rng, image_size) + rng.uniform(0, 6.3))


def clouds(rng: np.random.Generator, image_size: int) -> np.ndarray:
    """Smooth noise: a small random grid, enlarged, in about -1..1."""
    cells = int(rng.integers(4, 24))
    grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((image_size, image_size), Image.Resampling.BICUBIC))


def blobs(rng: np.random.Generator, image_size: int) -> np.ndarray:
    """A handful of soft round spots, in -1..1."""
    y, x = np.mgrid[0:image_size, 0:image_size] / image_size
    field = np.full((image_size, image_size), -1.0)
    for _ in range(rng.integers(4, 12)):
        centre_x, centre_y, radius = rng.uniform((0, 0, 0.03), (1, 1, 0.2))
        distance = ((x - centre_x) ** 2 + (y - centre_y) ** 2) / radius**2
        field = np.maximum(field, 2 * np.exp(-distance) - 1)
    return field
